import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { podInterfaceName } from '@slipway/virt';
import { describe, expect, it } from 'vitest';
import type { LiveDomain } from './live-domain.ts';
import { Patience } from './patience.ts';
import { concernsInterfaces, planInterfaceSteps } from './plan-interfaces.ts';
import { concernsMemory, concernsVcpus, memoryGoal, vcpuGoal } from './plan-sizes.ts';
import { planVolumes } from './plan-volumes.ts';

const NODE = { name: '', attributes: {}, children: [], text: '' };
const NOTHING: LiveDomain = {
  ...{ disks: [], interfaces: [], hostDevices: [], memory: [], ioThreads: [] },
  vcpus: { current: 1, maximum: 4 },
};
const withDisk = (name: string, target: string): LiveDomain => ({
  ...NOTHING,
  disks: [{ name, target, alias: `ua-${name}`, bus: 'scsi', source: '/x', ioThread: undefined, element: NODE }],
});
const withNic = (name: string, linkState: 'up' | 'down' = 'up'): LiveDomain => ({
  ...NOTHING,
  interfaces: [{ name, alias: `ua-${name}`, mac: '02:00:00:00:00:02', tap: 'tap1', linkState, element: NODE }],
});

interface Parts {
  readonly domain?: Partial<kubevirt.DomainSpec>;
  readonly volumes?: kubevirt.Volume[];
  readonly networks?: kubevirt.Network[];
  readonly status?: kubevirt.VirtualMachineInstanceStatus;
}

const instance = ({ domain, volumes = [], networks = [], status }: Parts): VirtualMachineInstance => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachineInstance',
  metadata: { name: 'web', namespace: 'default' },
  spec: { domain: { devices: {}, ...domain }, volumes, networks },
  status: { phase: 'Running', ...status },
});

describe('planVolumes', () => {
  const volumes = [{ name: 'data', dataVolume: { name: 'dv', hotpluggable: true } }];
  const status = (phase: string, target = ''): kubevirt.VirtualMachineInstanceStatus => ({
    volumeStatus: [
      {
        ...{ name: 'data', target, phase },
        hotplugVolume: { attachPodName: 'hp' },
        persistentVolumeClaimInfo: { claimName: 'dv' },
      },
      { name: 'root', target: 'vda' },
    ],
  });
  const given = (phase: string, live: LiveDomain, isWanted = true, target = '') =>
    planVolumes(instance({ volumes: isWanted ? volumes : [], status: status(phase, target) }), live).map(({ action }) => action);

  it.each([
    ['Pending', NOTHING, true, []],
    ['Bound', NOTHING, true, []],
    ['AttachedToNode', NOTHING, true, ['attach']],
    ['MountedToPod', NOTHING, true, ['attach']],
    ['AttachedToNode', withDisk('data', 'sda'), true, ['report']], // an agent that died after it had attached
    ['Ready', NOTHING, true, ['attach']], // somebody detached it behind our back
    ['Detaching', withDisk('data', 'sda'), false, ['detach']],
    ['Detaching', NOTHING, false, ['release']],
    ['UnMountedFromPod', NOTHING, false, []],
    ['AttachedToNode', NOTHING, false, []], // the controller turns this into Detaching first
  ] as const)('in phase %s', (phase, live, isWanted, actions) => {
    expect(given(phase, live, isWanted)).toEqual(actions);
  });

  it.each([
    ['AttachedToNode', undefined, true, ['insert']],
    ['AttachedToNode', '/iso', true, ['report']],
    ['Detaching', '/iso', false, ['eject']],
    ['Detaching', undefined, false, ['release']],
  ] as const)('a drive in phase %s with disc %s', (phase, source, isWanted, actions) => {
    const drive = withDisk('data', 'sda').disks.map((disk) => ({ ...disk, source }));
    const vmi = instance({
      domain: { devices: { disks: [{ name: 'data', cdrom: { bus: 'sata' } }] } },
      volumes: isWanted ? volumes : [],
      status: status(phase),
    });
    expect(planVolumes(vmi, { ...NOTHING, disks: drive }).map(({ action }) => action)).toEqual(actions);
  });

  it('leaves a ready disk alone, and reports another target', () => {
    expect(given('Ready', withDisk('data', 'sda'), true, 'sda')).toEqual([]);
    expect(given('Ready', withDisk('data', 'sdb'), true, 'sda')).toEqual(['report']);
  });

  it('does nothing before the guest runs', () => {
    const vmi = instance({ volumes, status: { ...status('AttachedToNode'), phase: 'Scheduled' } });
    expect(planVolumes(vmi, NOTHING)).toEqual([]);
  });
});

describe('an interface whose network is another one now', () => {
  const vmi = (networkName: string): VirtualMachineInstance =>
    ({
      metadata: { namespace: 'lab' },
      spec: {
        networks: [{ name: 'blue', multus: { networkName } }],
        domain: { devices: { interfaces: [{ name: 'blue', bridge: {} }] } },
      },
      status: { phase: 'Running', interfaces: [{ name: 'blue', linkState: 'up' }] },
    }) as VirtualMachineInstance; // only networks matter
  const attached = new Map([[podInterfaceName('blue'), 'lab/old']]);

  it.each([
    ['old', []],
    ['lab/old', []],
    ['new', ['rejoin']],
    ['default/old', ['rejoin']],
  ])('is joined to %s', (networkName, actions) => {
    expect(planInterfaceSteps(vmi(networkName), withNic('blue'), attached).map(({ action }) => action)).toEqual(actions);
    expect(concernsInterfaces(vmi(networkName), attached)).toBe(actions.length > 0);
    expect(planInterfaceSteps(vmi(networkName), withNic('blue'))).toEqual([]);
  });
});

describe('planInterfaceSteps', () => {
  const networks = [
    { name: 'default', pod: {} },
    { name: 'blue', multus: { networkName: 'lab' } },
  ];
  const vmi = (nic: Partial<kubevirt.Interface>, known?: { linkState: string }) =>
    instance({
      networks,
      domain: { devices: { interfaces: [{ name: 'blue', bridge: {}, ...nic }] } },
      status: { interfaces: known === undefined ? [] : [{ name: 'blue', ...known }] },
    });

  it.each([
    ['a new one is attached', vmi({}), NOTHING, ['attach']],
    ['one that is there is left alone', vmi({}, { linkState: 'up' }), withNic('blue'), []],
    ['one that an earlier agent attached is reported', vmi({}), withNic('blue'), ['report']],
    ['an absent one is detached', vmi({ state: 'absent' }, { linkState: 'up' }), withNic('blue'), ['detach']],
    ['and released', vmi({ state: 'absent' }, { linkState: 'up' }), NOTHING, ['release']],
    ['and is done', vmi({ state: 'absent' }), NOTHING, []],
    ['its link goes down', vmi({ state: 'down' }, { linkState: 'up' }), withNic('blue'), ['link']],
    ['its link goes up', vmi({ state: 'up' }, { linkState: 'down' }), withNic('blue', 'down'), ['link']],
    [
      'a link that was down at boot is reported',
      vmi({ state: 'down' }, { linkState: 'up' }),
      withNic('blue', 'down'),
      ['report'],
    ],
  ] as const)('%s', (_, object, live, actions) => {
    expect(planInterfaceSteps(object, live).map(({ action }) => action)).toEqual(actions);
    expect(concernsInterfaces(object)).toBe(actions.length > 0);
  });

  it('never takes the pod network away', () => {
    const primary = instance({
      networks,
      domain: { devices: { interfaces: [{ name: 'default', masquerade: {}, state: 'absent' }] } },
      status: { interfaces: [{ name: 'default' }] },
    });
    expect([planInterfaceSteps(primary, withNic('default')), concernsInterfaces(primary)]).toEqual([[], false]);
  });

  it('refuses to plug a device of the host, and to take one away that was there at the start', () => {
    const device = (state?: 'absent', known: string[] = []) =>
      instance({
        networks,
        domain: { devices: { interfaces: [{ name: 'blue', sriov: {}, ...(state && { state }) }] } },
        status: { interfaces: known.map((name) => ({ name })) },
      });
    const there: LiveDomain = { ...NOTHING, hostDevices: ['ua-sriov-blue'] };
    expect(planInterfaceSteps(device(), NOTHING)).toEqual([
      { action: 'refuse', name: 'blue', why: expect.stringContaining('cannot be given to a running guest') },
    ]);
    expect(planInterfaceSteps(device('absent', ['blue']), there)).toMatchObject([{ why: expect.stringContaining('taken from') }]);
    expect([planInterfaceSteps(device(), there), planInterfaceSteps(device('absent'), NOTHING)]).toEqual([[], []]);
    const asked = [device(), device('absent', ['blue']), device(undefined, ['blue'])];
    expect(asked.map((vmi) => concernsInterfaces(vmi))).toEqual([true, true, false]);
  });
});

describe('sizes', () => {
  const sized = (sockets: number, guest: string, status: kubevirt.VirtualMachineInstanceStatus = {}) =>
    instance({
      domain: { cpu: { sockets, cores: 2, threads: 1 }, memory: { guest, maxGuest: '4Gi' } },
      status: {
        currentCPUTopology: { sockets: 1, cores: 2, threads: 1 },
        memory: { guestAtBoot: '1Gi', guestCurrent: '1Gi', guestRequested: '1Gi' },
        ...status,
      },
    });

  it('are left alone while spec and status agree', () => {
    expect([concernsVcpus(sized(1, '1Gi')), concernsMemory(sized(1, '1024Mi'))]).toEqual([false, false]);
  });

  it('follow the spec', () => {
    const vmi = sized(3, '1536Mi');
    expect([concernsVcpus(vmi), concernsMemory(vmi)]).toEqual([true, true]);
    expect(vcpuGoal(vmi, NOTHING)).toMatchObject({ wanted: 6, current: 1 });
    expect(memoryGoal(vmi, NOTHING)).toMatchObject({
      ...{ wantedBytes: 512 * 1024 ** 2, deviceBytes: 3 * 1024 ** 3, requestedBytes: undefined, currentBytes: 0 },
    });
  });

  it('do not try again what the guest refused, until it is taken back', () => {
    const conditions = [{ type: 'HotMemoryChange', status: 'False' }];
    expect(concernsMemory(sized(1, '2Gi', { conditions }))).toBe(false);
    expect(concernsMemory(sized(1, '1Gi', { conditions }))).toBe(true); // clears the condition
  });
});

describe('Patience', () => {
  it('asks ever more seldom, and tells after a while or when the guest refuses', () => {
    let now = 0;
    const patience = new Patience(() => now);
    expect([patience.isDue('a'), patience.nextInMs()]).toEqual([true, undefined]);
    patience.asked('a', 'ua-a');
    expect([patience.isDue('a'), patience.nextInMs(), patience.verdict('a')]).toEqual([false, 5_000, undefined]);
    now = 5_000;
    patience.asked('a', 'ua-a');
    expect(patience.nextInMs()).toBe(10_000);
    now = 20_000;
    expect(patience.verdict('a')).toBe('timed-out');
    patience.refused('ua-a');
    expect(patience.verdict('a')).toBe('refused');
    patience.keep([]);
    expect([patience.verdict('a'), patience.isDue('a')]).toEqual([undefined, true]);
  });
});
