import {
  CDIKind,
  type core,
  KubeVirtKind,
  NodeKind,
  NodeVerb,
  PodKind,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceMigrationKind,
  VirtualMachineKind,
} from '@slipway/api';
import { deepEqual, type KubeObject, type ResourceKind } from '@slipway/apimachinery';
import { CDI_NAME, HCO_NAME, HyperConvergedKind, KUBEVIRT_NAME, SSP_NAME, SspKind } from '@slipway/operators';
import { type Built, built, namespace, pod, storageClass, type TestWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { expectFiring as expectFiringOf, healthyNode, MINUTE, patch, workingPlatform } from './testing/faults.ts';
import { type MonitoredWorld, monitoredWorld } from './testing/monitored-world.ts';

const HCO = { namespace: 'openshift-cnv', name: HCO_NAME };
const TEMPLATE: ResourceKind<KubeObject> = {
  ...{ group: 'template.openshift.io', version: 'v1', kind: 'Template', plural: 'templates', namespaced: true },
};

let monitored: MonitoredWorld;
afterEach(() => monitored?.world.close());

async function working(without: readonly string[] = []): Promise<TestWorld> {
  monitored = await workingPlatform({ without });
  return monitored.world;
}

const expectFiring = (names: readonly string[], ms: number): Promise<void> => expectFiringOf(monitored, names, ms);

const severitiesOf = (alert: string): readonly (string | undefined)[] =>
  monitored.alerts().flatMap(({ labels }) => (labels['alertname'] === alert ? [labels['severity']] : []));

async function setStatus(world: TestWorld, kind: ResourceKind<KubeObject>, key: string, status: object): Promise<void> {
  const object = await world.get(kind, key);
  await world.client.update(kind, { ...object, status } as KubeObject, { subresource: 'status' });
}

/** Creates objects with their status, whether that is a resource of its own or not. */
async function put(world: TestWorld, ...objects: readonly Built[]): Promise<void> {
  await world.with(namespace('shop'));
  for (const { kind, object } of objects as readonly Built<KubeObject & { status?: object }>[]) {
    const created = await world.client.create(kind, object);
    if (object.status === undefined || deepEqual(created.status, object.status)) continue;
    await world.client.update(kind, { ...created, status: object.status }, { subresource: 'status' });
  }
  await world.settle();
}

const notReady = { conditions: [{ type: 'Ready', status: 'False', reason: 'KubeletNotReady' }] as core.NodeCondition[] };

describe('faults of the platform', { timeout: 60_000 }, () => {
  it('edits by hand and settings nobody has tested', async () => {
    const world = await working();
    await patch(world, KubeVirtKind, { namespace: 'openshift-cnv', name: KUBEVIRT_NAME }, { spec: { imagePullPolicy: 'Never' } });
    const annotations = { 'kubevirt.kubevirt.io/jsonpatch': '[{"op":"remove","path":"/metadata/name"}]' };
    await patch(world, HyperConvergedKind, HCO, { metadata: { annotations } });
    await world.advance(2_000); // templates are made later
    const [template] = await world.list(TEMPLATE, 'openshift');
    const { name = '' } = template?.metadata ?? {};
    await patch(world, TEMPLATE, { namespace: 'openshift', name }, { objects: [] });
    await expectFiring(['KubeVirtCRModified', 'UnsupportedHCOModification', 'SSPCommonTemplatesModificationReverted'], MINUTE);
    await expectFiring(['HCOOperatorConditionsUnhealthy'], 10 * MINUTE);
    expect(severitiesOf('HCOOperatorConditionsUnhealthy')).toEqual(['critical']);
  });

  it('operands that do not work', async () => {
    monitored = await monitoredWorld({ without: ['cdi-operator', 'ssp-operator'] });
    const { world } = monitored;
    const saying = async (states: Readonly<Record<string, 'True' | 'False'>>): Promise<void> => {
      const text = { reason: 'x', message: 'broken', lastTransitionTime: '2026-01-01T00:00:00Z' };
      const conditions = Object.entries(states).map(([type, status]) => ({ type, status, ...text }));
      const cdi = await world.get(CDIKind, CDI_NAME);
      await world.client.update(CDIKind, { ...cdi, status: { phase: 'Deployed', conditions } });
      await setStatus(world, SspKind, `openshift-cnv/${SSP_NAME}`, { phase: 'Deploying', conditions });
      await world.settle();
    };
    await saying({ Available: 'False', Progressing: 'False', Degraded: 'False' });
    await expectFiring(['CDINotReady', 'SSPFailingToReconcile'], 10 * MINUTE);
    await expectFiring(['HCOOperatorConditionsUnhealthy'], 10 * MINUTE);
    expect(severitiesOf('HCOOperatorConditionsUnhealthy')).toEqual(['critical']);
    await saying({ Available: 'True', Progressing: 'True', Degraded: 'False' });
    await expectFiring(['HCOOperatorConditionsUnhealthy'], 10 * MINUTE);
    expect(severitiesOf('HCOOperatorConditionsUnhealthy')).toEqual(['warning']);
  });

  it('golden images that no node can run', async () => {
    const world = await working();
    const template = (name: string, annotations = {}) => ({
      metadata: { name, annotations },
      spec: { managedDataSource: name, schedule: '', template: { spec: { source: { registry: { url: 'docker://x/y' } } } } },
    });
    const dataImportCronTemplates = [template('silent'), template('foreign', { 'ssp.kubevirt.io/dict.architectures': 's390x' })];
    const workloadSources = { enableMultiArchBootImageImport: true, dataImportCronTemplates };
    await patch(world, HyperConvergedKind, HCO, { spec: { workloadSources } });
    await expectFiring(['HCOGoldenImageWithNoSupportedArchitecture', 'HCOGoldenImageWithNoArchitectureAnnotation'], MINUTE);
  });

  it('VMs that break the rules of their template, again and again', async () => {
    const world = await working();
    const rule = { name: 'small', rule: 'integer', path: 'jsonpath::.spec.domain.cpu.cores', message: 'too large', max: 1 };
    const annotations = { 'vm.kubevirt.io/validations': JSON.stringify([rule]) };
    const spec = { runStrategy: 'Halted', template: { spec: { domain: { cpu: { cores: 4 }, devices: {} } } } };
    const refused = built(VirtualMachineKind, 'default/large', { metadata: { annotations }, spec });
    for (let attempt = 0; attempt < 6; attempt++) await expect(world.with(refused)).rejects.toThrow('too large');
    await expectFiring(['SSPHighRateRejectedVms'], 5 * MINUTE);
  });

  it('a HyperConverged that is gone', async () => {
    const world = await working();
    await world.client.delete(HyperConvergedKind, HCO);
    await monitored.evaluateAfter(60 * MINUTE);
    expect(monitored.firing()).toContain('HCOInstallationIncomplete'); // and there is nobody whom an event could be about
  });

  it('classes of storage', async () => {
    const world = await working();
    const VIRT = { 'storageclass.kubevirt.io/is-default-virt-class': 'true' };
    const classOf = (name: string) =>
      storageClass(name, { provisioner: 'csi.example.com', metadata: { name, annotations: VIRT } });
    await world.with(healthyNode('node2'), classOf('one'), classOf('two'));
    await expectFiring(
      ['CDIMultipleDefaultVirtStorageClasses', 'CDIStorageProfilesIncomplete', 'CDIDefaultStorageClassDegraded'],
      5 * MINUTE,
    );
  });

  it('workers of CDI that fail, and images that do not come', async () => {
    const world = await working();
    const containerStatuses = [{ name: 'importer', restartCount: 4, ready: false, image: 'i', imageID: '' }];
    await world.with(pod('shop/importer-disk', { status: { phase: 'Running', containerStatuses } }));
    const source = { registry: { url: 'docker://registry.invalid/x' } };
    const spec = { schedule: '', managedDataSource: 'debian', template: { spec: { source, storage: {} } } };
    await world.with(built(CRON, 'shop/debian', { spec }));
    await expectFiring(['CDIDataVolumeUnusualRestartCount', 'CDIDataImportCronOutdated'], 15 * MINUTE);
  });
});

const CRON: ResourceKind<KubeObject> = {
  ...{ group: 'cdi.kubevirt.io', version: 'v1beta1', kind: 'DataImportCron', plural: 'dataimportcrons', namespaced: true },
};

describe('faults of nodes and guests', { timeout: 60_000 }, () => {
  it('a node that is silent, with a guest on it', async () => {
    const world = await working(GUEST_CONTROLLERS);
    await put(world, healthyNode('node2'), guest('web', 'node2'));
    const { status } = await world.get(NodeKind, 'node2');
    await setStatus(world, NodeKind, 'node2', { ...status, ...notReady });
    const names = ['LowReadyVirtHandlerCount', 'VirtHandlerDaemonSetRolloutFailing', 'OrphanedVirtualMachineInstances'];
    await expectFiring(names, 15 * MINUTE);
  });

  it('no node for guests, none that answers, and none at all', async () => {
    const world = await working();
    await world.with(healthyNode('node2'));
    const stored = await world.get(NodeKind, 'node1');
    for (const name of ['node1', 'node2'])
      await setStatus(world, NodeKind, name, { ...stored.status, allocatable: { cpu: '4', memory: '8Gi', pods: '110' } });
    await expectFiring(['LowKVMNodesCount'], 5 * MINUTE);
    for (const name of ['node1', 'node2']) await patch(world, NodeKind, { name }, { spec: { unschedulable: true } });
    await expectFiring(['KubeVirtNoAvailableNodesToRunVMs'], 5 * MINUTE);
    for (const name of ['node1', 'node2']) await setStatus(world, NodeKind, name, { ...stored.status, ...notReady });
    await expectFiring(['NoReadyVirtHandler'], 10 * MINUTE);
    for (const name of ['node1', 'node2']) await world.client.delete(NodeKind, { namespace: '', name });
    await expectFiring(['VirtHandlerDown'], 10 * MINUTE);
  });

  it('guests that cannot move, move too often, are outdated, panic or are stuck', async () => {
    const world = await working(GUEST_CONTROLLERS);
    await put(
      world,
      guest('web', 'node1', {
        metadata: { name: 'web', namespace: 'shop', labels: { 'kubevirt.io/outdatedLauncherImage': '' } },
      }),
      machine('waits', 'Provisioning'),
      machine('web', 'Starting'),
      ...Array.from({ length: 12 }, (_, index) => migration(index)),
    );
    await world.settle();
    await monitored.evaluateAfter(MINUTE);
    for (let panics = 0; panics < 6; panics++)
      for (const reason of ['GuestPanicked', '']) {
        const vmi = await world.get(VirtualMachineInstanceKind, 'shop/web');
        await world.client.update(VirtualMachineInstanceKind, { ...vmi, status: { ...vmi.status, reason } });
        await world.settle();
      }
    const soon = [
      'VMCannotBeEvicted',
      'VMNonRecoverableOSPanic',
      'VirtualMachineStuckInUnhealthyState',
      'VirtualMachineStuckOnNode',
    ];
    await expectFiring(soon, 10 * MINUTE);
    await expectFiring(['KubeVirtVMIExcessiveMigrations', 'OutdatedVirtualMachineInstanceWorkloads'], 24 * 60 * MINUTE);
  });

  it('guests that have too little of something', async () => {
    const world = await working(GUEST_CONTROLLERS);
    world.nodes.onCall(NodeVerb.stats, ({ name }) => STATS[String(name)]?.(world.clock.now()));
    await put(world, guest('thrashes', 'node1'), guest('small', 'node1'));
    // rates take two looks
    await monitored.evaluateAfter(5 * MINUTE);
    const names = ['KubeVirtVMGuestMemoryPressure', 'GuestVCPUQueueHighCritical', 'GuestVCPUQueueHighWarning'];
    await expectFiring([...names, 'GuestFilesystemAlmostOutOfSpace'], 5 * MINUTE);
    await monitored.evaluateAfter(30 * MINUTE);
    await expectFiring(['KubeVirtVMGuestMemoryAvailableLow'], 30 * MINUTE);
  });

  it('launchers that fail and stay', async () => {
    const world = await working();
    const labels = { 'kubevirt.io': 'virt-launcher' };
    await world.with(
      ...Array.from({ length: 200 }, (_, index) =>
        pod(`shop/virt-launcher-${index}`, {
          metadata: { name: `virt-launcher-${index}`, namespace: 'shop', labels },
          status: { phase: 'Failed' },
        }),
      ),
    );
    expect((await world.list(PodKind, 'shop')).length).toBe(200);
    await expectFiring(['VirtLauncherPodsStuckFailed'], 10 * MINUTE);
  });
});

/** Their work would bring the objects of these tests to where a real cluster has them. */
const GUEST_CONTROLLERS = [
  ...['virtualmachine-controller', 'virtualmachineinstance-controller', 'migration-controller'],
  ...['workload-update-controller', 'evacuation-controller', 'hotplug-controller'],
];
const DOMAIN = { devices: {} };
const guest = (name: string, nodeName: string, rest: object = {}) =>
  built(VirtualMachineInstanceKind, `shop/${name}`, {
    ...rest,
    ...{ spec: { evictionStrategy: 'LiveMigrate', domain: DOMAIN }, status: { phase: 'Running', nodeName } },
  });
const machine = (name: string, printableStatus: string) =>
  built(VirtualMachineKind, `shop/${name}`, {
    ...{ spec: { runStrategy: 'Always', template: { spec: { domain: DOMAIN } } }, status: { printableStatus } },
  });
/** Of a day that lies ahead in part, as migrations of each hour would be. */
const migrationState = { startTimestamp: '2026-01-01T12:00:00Z', endTimestamp: '2026-01-01T12:01:00Z', sourceNode: 'node1' };
const migration = (index: number) =>
  built(VirtualMachineInstanceMigrationKind, `shop/move-${index}`, {
    ...{ spec: { vmiName: 'web' }, status: { phase: 'Succeeded', migrationState } },
  });

const memory = { 'balloon.available': 1000, 'balloon.swap_in': 0, 'balloon.swap_out': 0, 'vcpu.0.state': 1, 'vcpu.0.time': 1 };
/** What nodes say of guests, by the time. */
const STATS: Readonly<Record<string, (nowMs: number) => object>> = {
  thrashes: (nowMs) => ({
    domain: { ...memory, 'balloon.usable': 40, 'balloon.major_fault': nowMs / 100 },
    filesystems: [{ diskName: 'vda1', mountPoint: '/', fileSystemType: 'ext4', totalBytes: 100, usedBytes: 96 }],
    load: [30, 20, 10],
  }),
  small: () => ({ domain: { ...memory, 'balloon.usable': 20 }, filesystems: [] }),
};
