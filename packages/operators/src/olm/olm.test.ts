import type { KubeObject } from '@slipway/apimachinery';
import { type Built, built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { olmControllers } from './index.ts';
import {
  CatalogSourceKind,
  ClusterServiceVersionKind,
  InstallPlanKind,
  OperatorGroupKind,
  type Subscription,
  SubscriptionKind,
} from './kinds.ts';
import { packageManifestsApi } from './package-manifests.ts';

const NAMESPACE = 'openshift-cnv';
const CSV = 'kubevirt-hyperconverged-operator.v0.0.0-test';
const SUBSCRIPTION = `${NAMESPACE}/hco-operatorhub`;

let world: TestWorld;
afterEach(() => world.close());

/** A cluster with the default catalogues. */
async function start(...objects: readonly Built[]): Promise<void> {
  world = testWorld({ api: 'server', controllers: olmControllers });
  await world.settle();
  await world.advance(2_000);
  await world.with(...objects);
  await world.settle();
}

const group = (name = 'group', targetNamespaces: readonly string[] = [NAMESPACE]) =>
  built(OperatorGroupKind, `${NAMESPACE}/${name}`, { spec: { targetNamespaces: [...targetNamespaces] } });
const subscription = (spec: Partial<Subscription['spec']> = {}, name = 'hco-operatorhub') =>
  built(SubscriptionKind, `${NAMESPACE}/${name}`, {
    spec: {
      source: 'redhat-operators',
      sourceNamespace: 'openshift-marketplace',
      name: 'kubevirt-hyperconverged',
      channel: 'stable',
      ...spec,
    },
  });
const subscribed = () => world.get(SubscriptionKind, SUBSCRIPTION);
const csv = () => world.get(ClusterServiceVersionKind, `${NAMESPACE}/${CSV}`);
const onlyPlan = async () => {
  const plans = await world.list(InstallPlanKind, NAMESPACE);
  expect(plans).toHaveLength(1);
  return plans[0] as (typeof plans)[0] & KubeObject; // one, as checked
};
const conditionsOf = ({ status }: Subscription) =>
  (status?.conditions ?? []).map(
    (condition) => `${condition.type}=${condition.status} ${condition.reason}: ${condition.message}`,
  );

describe('the objects of OLM', () => {
  it('lead from a Subscription to a ClusterServiceVersion that succeeded', async () => {
    await start(group(), subscription());
    const plan = await onlyPlan();
    expect(plan).toMatchObject({
      metadata: { ownerReferences: [{ kind: 'Subscription', name: 'hco-operatorhub' }] },
      spec: { approval: 'Automatic', approved: true, clusterServiceVersionNames: [CSV] },
      status: { phase: 'Complete', catalogSources: ['redhat-operators'], conditions: [{ type: 'Installed', status: 'True' }] },
    });
    expect((await subscribed()).status).toMatchObject({
      state: 'AtLatestKnown',
      currentCSV: CSV,
      installedCSV: CSV,
      installPlanRef: { kind: 'InstallPlan', name: plan.metadata.name, uid: plan.metadata.uid },
    });
    expect(conditionsOf(await subscribed())).toEqual([
      'CatalogSourcesUnhealthy=False AllCatalogSourcesHealthy: all available catalogsources are healthy',
    ]);
    const { spec, status } = await csv();
    expect(status).toMatchObject({ phase: 'Succeeded', reason: 'InstallSucceeded' });
    expect(status?.conditions?.map(({ phase }) => phase)).toEqual(['Pending', 'InstallReady', 'Installing', 'Succeeded']);
    expect(spec).toMatchObject({ displayName: 'OpenShift Virtualization', version: '0.0.0-test' });
    expect((await world.get(OperatorGroupKind, `${NAMESPACE}/group`)).status?.namespaces).toEqual([NAMESPACE]);
    expect((await world.events()).filter((event) => event.startsWith('Warning'))).toEqual([]);
  });

  it('wait for approval where it is to be given by hand', async () => {
    await start(group(), subscription({ installPlanApproval: 'Manual' }));
    const plan = await onlyPlan();
    expect(plan).toMatchObject({ spec: { approved: false }, status: { phase: 'RequiresApproval' } });
    expect(await subscribed()).toMatchObject({ status: { state: 'UpgradePending', currentCSV: CSV } });
    expect((await subscribed()).status?.installedCSV).toBeUndefined();
    expect(conditionsOf(await subscribed())).toContain(
      `InstallPlanPending=True RequiresApproval: install plan ${plan.metadata.name} waits for spec.approved to be set to true`,
    );
    expect(await world.list(ClusterServiceVersionKind, NAMESPACE)).toEqual([]);
    await world.client.patch(
      InstallPlanKind,
      { namespace: NAMESPACE, name: plan.metadata.name ?? '' },
      { spec: { approved: true } },
      { type: 'merge' },
    );
    await world.settle();
    expect((await csv()).status?.phase).toBe('Succeeded');
    expect(await subscribed()).toMatchObject({ status: { state: 'AtLatestKnown', installedCSV: CSV } });
    expect(conditionsOf(await subscribed()).join()).not.toContain('InstallPlanPending');
  });

  it.each([
    [
      'an unknown package',
      { name: 'virtualisation' },
      'ResolutionFailed=True ConstraintsNotSatisfiable: constraints not satisfiable: no operators found in package virtualisation in the catalog referenced by subscription hco-operatorhub, subscription hco-operatorhub exists',
    ],
    [
      'an unknown channel',
      { channel: 'candidate' },
      'ResolutionFailed=True ConstraintsNotSatisfiable: constraints not satisfiable: no operators found in channel candidate of package kubevirt-hyperconverged in the catalog referenced by subscription hco-operatorhub, subscription hco-operatorhub exists',
    ],
    [
      'an unknown version',
      { startingCSV: 'kubevirt-hyperconverged-operator.v4.14.0' },
      'ResolutionFailed=True ConstraintsNotSatisfiable: constraints not satisfiable: no operators found with name kubevirt-hyperconverged-operator.v4.14.0 in channel stable of package kubevirt-hyperconverged in the catalog referenced by subscription hco-operatorhub, subscription hco-operatorhub exists',
    ],
    [
      'an unknown catalogue',
      { source: 'ours' },
      'CatalogSourcesUnhealthy=True UnhealthyCatalogSourceFound: targeted catalogsource openshift-marketplace/ours missing',
    ],
  ] as const)('say that %s is wrong, and go on when it is mended', async (_, spec, condition) => {
    await start(group(), subscription(spec));
    expect(conditionsOf(await subscribed())).toContain(condition);
    expect(await world.list(InstallPlanKind, NAMESPACE)).toEqual([]);
    const mended = { name: 'kubevirt-hyperconverged', channel: 'stable', source: 'redhat-operators', startingCSV: null };
    await world.client.patch(
      SubscriptionKind,
      { namespace: NAMESPACE, name: 'hco-operatorhub' },
      { spec: mended },
      { type: 'merge' },
    );
    await world.settle();
    expect(await subscribed()).toMatchObject({ status: { state: 'AtLatestKnown', installedCSV: CSV } });
    expect(conditionsOf(await subscribed())).toEqual([
      'CatalogSourcesUnhealthy=False AllCatalogSourcesHealthy: all available catalogsources are healthy',
    ]);
  });

  it('need one OperatorGroup in the namespace', async () => {
    await start(subscription());
    expect(conditionsOf(await subscribed()).join()).toContain('no operator group found that is managing this namespace');
    await world.with(group('one'), group('two'));
    await world.settle();
    expect(conditionsOf(await subscribed()).join()).toContain('found 2 operatorgroups in namespace openshift-cnv: expected 1');
    await world.client.delete(OperatorGroupKind, { namespace: NAMESPACE, name: 'two' });
    await world.settle();
    expect((await csv()).status?.phase).toBe('Succeeded');
  });

  it('need an OperatorGroup of the kind that the operator supports', async () => {
    await start(group(), subscription({ name: 'community-kubevirt-hyperconverged', source: 'community-operators' }));
    expect((await csv()).status).toMatchObject({
      phase: 'Failed',
      reason: 'UnsupportedOperatorGroup',
      message: 'OwnNamespace InstallModeType not supported, cannot configure to watch openshift-cnv',
    });
    const everywhere = { spec: { targetNamespaces: null } };
    await world.client.patch(OperatorGroupKind, { namespace: NAMESPACE, name: 'group' }, everywhere, { type: 'merge' });
    await world.settle();
    expect((await csv()).status?.phase).toBe('Succeeded');
    expect((await world.get(OperatorGroupKind, `${NAMESPACE}/group`)).status?.namespaces).toEqual(['']);
  });

  it('keep the operator when the Subscription goes, and adopt it when that comes back', async () => {
    await start(group(), subscription());
    const { uid } = (await csv()).metadata;
    await world.client.delete(SubscriptionKind, { namespace: NAMESPACE, name: 'hco-operatorhub' });
    await world.settle();
    expect((await csv()).metadata.uid).toBe(uid);
    await world.with(subscription());
    await world.settle();
    expect((await csv()).metadata.uid).toBe(uid);
    expect(await subscribed()).toMatchObject({ status: { state: 'AtLatestKnown', installedCSV: CSV } });
  });

  it('leave a ClusterServiceVersion deleted that was deleted', async () => {
    await start(group(), subscription());
    await world.client.delete(ClusterServiceVersionKind, { namespace: NAMESPACE, name: CSV });
    await world.settle();
    expect(await world.list(ClusterServiceVersionKind, NAMESPACE)).toEqual([]);
    expect((await subscribed()).status).toMatchObject({ state: 'UpgradePending', currentCSV: CSV });
  });

  it('replace the version of an older build', async () => {
    await start(group(), subscription());
    const old = 'kubevirt-hyperconverged-operator.v0.0.0-old';
    const { spec, status } = await csv();
    await world.client.delete(SubscriptionKind, { namespace: NAMESPACE, name: 'hco-operatorhub' });
    await world.client.delete(ClusterServiceVersionKind, { namespace: NAMESPACE, name: CSV });
    await world.with(built(ClusterServiceVersionKind, `${NAMESPACE}/${old}`, { spec, status: { ...status } }), subscription());
    await world.settle();
    expect(await csv()).toMatchObject({ spec: { replaces: old }, status: { phase: 'Succeeded' } });
    expect((await world.list(ClusterServiceVersionKind, NAMESPACE)).map(({ metadata }) => metadata.name)).toEqual([CSV]);
    expect(await world.events()).toContainEqual(expect.stringContaining(`Normal BeingReplaced`));
  });

  it('do not pretend to run operators of others', async () => {
    const other = { spec: { displayName: 'Other', install: { strategy: 'deployment' } } };
    await start(group(), built(ClusterServiceVersionKind, `${NAMESPACE}/other.v1`, other));
    const { status } = await world.get(ClusterServiceVersionKind, `${NAMESPACE}/other.v1`);
    expect(status).toMatchObject({ phase: 'Failed', reason: 'InstallComponentFailed' });
  });

  it('offer the packages of the catalogues', async () => {
    await start();
    const sources = await world.list(CatalogSourceKind, 'openshift-marketplace');
    expect(sources.map(({ metadata, status }) => [metadata.name, status?.connectionState?.lastObservedState])).toEqual([
      ['community-operators', 'READY'],
      ['redhat-operators', 'READY'],
    ]);
    const get = packageManifestsApi({ version: '0.0.0-test' }).routes[0]?.methods['GET'];
    const ask = (name: string) =>
      get?.({
        ...{ user: { username: 'tests', groups: [] }, method: 'GET', version: 'v1', namespace: 'openshift-marketplace', name },
        ...{ rest: [], query: new URLSearchParams(), body: undefined, signal: new AbortController().signal },
      });
    expect((await ask('kubevirt-hyperconverged'))?.body).toMatchObject({
      metadata: { labels: { catalog: 'redhat-operators' } },
      status: { defaultChannel: 'stable', channels: [{ name: 'stable', currentCSV: CSV }] },
    });
    expect((await ask(''))?.body).toMatchObject({ items: [{}, {}] });
    await expect(ask('other')).rejects.toMatchObject({ code: 404 });
  });
});
