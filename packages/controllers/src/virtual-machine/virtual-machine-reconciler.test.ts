import { DataVolumeKind, type kubevirt, VirtualMachineInstanceKind, VirtualMachineKind } from '@slipway/api';
import { setPhase, simulatedNode, type TestWorld, testWorld, vm } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { virtualMachineInstanceController } from '../virtual-machine-instance/index.ts';
import { virtualMachineController } from './index.ts';

const KEY = 'default/web';
const node = simulatedNode();
let world: TestWorld;

async function start(spec: Partial<kubevirt.VirtualMachineSpec>, fate = node.fate): Promise<void> {
  node.fate = fate;
  world = await testWorld({
    api: 'server',
    controllers: [
      virtualMachineController(() => ({
        renderInstance: async (object) => ({
          apiVersion: 'kubevirt.io/v1',
          kind: 'VirtualMachineInstance',
          metadata: { name: object.metadata.name ?? '', finalizers: ['kubevirt.io/foregroundDeleteVirtualMachine'] },
          spec: { domain: { devices: {} }, ...object.spec.template.spec },
          status: { phase: 'Pending', phaseTransitionTimestamps: [{ phase: 'Pending' }] },
        }),
        rolloutStrategy: () => 'LiveUpdate',
      })),
      virtualMachineInstanceController(() => (vmi) => ({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: {
          namespace: vmi.metadata.namespace ?? '',
          labels: { 'kubevirt.io': 'virt-launcher' },
          ownerReferences: [
            {
              apiVersion: 'kubevirt.io/v1',
              kind: 'VirtualMachineInstance',
              name: 'web',
              uid: vmi.metadata.uid ?? '',
              controller: true,
            },
          ],
        },
        spec: { containers: [{ name: 'compute', image: 'slipway/virt-launcher' }] },
      })),
      node.registration,
    ],
  }).with(machineOf(spec));
  await world.settle();
}

/** The builder's default run strategy may not meet `running`. */
function machineOf(spec: Partial<kubevirt.VirtualMachineSpec>) {
  const built = vm(KEY, { spec });
  if (spec.running !== undefined) delete built.object.spec.runStrategy;
  return built;
}

afterEach(async () => {
  node.fate = 'runs';
  await world.close();
});

const machine = () => world.get(VirtualMachineKind, KEY);
const instance = () => world.get(VirtualMachineInstanceKind, KEY);
const printable = async (): Promise<string | undefined> => (await machine()).status?.printableStatus;
const request = async (requests: (uid: string) => kubevirt.VirtualMachineStateChangeRequest[]): Promise<void> => {
  const current = await machine();
  const uid = (await world.exists(VirtualMachineInstanceKind, KEY)) ? ((await instance()).metadata.uid ?? '') : '';
  await world.client.update(
    VirtualMachineKind,
    { ...current, status: { ...current.status, stateChangeRequests: requests(uid) } },
    { subresource: 'status' },
  );
  await world.settle();
};
const patch = async (spec: object): Promise<void> => {
  await world.client.patch(VirtualMachineKind, { namespace: 'default', name: 'web' }, { spec }, { type: 'merge' });
  await world.settle();
};

describe('start', () => {
  it('takes an Always VM to Running with few writes', async () => {
    await start({ runStrategy: 'Always' });
    expect((await machine()).status).toMatchObject({
      printableStatus: 'Running',
      created: true,
      ready: true,
      runStrategy: 'Always',
    });
    expect((await machine()).metadata.finalizers).toContain('kubevirt.io/virtualMachineControllerFinalize');
    expect((await instance()).status?.phaseTransitionTimestamps?.map((entry) => entry.phase)).toEqual([
      'Pending',
      'Scheduling',
      'Scheduled',
      'Running',
    ]);
    const updatesOfTheInstance = world.requests.filter((entry) => /^(update|patch) virtualmachineinstances/.test(entry));
    expect(updatesOfTheInstance).toHaveLength(2); // hand-over by the controller, Running by the node
    expect(world.requests.filter((entry) => entry.startsWith('create pods '))).toHaveLength(1);
    expect(world.requests.filter((entry) => entry.startsWith('create virtualmachineinstances'))).toHaveLength(1);
    expect(world.requests.filter((entry) => /virtualmachines/.test(entry)).length).toBeLessThanOrEqual(5);
  });

  it('records what the instance was started from', async () => {
    await start({ running: true });
    const name = (await instance()).status?.virtualMachineRevisionName;
    expect(name).toMatch(/^revision-start-vm-.+-1$/);
    expect(world.requests).toContain(`create controllerrevisions ${name}`);
  });

  it('leaves Halted and Manual VMs alone until somebody asks', async () => {
    await start({ runStrategy: 'Manual' });
    expect(await printable()).toBe('Stopped');
    await request(() => [{ action: 'Start', data: { paused: 'true' } }]);
    expect(await printable()).toBe('Running');
    expect((await instance()).spec.startStrategy).toBe('Paused');
    expect((await machine()).status?.stateChangeRequests).toBeUndefined();
  });

  it('lets the receiver of a migration wait, and go', async () => {
    await start({ runStrategy: 'WaitAsReceiver' });
    expect(await printable()).toBe('WaitingForReceiver');
    expect((await instance()).status?.phase).toBe('WaitingForSync');
    expect(world.requests.filter((entry) => entry.startsWith('create pods '))).toEqual([]);
    await patch({ runStrategy: 'Halted' });
    expect(await printable()).toBe('Stopped');
    expect(await world.exists(VirtualMachineInstanceKind, KEY)).toBe(false);
  });

  it('turns a halted VM on for a paused start', async () => {
    await start({ running: false });
    await request(() => [{ action: 'Start', data: { paused: 'true' } }]);
    expect((await machine()).spec.running).toBe(true);
    expect((await instance()).spec.startStrategy).toBe('Paused');
  });
});

describe('stop', () => {
  it('halting deletes the instance and everything it had', async () => {
    await start({ runStrategy: 'Always' });
    await patch({ runStrategy: 'Halted' });
    expect(await printable()).toBe('Stopped');
    expect(await world.exists(VirtualMachineInstanceKind, KEY)).toBe(false);
    expect((await machine()).status).not.toHaveProperty('created');
    expect(await world.events(vm(KEY))).toEqual([
      'Normal SuccessfulCreate Started the virtual machine by creating the new virtual machine instance web',
      expect.stringMatching(
        /^Normal SuccessfulDelete Stopped the virtual machine by deleting the virtual machine instance [\w-]+$/,
      ),
    ]);
  });

  it('a restart request makes a second instance', async () => {
    await start({ runStrategy: 'Manual' });
    await request(() => [{ action: 'Start' }]);
    const first = (await instance()).metadata.uid;
    await request((uid) => [{ action: 'Stop', uid }, { action: 'Start' }]);
    expect((await instance()).metadata.uid).not.toBe(first);
    expect(await printable()).toBe('Running');
    expect((await machine()).status?.stateChangeRequests).toBeUndefined();
  });

  it('deletion of the VM takes the instance along and lets go of the finalizer', async () => {
    await start({ runStrategy: 'Always' });
    await world.client.delete(VirtualMachineKind, { namespace: 'default', name: 'web' });
    await world.settle();
    expect(await world.exists(VirtualMachineKind, KEY)).toBe(false);
    expect(await world.exists(VirtualMachineInstanceKind, KEY)).toBe(false);
  });
});

describe('a guest that ends', () => {
  it.each([
    ['Always', 'Succeeded', 'Running', true],
    ['Always', 'Failed', 'Running', true],
    ['RerunOnFailure', 'Failed', 'Running', true],
    ['RerunOnFailure', 'Succeeded', 'Stopped', false],
    ['Once', 'Succeeded', 'Stopped', true],
  ] as const)('%s, %s: %s', async (runStrategy, phase, expected, exists) => {
    await start({ runStrategy });
    const before = (await instance()).metadata.uid;
    await setPhase(world.client, await instance(), phase);
    await world.settle();
    expect(await printable()).toBe(expected);
    expect(await world.exists(VirtualMachineInstanceKind, KEY)).toBe(exists);
    const now = exists ? (await instance()).metadata.uid : undefined;
    expect(now === before).toBe(runStrategy === 'Once');
  });
});

describe('a start that fails', () => {
  it('is repeated after a growing pause', async () => {
    await start({ runStrategy: 'Always' }, 'fails');
    expect(await printable()).toBe('CrashLoopBackOff');
    expect((await machine()).status?.startFailure?.consecutiveFailCount).toBe(1);
    await world.advance(9_000);
    expect((await machine()).status?.startFailure?.consecutiveFailCount).toBe(1);
    await world.advance(6_000);
    expect((await machine()).status?.startFailure?.consecutiveFailCount).toBe(2);
    node.fate = 'runs';
    await world.advance(60_000);
    expect(await printable()).toBe('Running');
    expect((await machine()).status).not.toHaveProperty('startFailure');
  });

  it.each([
    ['image-pull', 'ImagePullBackOff'],
    ['unschedulable', 'ErrorUnschedulable'],
  ] as const)('%s is shown as %s', async (fate, expected) => {
    await start({ runStrategy: 'Always' }, fate);
    expect(await printable()).toBe(expected);
  });

  it('a stop before the guest runs cleans up', async () => {
    await start({ runStrategy: 'Always' }, 'stays-pending');
    expect(await printable()).toBe('Starting');
    await patch({ runStrategy: 'Halted' });
    expect(await printable()).toBe('Stopped');
    expect(await world.exists(VirtualMachineInstanceKind, KEY)).toBe(false);
  });
});

describe('a changed template', () => {
  const changeCores = { template: { spec: { domain: { cpu: { cores: 2 } } } } };

  it('asks for a restart and says why, until it is reverted or done', async () => {
    await start({ runStrategy: 'Always' });
    await patch(changeCores);
    const condition = async () => (await machine()).status?.conditions?.find(({ type }) => type === 'RestartRequired');
    expect((await condition())?.message).toContain('spec.template.spec.domain.cpu');
    expect((await machine()).status).toMatchObject({ observedGeneration: 1, desiredGeneration: 2 });
    await request((uid) => [{ action: 'Stop', uid }, { action: 'Start' }]);
    expect(await condition()).toBeUndefined();
    expect((await machine()).status).toMatchObject({ observedGeneration: 2, desiredGeneration: 2 });
  });

  it('takes placement over into the running instance', async () => {
    await start({ runStrategy: 'Always' });
    await patch({ template: { spec: { nodeSelector: { disk: 'ssd' } } } });
    expect((await instance()).spec.nodeSelector).toEqual({ disk: 'ssd' });
    expect((await machine()).status?.observedGeneration).toBe(2);
  });
});

describe('a disk from a template', () => {
  const template = { metadata: { name: 'web-root' }, apiVersion: '', kind: '', spec: { source: { blank: {} }, storage: {} } };
  const spec: Partial<kubevirt.VirtualMachineSpec> = {
    runStrategy: 'Always',
    dataVolumeTemplates: [template],
    template: { spec: { domain: { devices: {} }, volumes: [{ name: 'root', dataVolume: { name: 'web-root' } }] } },
  };
  const dataVolume = () => world.get(DataVolumeKind, 'default/web-root');
  const setPhase = async (phase: string): Promise<void> => {
    await world.client.update(DataVolumeKind, { ...(await dataVolume()), status: { phase } }, { subresource: 'status' });
    await world.settle();
  };

  it("belongs to the VM, and is the VM's status while it is filled", async () => {
    await start(spec);
    const { metadata } = await dataVolume();
    const uid = (await machine()).metadata.uid;
    expect(metadata.labels).toEqual({ 'kubevirt.io/created-by': uid });
    expect(metadata.ownerReferences).toEqual([
      { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', name: 'web', uid, controller: true, blockOwnerDeletion: true },
    ]);
    await setPhase('ImportInProgress');
    expect(await printable()).toBe('Provisioning');
    expect(await world.exists(VirtualMachineInstanceKind, KEY)).toBe(false);
    await setPhase('Succeeded');
    expect(await printable()).toBe('Running');
  });

  it.each(['RerunOnFailure', 'Once'] as const)(
    'is waited for by a VM with run strategy %s, which then starts',
    async (runStrategy) => {
      await start({ ...spec, runStrategy });
      await setPhase('ImportInProgress');
      await setPhase('Succeeded');
      expect(await printable()).toBe('Running');
    },
  );

  it('gets its first consumer from the launcher pod; the guest waits until it is filled', async () => {
    await start(spec);
    await setPhase('WaitForFirstConsumer');
    expect((await instance()).status?.phase).toBe('Pending');
    expect(world.requests.some((entry) => entry.startsWith('create pods'))).toBe(true);
    await setPhase('ImportInProgress');
    expect(await printable()).toBe('Provisioning');
    expect((await instance()).status?.conditions?.find(({ type }) => type === 'Provisioning')?.status).toBe('True');
    await setPhase('Succeeded');
    expect(await printable()).toBe('Running');
  });

  it('that fails is shown, and healed by a new one', async () => {
    await start(spec);
    await setPhase('Failed');
    expect(await printable()).toBe('DataVolumeError');
    expect(await world.events(vm(KEY))).toContain(
      'Warning FailedDataVolumeImport DataVolume web-root failed to import disk image',
    );
    await world.client.delete(DataVolumeKind, { namespace: 'default', name: 'web-root' });
    await world.settle();
    await setPhase('Succeeded');
    expect(await printable()).toBe('Running');
  });

  it('is not made from another namespace without a right to it', async () => {
    const source = { pvc: { name: 'golden', namespace: 'images' } };
    await start({ ...spec, dataVolumeTemplates: [{ ...template, spec: { source, storage: {} } }] });
    expect(await world.exists(DataVolumeKind, 'default/web-root')).toBe(false);
    const failure = (await machine()).status?.conditions?.find(({ type }) => type === 'Failure');
    expect(failure?.status).toBe('True');
  });
});
