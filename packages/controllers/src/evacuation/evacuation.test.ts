import {
  NodeKind,
  type Pod,
  PodKind,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  type VirtualMachineInstanceMigration,
  VirtualMachineInstanceMigrationKind,
} from '@slipway/api';
import { node, simulatedNode, type TestWorld, testWorld, vmi } from '@slipway/testkit';
import { SLIPWAY_PROFILE } from '@slipway/virt';
import { afterEach, describe, expect, it } from 'vitest';
import { virtAdmission } from '../admission/testing/virt-admission.ts';
import { kubeVirtControllers } from '../virtual-machine/kubevirt-controllers.ts';
import { evacuationController } from './index.ts';

let world: TestWorld;
const agents = simulatedNode();
afterEach(() => world.close());

/** Guests on node-a, and the whole of what moves them. */
async function start(guests: Readonly<Record<string, string>>): Promise<void> {
  Object.assign(agents, { fate: 'runs', targetFate: undefined, migrations: 'moves' });
  world = testWorld({
    api: 'server',
    controllers: [...kubeVirtControllers(SLIPWAY_PROFILE), evacuationController, agents.registration],
    admission: virtAdmission,
  });
  await world.with(node('node-a'), node('node-b'));
  for (const [name, evictionStrategy] of Object.entries(guests))
    await world.with(
      vmi(`default/${name}`, {
        spec: {
          domain: { devices: {}, memory: { guest: '64Mi' } },
          terminationGracePeriodSeconds: 0,
          ...(evictionStrategy !== '' && { evictionStrategy }),
        },
      }),
    );
  await world.settle();
  for (const name of Object.keys(guests))
    expect((await instance(name)).status).toMatchObject({ phase: 'Running', nodeName: 'node-a' });
}

const instance = (name: string): Promise<VirtualMachineInstance> => world.get(VirtualMachineInstanceKind, `default/${name}`);
const jobs = (): Promise<readonly VirtualMachineInstanceMigration[]> =>
  world.list(VirtualMachineInstanceMigrationKind, 'default');
const podOf = async (name: string): Promise<Pod> => {
  const pod = (await world.list(PodKind, 'default')).find(({ metadata }) => metadata.labels?.['vm.kubevirt.io/name'] === name);
  if (pod === undefined) throw new Error(`no pod of ${name}`);
  return pod;
};
/** What the answer to an eviction says. */
async function evict({ metadata: { namespace = '', name = '' } }: Pod): Promise<string> {
  const { status, body } = await world.client.raw({
    method: 'POST',
    path: `/api/v1/namespaces/${namespace}/pods/${name}/eviction`,
    body: { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } },
  });
  return `${status} ${(body as { message?: string }).message ?? ''}`;
}
const WEBHOOK = 'admission webhook "virt-launcher-eviction-interceptor.kubevirt.io" denied the request: ';
const drain = (name: string): Promise<unknown> =>
  world.client.patch(
    NodeKind,
    { namespace: '', name },
    { spec: { taints: [{ key: 'kubevirt.io/drain', effect: 'NoSchedule' }] } },
    { type: 'merge' },
  );

describe('eviction of a launcher pod', () => {
  it('moves the guest, and says so until it has moved', async () => {
    await start({ web: 'LiveMigrate' });
    agents.migrations = 'copies';
    const pod = await podOf('web');
    expect(await evict(pod)).toBe(`429 ${WEBHOOK}Eviction triggered evacuation of VMI "default/web"`);
    await world.settle();
    expect(await evict(pod)).toBe(`429 ${WEBHOOK}Evacuation in progress: Eviction triggered evacuation of VMI "default/web"`);
    const asked = await instance('web');
    expect(asked.status?.evacuationNodeName).toBe('node-a');
    expect(asked.status?.conditions).toContainEqual(expect.objectContaining({ type: 'EvictionRequested', status: 'True' }));
    const [job, ...others] = await jobs();
    expect(others).toEqual([]);
    expect(job?.metadata.name).toMatch(/^kubevirt-evacuation-/);
    expect(job?.metadata.annotations).toEqual({ 'kubevirt.io/evacuationMigration': 'node-a' });
    expect(job?.spec.priority).toBe('system-critical');
    const target = (await world.list(PodKind, 'default')).find(({ spec }) => spec?.nodeName === 'node-b');
    expect(target && (await evict(target))).toBe(`429 ${WEBHOOK}Eviction request for target Pod`);
  });

  it('is over when the guest is elsewhere', async () => {
    await start({ web: 'LiveMigrate' });
    await evict(await podOf('web'));
    await world.settle();
    const moved = await instance('web');
    expect(moved.status).toMatchObject({ phase: 'Running', nodeName: 'node-b' });
    expect(moved.status?.evacuationNodeName).toBeUndefined();
    expect(moved.status?.conditions?.some(({ type }) => type === 'EvictionRequested')).toBe(false);
    expect((await world.list(PodKind, 'default')).map(({ spec }) => spec?.nodeName)).toEqual(['node-b']);
  });

  it('is an eviction like others without a strategy', async () => {
    await start({ web: 'None' });
    expect(await evict(await podOf('web'))).toBe('201 ');
    await world.settle();
    expect(await jobs()).toEqual([]);
  });

  it('only marks what somebody else moves', async () => {
    await start({ web: 'External' });
    expect(await evict(await podOf('web'))).toContain('Eviction triggered evacuation');
    await world.settle();
    expect((await instance('web')).status?.evacuationNodeName).toBe('node-a');
    expect(await jobs()).toEqual([]);
  });

  it.each([
    ['LiveMigrate', `429 ${WEBHOOK}VMI web is configured with an eviction strategy but is not live-migratable`],
    ['LiveMigrateIfPossible', '201 '],
  ])('of a guest that cannot move (%s)', async (strategy, answer) => {
    await start({ web: strategy });
    const conditions = [{ type: 'LiveMigratable', status: 'False', reason: 'HostDeviceNotLiveMigratable', message: 'tied' }];
    const key = { namespace: 'default', name: 'web' };
    await world.client.patch(VirtualMachineInstanceKind, key, { status: { conditions } }, { type: 'merge' });
    await world.settle();
    expect(await evict(await podOf('web'))).toBe(answer);
  });
});

describe('a node that is drained', () => {
  it('loses its guests, a few at a time', async () => {
    await start({ a: 'LiveMigrate', b: 'LiveMigrateIfPossible', c: 'LiveMigrate', d: 'None' });
    agents.migrations = 'copies';
    await drain('node-a');
    await world.settle();
    expect((await jobs()).map(({ spec }) => spec.vmiName ?? '').toSorted((a, b) => (a < b ? -1 : 1))).toEqual(['a', 'b']);
    agents.migrations = 'moves';
    for (const name of ['a', 'b', 'c'])
      await world.client.patch(
        VirtualMachineInstanceKind,
        { namespace: 'default', name },
        { metadata: { annotations: { wake: 'up' } } },
        { type: 'merge' },
      );
    await world.settle();
    await world.advance(5_000);
    const nodes = await Promise.all(['a', 'b', 'c', 'd'].map(async (name) => (await instance(name)).status?.nodeName));
    expect(nodes).toEqual(['node-b', 'node-b', 'node-b', 'node-a']);
  });

  it('waits longer and longer for a guest whose migrations fail', async () => {
    await start({ web: 'LiveMigrate' });
    agents.migrations = 'fails';
    await drain('node-a');
    await world.settle();
    expect(await jobs()).toHaveLength(1);
    expect((await instance('web')).status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'Synchronized', status: 'False', reason: 'MigrationBackoff' }),
    );
    await world.advance(19_000);
    expect(await jobs()).toHaveLength(1);
    await world.advance(1_000);
    expect(await jobs()).toHaveLength(2);
    await world.advance(39_000);
    expect(await jobs()).toHaveLength(2);
    agents.migrations = 'moves';
    await world.advance(1_000);
    expect(await jobs()).toHaveLength(3);
    const moved = await instance('web');
    expect(moved.status?.nodeName).toBe('node-b');
    expect(moved.status?.conditions?.some(({ reason }) => reason === 'MigrationBackoff')).toBe(false);
  });
});
