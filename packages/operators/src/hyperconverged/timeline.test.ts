import { type KubeVirt, KubeVirtKind } from '@slipway/api';
import type { Condition } from '@slipway/apimachinery';
import { type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { HCO_NAME, type HyperConverged, HyperConvergedKind, KUBEVIRT_NAME, operators } from '../index.ts';
import { convertHyperConverged } from './convert-versions.ts';

const NAMESPACE = 'openshift-cnv';
const HCO = `${NAMESPACE}/${HCO_NAME}`;
const KUBEVIRT = `${NAMESPACE}/${KUBEVIRT_NAME}`;
const VERSION = '0.0.0-test';
/** Longer than a start may take before it shows unready conditions. */
const SLOW_MS = 6_000;

const GOOD = [
  'ReconcileComplete=True ReconcileCompleted',
  'Available=True ReconcileCompleted',
  'Progressing=False ReconcileCompleted',
  'Degraded=False ReconcileCompleted',
  'Upgradeable=True ReconcileCompleted',
];

let world: TestWorld;
let stop: AbortController;
afterEach(async () => {
  stop.abort();
  await world.close();
});

/** Every state of the HyperConverged that a client sees, from its creation on. */
interface Timeline {
  /** Conditions as they followed each other, without repetitions; undefined for none. */
  states(): Promise<readonly (readonly string[] | undefined)[]>;
  /** The messages of one condition as they followed each other. */
  messages(type: string): Promise<readonly string[]>;
  isGone(): Promise<boolean>;
}

/** Watches from before the first object on; `states` first waits until the watch has seen what is there now. */
async function record(): Promise<Timeline> {
  const seen: HyperConverged[] = [];
  const waiting = new Set<() => void>();
  let isDeleted = false;
  const { resourceVersion: beginning = '' } = (await world.client.list(HyperConvergedKind)).metadata;
  void (async () => {
    for await (const { type, object } of world.client.watch(HyperConvergedKind, {
      resourceVersion: beginning,
      signal: stop.signal,
    })) {
      if (type === 'DELETED') isDeleted = true;
      else if (type === 'ADDED' || type === 'MODIFIED') seen.push(object);
      for (const wake of waiting) wake();
    }
  })().catch(() => {}); // the test has ended
  const caughtUp = async (holds: () => boolean): Promise<void> => {
    while (!holds())
      await new Promise<void>((resolve) => {
        waiting.add(resolve);
      });
  };
  const all = async (): Promise<readonly HyperConverged[]> => {
    const { resourceVersion } = (await world.get(HyperConvergedKind, HCO)).metadata;
    await caughtUp(() => seen.some(({ metadata }) => metadata.resourceVersion === resourceVersion));
    return seen;
  };
  return {
    async states() {
      const texts = (await all()).map(({ status }) =>
        status?.conditions?.map(({ type, status: is, reason }) => `${type}=${is} ${reason}`),
      );
      return texts.filter((text, index) => JSON.stringify(text) !== JSON.stringify(texts[index - 1]) || index === 0);
    },
    async messages(type) {
      const found = (await all()).flatMap(({ status }) => status?.conditions?.find((one) => one.type === type)?.message ?? []);
      return found.filter((text, index) => text !== found[index - 1]);
    },
    async isGone() {
      await caughtUp(() => isDeleted);
      return isDeleted;
    },
  };
}

/** Without the operator of KubeVirt, whose part the test plays. */
async function start(options: { readonly withKubeVirt: boolean }): Promise<Timeline> {
  stop = new AbortController();
  world = testWorld({
    ...{ api: 'server', controllers: operators.filter(({ name }) => options.withKubeVirt || name !== 'virt-operator') },
    fieldConverters: new Map([['hco.kubevirt.io/HyperConverged', convertHyperConverged]]),
  });
  const timeline = await record();
  await world.settle();
  return timeline;
}

type Statuses = Readonly<Record<string, readonly [Condition['status'], reason: string, message: string]>>;

/** Writes what KubeVirt's operator would say of it. */
async function kubeVirtSays(statuses: Statuses, version = VERSION): Promise<void> {
  const kubevirt = await world.get(KubeVirtKind, KUBEVIRT);
  const conditions = Object.entries(statuses).map(([type, [status, reason, message]]) => ({ type, status, reason, message }));
  const status = { ...kubevirt.status, phase: 'Deployed', observedKubeVirtVersion: version, conditions };
  await world.client.update(KubeVirtKind, { ...kubevirt, status } as KubeVirt, { subresource: 'status' });
  await world.settle();
}

const READY: Statuses = {
  Available: ['True', 'AllComponentsReady', 'All components are ready.'],
  Progressing: ['False', 'AllComponentsReady', 'All components are ready.'],
  Degraded: ['False', 'AllComponentsReady', 'All components are ready.'],
};
const DEPLOYING: Statuses = {
  Available: ['False', 'DeploymentInProgress', 'Deploying version v1 with registry r'],
  Progressing: ['True', 'DeploymentInProgress', 'Deploying version v1 with registry r'],
  Degraded: ['False', 'DeploymentInProgress', 'Deploying version v1 with registry r'],
};

describe('the conditions of a HyperConverged follow', () => {
  it('a first start: nothing, then all is well, and no other state between', async () => {
    const timeline = await start({ withKubeVirt: true });
    expect(await timeline.states()).toEqual([undefined, GOOD]);
    await world.advance(SLOW_MS);
    expect(await timeline.states()).toEqual([undefined, GOOD]);
    expect((await world.events()).filter((event) => event.startsWith('Warning'))).toEqual([]);
  });

  it('a first start that takes its time: initializing, no conditions of a child, its deployment, all is well', async () => {
    const timeline = await start({ withKubeVirt: false });
    expect(await timeline.states()).toEqual([undefined]);
    await world.advance(SLOW_MS);
    await world.advance(1_000);
    await kubeVirtSays(DEPLOYING);
    await kubeVirtSays(READY);
    expect(await timeline.states()).toEqual([
      undefined,
      [
        'ReconcileComplete=Unknown Init',
        'Available=False Init',
        'Progressing=True Init',
        'Degraded=False Init',
        'Upgradeable=Unknown Init',
      ],
      [
        'ReconcileComplete=True ReconcileCompleted',
        'Available=False KubeVirtConditions',
        'Progressing=True KubeVirtConditions',
        'Degraded=False ReconcileCompleted',
        'Upgradeable=False KubeVirtConditions',
      ],
      [
        'ReconcileComplete=True ReconcileCompleted',
        'Available=False KubeVirtNotAvailable',
        'Progressing=True KubeVirtProgressing',
        'Degraded=False ReconcileCompleted',
        'Upgradeable=False KubeVirtProgressing',
      ],
      GOOD,
    ]);
    expect(await timeline.messages('Progressing')).toEqual([
      'Initializing HyperConverged cluster',
      'KubeVirt resource has no conditions',
      'KubeVirt is progressing: Deploying version v1 with registry r',
      'Reconcile completed successfully',
    ]);
    expect(await world.events()).toContain('Normal InitHCO Initiating the HyperConverged');
  });

  it('a broken child, and its recovery', async () => {
    const timeline = await start({ withKubeVirt: false });
    await kubeVirtSays(READY);
    await kubeVirtSays({ ...READY, Degraded: ['True', 'DeploymentFailed', 'virt-api crashes'] });
    await kubeVirtSays({ ...READY, Available: ['False', 'DeploymentFailed', 'no virt-api'] });
    expect((await world.get(HyperConvergedKind, HCO)).status?.systemHealthStatus).toBe('error');
    await kubeVirtSays(READY);
    expect(await timeline.states()).toEqual([
      undefined,
      GOOD,
      [
        'ReconcileComplete=True ReconcileCompleted',
        'Available=False HCODegraded',
        'Progressing=False ReconcileCompleted',
        'Degraded=True KubeVirtDegraded',
        'Upgradeable=False HCODegraded',
      ],
      [
        'ReconcileComplete=True ReconcileCompleted',
        'Available=False KubeVirtNotAvailable',
        'Progressing=False ReconcileCompleted',
        'Degraded=False ReconcileCompleted',
        'Upgradeable=True ReconcileCompleted',
      ],
      GOOD,
    ]);
    expect(await timeline.messages('Available')).toContain('KubeVirt is not available: no virt-api');
    expect((await world.get(HyperConvergedKind, HCO)).status?.systemHealthStatus).toBe('healthy');
    expect(await world.events()).toContain('Warning ReconcileHCO Not all the operators are ready');
  });

  it('an upgrade: progressing until each child has the new version, available all the time', async () => {
    const timeline = await start({ withKubeVirt: false });
    await kubeVirtSays(READY);
    await kubeVirtSays(READY, '0.0.0-old');
    const hco = await world.get(HyperConvergedKind, HCO);
    const versions = [{ name: 'operator', version: '0.0.0-old' }];
    await world.client.update(HyperConvergedKind, { ...hco, status: { ...hco.status, versions } }, { subresource: 'status' });
    await world.settle();
    await world.advance(1_000);
    expect((await world.get(HyperConvergedKind, HCO)).status?.versions).toEqual(versions);
    await kubeVirtSays(READY);
    const upgrading = [
      'ReconcileComplete=True ReconcileCompleted',
      'Available=True ReconcileCompleted',
      'Progressing=True HCOUpgrading',
      'Degraded=False ReconcileCompleted',
      'Upgradeable=False HCOUpgrading',
    ];
    expect(await timeline.states()).toEqual([undefined, GOOD, upgrading, GOOD]);
    expect(await timeline.messages('Progressing')).toContain(`HCO is now upgrading to version ${VERSION}`);
    expect((await world.get(HyperConvergedKind, HCO)).status?.versions).toEqual([{ name: 'operator', version: VERSION }]);
  });

  it('a setting that cannot be carried out, until it is taken back', async () => {
    const timeline = await start({ withKubeVirt: true });
    const annotate = (patch: string | null) =>
      world.client.patch(
        HyperConvergedKind,
        { namespace: NAMESPACE, name: HCO_NAME },
        { metadata: { annotations: { 'kubevirt.kubevirt.io/jsonpatch': patch } } },
        { type: 'merge' },
      );
    await annotate('[{"op":"remove","path":"/metadata/name"}]');
    await world.settle();
    await annotate(null);
    await world.settle();
    const failed = ['Available', 'Progressing', 'Degraded', 'Upgradeable'].map((type) => `${type}=Unknown ReconcileFailed`);
    expect(await timeline.states()).toEqual([
      undefined,
      GOOD,
      ['ReconcileComplete=False ReconcileFailed', ...failed, 'TaintedConfiguration=True UnsupportedFeatureAnnotation'],
      GOOD,
    ]);
  });

  it('a deletion: children in their order, and the object last', async () => {
    const timeline = await start({ withKubeVirt: true });
    await timeline.states();
    const before = world.requests.length;
    await world.client.delete(HyperConvergedKind, { namespace: NAMESPACE, name: HCO_NAME });
    await world.settle();
    expect(await timeline.isGone()).toBe(true);
    const kinds = ['ssps', 'networkaddonsconfigs', 'kubevirts', 'cdis'];
    const deletions = world.requests
      .slice(before)
      .filter((request) => kinds.some((kind) => request.startsWith(`delete ${kind} `)));
    expect(deletions.map((request) => request.split(' ')[1])).toEqual(kinds);
  });
});
