import {
  AaqKind,
  CDIKind,
  ClusterRoleBindingKind,
  KubeVirtKind,
  NamespaceKind,
  ServiceAccountKind,
  StorageClassKind,
  VirtualMachineKind,
} from '@slipway/api';
import { built, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { KUBEVIRT_FINALIZER } from './components/kubevirt-operator.ts';
import { convertHyperConverged } from './hyperconverged/convert-versions.ts';
import { makeFirstObjects } from './hyperconverged/first-objects.ts';
import {
  AAQ_NAME,
  CDI_NAME,
  CDIConfigKind,
  HCO_NAME,
  type HyperConverged,
  HyperConvergedKind,
  KUBEVIRT_NAME,
  operators,
  SSP_NAME,
  SspKind,
} from './index.ts';

let world: TestWorld;
const { signal } = new AbortController();
afterEach(() => world.close());

const HCO = `openshift-cnv/${HCO_NAME}`;
const KUBEVIRT = `openshift-cnv/${KUBEVIRT_NAME}`;

async function start(settings: { readonly withHyperConverged?: boolean } = {}): Promise<void> {
  world = testWorld({
    ...{ api: 'server', controllers: operators, settings },
    fieldConverters: new Map([['hco.kubevirt.io/HyperConverged', convertHyperConverged]]),
  });
  await world.settle();
}

async function change(
  spec: HyperConverged['spec'],
  annotations: Record<string, string> = {},
  kind = HyperConvergedKind,
): Promise<void> {
  const hco = await world.get(kind, HCO);
  await world.client.update(kind, { ...hco, metadata: { ...hco.metadata, annotations }, spec: { ...spec } });
  await world.settle();
}

const conditionsOf = (hco: HyperConverged): Record<string, string> =>
  Object.fromEntries((hco.status?.conditions ?? []).map(({ type, status }) => [type, status]));

describe('the platform operators', () => {
  it('install everything from nothing', async () => {
    await start();
    const hco = await world.get(HyperConvergedKind, HCO);
    expect(conditionsOf(hco)).toEqual({
      ReconcileComplete: 'True',
      Available: 'True',
      Progressing: 'False',
      Degraded: 'False',
      Upgradeable: 'True',
    });
    expect(hco.status).toMatchObject({ systemHealthStatus: 'healthy', versions: [{ name: 'operator', version: '0.0.0-test' }] });
    expect(hco.status?.relatedObjects?.map(({ kind, name }) => `${kind}/${name}`)).toEqual([
      `KubeVirt/${KUBEVIRT_NAME}`,
      `CDI/${CDI_NAME}`,
      'NetworkAddonsConfig/cluster',
      `SSP/${SSP_NAME}`,
    ]);
    expect((await world.get(KubeVirtKind, KUBEVIRT)).status?.phase).toBe('Deployed');
    for (const name of ['kubevirt-apiserver', 'kubevirt-controller', 'kubevirt-handler', 'kubevirt-operator']) {
      expect(await world.exists(ServiceAccountKind, `openshift-cnv/${name}`)).toBe(true);
      expect(await world.get(ClusterRoleBindingKind, name)).toMatchObject({
        ...{ roleRef: { kind: 'ClusterRole', name }, subjects: [{ kind: 'ServiceAccount', name, namespace: 'openshift-cnv' }] },
      });
    }
    expect((await world.get(CDIKind, CDI_NAME)).status?.phase).toBe('Deployed');
    expect((await world.get(SspKind, `openshift-cnv/${SSP_NAME}`)).status?.phase).toBe('Deployed');
    expect(await world.exists(NamespaceKind, 'openshift-virtualization-os-images')).toBe(true);
    expect((await world.events()).filter((event) => event.startsWith('Warning'))).toEqual([]);
  });

  it('never show a condition that is not good on a first start', async () => {
    await start();
    const { metadata } = await world.get(HyperConvergedKind, HCO);
    const statusWrites = world.requests.filter((request) => request === `update hyperconvergeds/status ${HCO_NAME}`);
    // the first status already is the good one; later ones only follow resourceVersions of operands
    expect(statusWrites.length).toBeLessThanOrEqual(2);
    expect(metadata.finalizers).toEqual(['kubevirt.io/hyperconverged']);
  });

  it.each([
    [
      'v1',
      {
        deployment: { nodePlacements: { infra: { nodeSelector: { a: 'b' } }, workload: { nodeSelector: { c: 'd' } } } },
        virtualization: { liveMigrationConfig: { parallelMigrationsPerCluster: 9 }, evictionStrategy: 'None' },
        featureGates: [{ name: 'downwardMetrics' }, { name: 'declarativeHotplugVolumes', state: 'Disabled' }],
      },
    ],
    [
      'v1beta1',
      {
        infra: { nodePlacement: { nodeSelector: { a: 'b' } } },
        workloads: { nodePlacement: { nodeSelector: { c: 'd' } } },
        liveMigrationConfig: { parallelMigrationsPerCluster: 9 },
        evictionStrategy: 'None',
      },
    ],
  ] as const)('pass settings written as %s on to KubeVirt and CDI', async (version, spec) => {
    await start();
    await change(spec, {}, { ...HyperConvergedKind, version });
    const { spec: kubevirt } = await world.get(KubeVirtKind, KUBEVIRT);
    expect(kubevirt).toMatchObject({
      infra: { nodePlacement: { nodeSelector: { a: 'b' } } },
      workloads: { nodePlacement: { nodeSelector: { c: 'd' } } },
      configuration: {
        evictionStrategy: 'None',
        migrations: { parallelMigrationsPerCluster: 9, completionTimeoutPerGiB: 20 },
        network: { defaultNetworkInterface: 'masquerade' },
      },
    });
    expect((await world.get(CDIKind, CDI_NAME)).spec).toMatchObject({
      infra: { nodeSelector: { a: 'b' } },
      workload: { nodeSelector: { c: 'd' } },
    });
    expect(await world.events(built(HyperConvergedKind, HCO))).toContain(`Normal Updated Updated KubeVirt ${KUBEVIRT_NAME}`);
  });

  it('switch the quotas that know guests on and off', async () => {
    await start();
    expect(await world.exists(AaqKind, AAQ_NAME)).toBe(false);
    const { spec } = await world.get(HyperConvergedKind, HCO);
    await change({ ...spec, deployment: { applicationAwareConfig: { enable: true } } });
    const aaq = await world.get(AaqKind, AAQ_NAME);
    expect(aaq.status?.phase).toBe('Deployed');
    expect((await world.get(HyperConvergedKind, HCO)).status?.relatedObjects?.map(({ kind }) => kind)).toContain('AAQ');
    await change({ ...spec, deployment: { applicationAwareConfig: { enable: false } } });
    expect(await world.exists(AaqKind, AAQ_NAME)).toBe(false);
    expect(await world.events()).toContain(`Normal Killing Removed AAQ ${AAQ_NAME}`);
    expect(conditionsOf(await world.get(HyperConvergedKind, HCO))).toMatchObject({ Available: 'True', Degraded: 'False' });
  });

  it('undo edits of the operands by hand, and say so', async () => {
    await start();
    const kubevirt = await world.get(KubeVirtKind, KUBEVIRT);
    await world.client.update(KubeVirtKind, {
      ...kubevirt,
      spec: { ...kubevirt.spec, configuration: { evictionStrategy: 'External' } },
    });
    await world.settle();
    expect((await world.get(KubeVirtKind, KUBEVIRT)).spec).toEqual(kubevirt.spec);
    expect(await world.events(built(HyperConvergedKind, HCO))).toContain(
      `Warning Overwritten Overwritten KubeVirt ${KUBEVIRT_NAME}`,
    );
  });

  it('apply the jsonpatch annotations, and report one that is bad', async () => {
    await start();
    const patch = [{ op: 'add', path: '/spec/configuration/cpuModel', value: 'Haswell' }];
    await change({}, { 'kubevirt.kubevirt.io/jsonpatch': JSON.stringify(patch) });
    expect((await world.get(KubeVirtKind, KUBEVIRT)).spec?.configuration?.cpuModel).toBe('Haswell');
    await change({}, { 'kubevirt.kubevirt.io/jsonpatch': '[{"op":"remove","path":"/metadata/name"}]' });
    const { status } = await world.get(HyperConvergedKind, HCO);
    expect(status?.conditions?.[0]).toMatchObject({ type: 'ReconcileComplete', status: 'False', reason: 'ReconcileFailed' });
    expect(status?.conditions?.[0]?.message).toContain('can only modify spec fields');
    expect(status?.conditions).toContainEqual(expect.objectContaining({ type: 'TaintedConfiguration', status: 'True' }));
    await change({});
    const clean = (await world.get(HyperConvergedKind, HCO)).status?.conditions ?? [];
    expect(clean.map(({ type, status: state }) => `${type}=${state}`)).not.toContain('TaintedConfiguration=True');
  });

  it('refuse a HyperConverged of another name', async () => {
    await start();
    await world.with(built(HyperConvergedKind, 'openshift-cnv/other'));
    await world.settle();
    expect((await world.get(HyperConvergedKind, 'openshift-cnv/other')).status?.conditions?.[0]).toMatchObject({
      reason: 'InvalidRequest',
    });
  });

  it('report an operand that is not available', async () => {
    await start();
    const kubevirt = await world.get(KubeVirtKind, KUBEVIRT);
    const { aggregateConditions } = await import('./hyperconverged/aggregate-conditions.ts');
    const good = kubevirt.status?.conditions ?? [];
    const bad = [
      { type: 'Available', status: 'False' as const, message: 'it broke' },
      { type: 'Progressing', status: 'True' as const, message: 'Deploying' },
      { type: 'Degraded', status: 'False' as const },
    ];
    const conditions = aggregateConditions([
      { component: 'KubeVirt', conditions: bad },
      { component: 'CDI', conditions: good as typeof bad },
    ]);
    expect(conditions).toMatchObject([
      { type: 'ReconcileComplete', status: 'True' },
      { type: 'Available', status: 'False', reason: 'KubeVirtNotAvailable', message: 'KubeVirt is not available: it broke' },
      { type: 'Progressing', status: 'True', reason: 'KubeVirtProgressing' },
      { type: 'Degraded', status: 'False' },
      { type: 'Upgradeable', status: 'False', reason: 'KubeVirtProgressing' },
    ]);
  });

  it('show an upgrade until every operand has the new version', async () => {
    await start();
    const hco = await world.get(HyperConvergedKind, HCO);
    const status = { ...hco.status, versions: [{ name: 'operator', version: '0.0.0-old' }] };
    await world.client.update(HyperConvergedKind, { ...hco, status }, { subresource: 'status' });
    await world.settle();
    expect(await world.events(built(HyperConvergedKind, HCO))).toContain(
      'Normal UpgradeHCO Upgrading the HyperConverged to version 0.0.0-test',
    );
    await world.advance(1_000);
    const upgraded = await world.get(HyperConvergedKind, HCO);
    expect(upgraded.status?.versions).toEqual([{ name: 'operator', version: '0.0.0-test' }]);
    expect(conditionsOf(upgraded)).toMatchObject({ Progressing: 'False', Upgradeable: 'True', Available: 'True' });
  });

  it('remove the operands when the HyperConverged is deleted', async () => {
    await start();
    await world.client.delete(HyperConvergedKind, { namespace: 'openshift-cnv', name: HCO_NAME });
    await world.settle();
    expect([
      await world.exists(HyperConvergedKind, HCO),
      await world.exists(KubeVirtKind, KUBEVIRT),
      await world.exists(CDIKind, CDI_NAME),
    ]).toEqual([false, false, false]);
  });

  it('leave what was deleted deleted when they start again', async () => {
    await start();
    await world.client.delete(HyperConvergedKind, { namespace: 'openshift-cnv', name: HCO_NAME });
    await world.settle();
    await makeFirstObjects(
      world.client,
      { installNamespace: 'openshift-cnv', osImagesNamespace: '', caBundle: '', version: '' },
      signal,
    );
    expect(await world.exists(HyperConvergedKind, HCO)).toBe(false);
  });

  it('install KubeVirt and CDI alone when there is to be no HyperConverged', async () => {
    await start({ withHyperConverged: false });
    expect(await world.exists(HyperConvergedKind, HCO)).toBe(false);
    const kubevirt = await world.get(KubeVirtKind, 'kubevirt/kubevirt');
    expect(kubevirt).toMatchObject({
      metadata: { finalizers: [KUBEVIRT_FINALIZER] },
      status: { phase: 'Deployed' },
      spec: { configuration: { developerConfiguration: { memoryOvercommit: 300 } } },
    });
    expect((await world.get(CDIKind, 'cdi')).status?.phase).toBe('Deployed');
    const configuration = { developerConfiguration: { featureGates: ['Sidecar'] } };
    await world.client.update(KubeVirtKind, { ...kubevirt, spec: { configuration } });
    await world.settle();
    expect((await world.get(KubeVirtKind, 'kubevirt/kubevirt')).spec.configuration).toEqual(configuration);
  });

  it('take the guests along when KubeVirt goes, and say so until they are gone', async () => {
    await start({ withHyperConverged: false });
    const spec = { runStrategy: 'Halted', template: { spec: { domain: { devices: {} } } } };
    const held = { namespace: 'shop', name: 'held' };
    await world.with(
      built(NamespaceKind, 'shop'),
      built(VirtualMachineKind, 'shop/held', { metadata: { finalizers: ['example.org/backup'] }, spec }),
      built(VirtualMachineKind, 'shop/free', { spec }),
    );
    await world.client.delete(KubeVirtKind, { namespace: 'kubevirt', name: 'kubevirt' });
    await world.settle();
    const { status } = await world.get(KubeVirtKind, 'kubevirt/kubevirt');
    expect(status?.phase).toBe('Deleting');
    expect(status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'Available', status: 'False', reason: 'DeletionInProgress' }),
    );
    expect((await world.list(VirtualMachineKind, 'shop')).map(({ metadata }) => metadata.name)).toEqual(['held']);
    await world.client.patch(VirtualMachineKind, held, { metadata: { finalizers: null } }, { type: 'merge' });
    await world.advance(1_000);
    expect(await world.exists(KubeVirtKind, 'kubevirt/kubevirt')).toBe(false);
    // nor is anything left for whoever makes the namespace anew
    expect(await world.exists(ServiceAccountKind, 'kubevirt/kubevirt-handler')).toBe(false);
    expect(await world.exists(ClusterRoleBindingKind, 'kubevirt-handler')).toBe(false);
  });

  it('keep the storage classes and the CDI configuration', async () => {
    await start();
    await world.with(storageClass('ceph', { provisioner: 'csi.example.com' }));
    await world.settle();
    expect(
      (await world.get(StorageClassKind, 'local')).metadata.annotations?.['storageclass.kubernetes.io/is-default-class'],
    ).toBe('true');
    expect((await world.get(CDIConfigKind, 'config')).status?.filesystemOverhead).toEqual({
      global: '0.06',
      storageClass: { ceph: '0.06', local: '0', 'local-immediate': '0', shared: '0' },
    });
  });
});
