import {
  NodeKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  type VirtualMachineInstanceMigration,
  VirtualMachineInstanceMigrationKind,
} from '@slipway/api';
import { built, type MigrationFate, pv, pvc, simulatedNode, type TestWorld, testWorld, vmi } from '@slipway/testkit';
import { INCOMING_CLAIMS, SLIPWAY_PROFILE } from '@slipway/virt';
import { afterEach, describe, expect, it } from 'vitest';
import { kubeVirtControllers } from '../virtual-machine/kubevirt-controllers.ts';

let world: TestWorld;
const node = simulatedNode();
afterEach(() => world.close());

async function start(migrations: MigrationFate = 'moves', spec: Partial<VirtualMachineInstance['spec']> = {}): Promise<void> {
  Object.assign(node, { fate: 'runs', targetFate: undefined, migrations });
  world = testWorld({ api: 'server', controllers: [...kubeVirtControllers(SLIPWAY_PROFILE), node.registration] });
  const volumes = [{ name: 'root', persistentVolumeClaim: { claimName: 'root' } }];
  await world.with(
    pv('root', {
      metadata: { annotations: { 'pv.kubernetes.io/provisioned-by': 'local.slipway.dev' } },
      spec: { nodeAffinity: onNode('node-a') },
    }),
    pvc('default/root', { spec: { volumeName: 'root' }, status: { phase: 'Bound' } }),
    vmi('default/web', { metadata: { finalizers: ['kubevirt.io/foregroundDeleteVirtualMachine'] }, spec: { volumes, ...spec } }),
  );
  await world.settle();
  expect((await instance()).status).toMatchObject({ phase: 'Running', nodeName: 'node-a' });
}

const onNode = (name: string) => ({
  required: {
    nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In' as const, values: [name] }] }],
  },
});
const migration = (name: string, metadata: object = {}) =>
  built(VirtualMachineInstanceMigrationKind, `default/${name}`, {
    metadata: { finalizers: ['kubevirt.io/migrationJobFinalize'], ...metadata },
    spec: { vmiName: 'web' },
  });
async function migrate(name = 'one', metadata: object = {}): Promise<void> {
  await world.with(migration(name, metadata));
  await world.settle();
}
const instance = (): Promise<VirtualMachineInstance> => world.get(VirtualMachineInstanceKind, 'default/web');
const job = (name = 'one'): Promise<VirtualMachineInstanceMigration> =>
  world.get(VirtualMachineInstanceMigrationKind, `default/${name}`);
const pods = (): Promise<readonly Pod[]> => world.list(PodKind, 'default');
const placed = async (): Promise<readonly string[]> =>
  (await pods()).map(({ spec, status }) => `${spec?.nodeName} ${status?.phase}`).sort();
const cancel = async (name = 'one'): Promise<void> => {
  await world.client.delete(VirtualMachineInstanceMigrationKind, { namespace: 'default', name });
  await world.settle();
};

describe('a migration', () => {
  it('brings the guest, and the volume that came with it, to the other node', async () => {
    await start();
    await migrate();
    const { status, metadata } = await job();
    expect(status?.phase).toBe('Succeeded');
    expect(status?.phaseTransitionTimestamps?.map(({ phase }) => phase)).toEqual([
      ...['Pending', 'Scheduling', 'Scheduled', 'PreparingTarget', 'TargetReady', 'Running', 'Succeeded'],
    ]);
    expect(metadata.finalizers ?? []).toEqual([]);
    expect(status?.migrationState).toMatchObject({
      ...{ sourceNode: 'node-a', targetNode: 'node-b', completed: true, migrationUid: metadata.uid },
      migrationConfiguration: { progressTimeout: 150, bandwidthPerMigration: '0', allowPostCopy: false },
    });
    const moved = await instance();
    expect(moved.status).toMatchObject({ phase: 'Running', nodeName: 'node-b' });
    expect(moved.metadata.labels).toEqual({ 'kubevirt.io/nodeName': 'node-b' });
    expect(await placed()).toEqual(['node-b Running']);
    const [target] = await pods();
    expect(target?.metadata.annotations?.[INCOMING_CLAIMS]).toBe('["root"]');
    expect((target?.spec?.volumes ?? []).some((volume) => volume.persistentVolumeClaim !== undefined)).toBe(false);
    expect((await world.get(PersistentVolumeKind, 'root')).spec?.nodeAffinity).toEqual(onNode('node-b'));
    const events = await world.events(migration('one'));
    expect(events.map((event) => event.split(' ').slice(0, 2).join(' '))).toEqual([
      ...['Normal SuccessfulCreate', 'Normal SuccessfulHandOver', 'Normal SuccessfulMigration'],
    ]);
  });

  it('goes there and back, and leaves one pod', async () => {
    await start();
    await migrate('one');
    await migrate('two');
    expect((await job('two')).status?.phase).toBe('Succeeded');
    expect((await instance()).status?.nodeName).toBe('node-a');
    expect(await placed()).toEqual(['node-a Running']);
  });

  it('that fails leaves the guest where it is', async () => {
    await start('fails');
    await migrate();
    expect((await job()).status).toMatchObject({ phase: 'Failed', migrationState: { failed: true } });
    const stayed = await instance();
    expect(stayed.status).toMatchObject({ phase: 'Running', nodeName: 'node-a' });
    expect(stayed.metadata.labels).toEqual({ 'kubevirt.io/nodeName': 'node-a' });
    expect(await placed()).toEqual(['node-a Running']);
    expect((await world.get(PersistentVolumeKind, 'root')).spec?.nodeAffinity).toEqual(onNode('node-a'));
    expect(await world.events(migration('one'))).toContainEqual(expect.stringContaining('the link broke'));
  });

  it.each<[MigrationFate, string]>([
    ['target-is-silent', 'PreparingTarget'],
    ['copies', 'Running'],
  ])('that is deleted while the agents are at it is aborted (%s)', async (fate, phase) => {
    await start(fate);
    await migrate();
    expect((await job()).status?.phase).toBe(phase);
    await cancel();
    expect(await world.exists(VirtualMachineInstanceMigrationKind, 'default/one')).toBe(false);
    expect((await instance()).status).toMatchObject({
      ...{ phase: 'Running', nodeName: 'node-a' },
      migrationState: { failed: true, completed: true, abortRequested: true, abortStatus: 'Succeeded' },
    });
    expect(await placed()).toEqual(['node-a Running']);
    expect(await world.events(migration('one'))).toContainEqual(expect.stringContaining('SuccessfulAbortMigration'));
  });

  it('that is deleted before its pod is ready leaves nothing', async () => {
    await start();
    node.targetFate = 'stays-pending';
    await migrate();
    expect((await job()).status?.phase).toBe('Scheduling');
    await cancel();
    expect(await world.exists(VirtualMachineInstanceMigrationKind, 'default/one')).toBe(false);
    expect((await instance()).status?.migrationState).toBeUndefined();
    expect(await placed()).toEqual(['node-a Running']);
  });

  it('fails when its pod is gone, and the guest stays', async () => {
    await start('copies');
    await migrate();
    const target = (await pods()).find(({ spec }) => spec?.nodeName === 'node-b');
    await world.client.delete(
      PodKind,
      { namespace: 'default', name: target?.metadata.name ?? '' },
      { gracePeriodSeconds: 0, preconditions: { uid: target?.metadata.uid ?? '' } },
    );
    await world.settle();
    expect((await job()).status?.phase).toBe('Failed');
    expect((await instance()).status).toMatchObject({ phase: 'Running', migrationState: { failed: true, completed: true } });
    expect(await placed()).toEqual(['node-a Running']);
  });

  it('does not end the instance while the source has given the guest away and the target has not taken it', async () => {
    await start('given-away');
    await migrate();
    expect((await job()).status?.phase).toBe('Running');
    expect(await placed()).toEqual(['node-a Succeeded', 'node-b Running']);
    expect((await instance()).status).toMatchObject({ phase: 'Running', nodeName: 'node-a' });
    node.migrations = 'moves';
    await world.client.patch(
      VirtualMachineInstanceKind,
      { namespace: 'default', name: 'web' },
      { metadata: { annotations: { wake: 'up' } } },
      { type: 'merge' },
    );
    await world.settle();
    expect((await instance()).status).toMatchObject({ phase: 'Running', nodeName: 'node-b' });
    expect((await job()).status?.phase).toBe('Succeeded');
    expect(await placed()).toEqual(['node-b Running']);
  });

  it('ends the instance when the guest was given to a target that is gone', async () => {
    await start('given-away');
    await migrate();
    const target = (await pods()).find(({ spec }) => spec?.nodeName === 'node-b');
    await world.client.delete(
      PodKind,
      { namespace: 'default', name: target?.metadata.name ?? '' },
      { gracePeriodSeconds: 0, preconditions: { uid: target?.metadata.uid ?? '' } },
    );
    await world.settle();
    expect((await instance()).status?.phase).toBe('Failed');
    expect((await job()).status?.phase).toBe('Failed');
  });

  it('gives up a pod that no node takes', async () => {
    await start();
    node.targetFate = 'unschedulable';
    await migrate('one', { annotations: { 'kubevirt.io/migrationUnschedulablePodTimeoutSeconds': '60' } });
    expect((await job()).status?.phase).toBe('Scheduling');
    await world.advance(61_000);
    expect((await job()).status?.phase).toBe('Failed');
    expect(await placed()).toEqual(['node-a Running']);
    expect(await world.events(migration('one'))).toContainEqual(expect.stringContaining('0/1 nodes are available'));
  });

  it.each([
    ['warns when no other node has the processor', {}, true],
    ['says nothing when one has', { 'cpu-model-migration.node.kubevirt.io/Haswell': 'true' }, false],
  ])('%s', async (_, labels, isWarned) => {
    await start('copies');
    await world.with(
      built(NodeKind, 'node-a', { metadata: { labels: { 'host-model-cpu.node.kubevirt.io/Haswell': 'true' } } }),
      built(NodeKind, 'node-b', { metadata: { labels } }),
    );
    await world.settle();
    await migrate();
    const events = await world.events(vmi('default/web'));
    expect(events.some((event) => event.startsWith('Warning NoSuitableNodesForHostModelMigration'))).toBe(isWarned);
    const target = (await pods()).find(({ spec }) => spec?.nodeName === 'node-b');
    expect(target?.spec?.nodeSelector).toMatchObject({ 'cpu-model-migration.node.kubevirt.io/Haswell': 'true' });
  });

  it('fails at once beside another one of the same instance', async () => {
    await start('copies');
    await migrate('one');
    await migrate('two');
    expect((await job('two')).status?.phase).toBe('Failed');
    expect((await job('one')).status?.phase).toBe('Running');
  });

  it('is kept when it is among the last five of its instance', async () => {
    await start();
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) {
      await migrate(name);
      await world.advance(1_000);
    }
    const left = await world.list(VirtualMachineInstanceMigrationKind, 'default');
    expect(left.map(({ metadata, status }) => `${metadata.name} ${status?.phase}`).sort()).toEqual(
      ['c', 'd', 'e', 'f', 'g'].map((name) => `${name} Succeeded`),
    );
  });
});
