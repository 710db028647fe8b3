import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { detachedInterfaces, withoutInterfaces } from './interface-plan.ts';
import { liveInterfaces, withoutPluggableInterfaces } from './live-interfaces.ts';
import { liveSizes } from './live-sizes.ts';
import { liveVolumes, withoutPluggableVolumes } from './live-volumes.ts';
import { templateChange } from '../virtual-machine/restart-required.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

const spec = (devices: kubevirt.Devices = {}, rest: Partial<Spec> = {}): Spec => ({ domain: { devices }, ...rest });
const plug = (name: string): kubevirt.Volume => ({ name, dataVolume: { name, hotpluggable: true } });
const fixed = (name: string): kubevirt.Volume => ({ name, dataVolume: { name } });

describe('liveVolumes', () => {
  const root = { name: 'root', disk: { bus: 'virtio' as const } };
  const running = spec({ disks: [root] }, { volumes: [fixed('root')] });

  it('adds hotpluggable volumes with their disks, on the SCSI bus unless another is named', () => {
    const template = spec(
      { disks: [root, { name: 'a', serial: 'A' }, { name: 'b', disk: { bus: 'virtio' } }] },
      { volumes: [fixed('root'), plug('a'), plug('b'), plug('c')] },
    );
    expect(liveVolumes(template, running)).toEqual({
      volumes: [fixed('root'), plug('a'), plug('b'), plug('c')],
      disks: [
        root,
        { name: 'a', serial: 'A', disk: { bus: 'scsi' } },
        { name: 'b', disk: { bus: 'virtio' } },
        { name: 'c', disk: { bus: 'scsi' } },
      ],
    });
  });

  it('takes away what the template has no more, and keeps what is permanent', () => {
    const plugged = spec({ disks: [root, { name: 'a', disk: { bus: 'scsi' } }] }, { volumes: [fixed('root'), plug('a')] });
    expect(liveVolumes(spec({ disks: [] }, { volumes: [] }), plugged)).toEqual({ volumes: [fixed('root')], disks: [root] });
  });

  it('says nothing when nothing differs, also when only the order does', () => {
    const plugged = spec(
      { disks: [root, { name: 'a', disk: { bus: 'scsi' } }, { name: 'b', disk: { bus: 'scsi' } }] },
      { volumes: [fixed('root'), plug('a'), plug('b')] },
    );
    const template = spec({ disks: [{ name: 'b' }, { name: 'a' }, root] }, { volumes: [plug('b'), fixed('root'), plug('a')] });
    expect(liveVolumes(template, plugged)).toBeUndefined();
  });

  it('leaves only what a restart is needed for', () => {
    const template = spec({ disks: [root, { name: 'a' }] }, { volumes: [fixed('root'), plug('a')] });
    expect(withoutPluggableVolumes(template)).toEqual(spec({ disks: [root] }, { volumes: [fixed('root')] }));
  });
});

describe('liveInterfaces', () => {
  const lab = { name: 'blue', multus: { networkName: 'lab' } };
  const pod = { name: 'default', pod: {} };
  const primary: kubevirt.Interface = { name: 'default', masquerade: {}, macAddress: '02:00:00:00:00:01' };
  const blue: kubevirt.Interface = { name: 'blue', bridge: {} };
  const of = (interfaces: kubevirt.Interface[], networks: kubevirt.Network[]): Spec => spec({ interfaces }, { networks });
  const started = of([primary], [pod]);

  it('adds a second interface with an address that stays', () => {
    const update = liveInterfaces(of([primary, blue], [pod, lab]), started, started, 'vm-uid');
    expect(update?.interfaces.map(({ name, macAddress }) => [name, macAddress])).toEqual([
      ['default', '02:00:00:00:00:01'],
      ['blue', expect.stringMatching(/^02(:[\da-f]{2}){5}$/)],
    ]);
    expect(update?.networks).toEqual([pod, lab]);
    expect(liveInterfaces(of([primary, blue], [pod, lab]), started, started, 'vm-uid')).toEqual(update);
  });

  it('takes states over, and asks one to go that the template has no more', () => {
    const running = of([primary, { ...blue, macAddress: '02:00:00:00:00:02' }], [pod, lab]);
    const states = (template: Spec): (string | undefined)[] | undefined =>
      liveInterfaces(template, started, running, 'u')?.interfaces.map(({ state }) => state);
    expect(states(of([primary, { ...blue, state: 'down' }], [pod, lab]))).toEqual([undefined, 'down']);
    expect(states(of([primary, { ...blue, state: 'absent' }], [pod, lab]))).toEqual([undefined, 'absent']);
    expect(states(of([primary], [pod]))).toEqual([undefined, 'absent']);
    expect(states(of([primary, blue], [pod, lab]))).toBeUndefined();
  });

  it('puts another definition behind a bridged second network, and asks for no restart', () => {
    const running = of([primary, blue], [pod, lab]);
    const other = of([primary, blue], [pod, { name: 'blue', multus: { networkName: 'other' } }]);
    expect(liveInterfaces(other, running, running, 'u')).toMatchObject({ networks: [pod, { multus: { networkName: 'other' } }] });
    expect(withoutPluggableInterfaces(other, running, running)).toEqual(withoutPluggableInterfaces(running, running, running));
    const device = (networkName: string) =>
      of([primary, { name: 'blue', sriov: {} }], [pod, { name: 'blue', multus: { networkName } }]);
    expect(liveInterfaces(device('other'), device('lab'), device('lab'), 'u')).toBeUndefined();
    const plain = (spec: Spec) => withoutPluggableInterfaces(spec, device('lab'), device('lab'));
    expect(plain(device('other'))).not.toEqual(plain(device('lab')));
  });

  it('does not bring back one that was asked to go', () => {
    expect(liveInterfaces(of([primary, { ...blue, state: 'absent' }], [pod, lab]), started, started, 'u')).toBeUndefined();
  });

  it('is no reason for a restart, but a change of the pod network is', () => {
    const plain = (template: Spec): Spec => withoutPluggableInterfaces(template, started, started);
    expect(plain(of([primary, blue], [pod, lab]))).toEqual(plain(started));
    expect(plain(of([{ ...primary, model: 'e1000' }], [pod]))).not.toEqual(plain(started));
  });

  it('drops an interface from the instance once it is gone from the guest', () => {
    const vmi = (names: string[]): VirtualMachineInstance => ({
      apiVersion: 'kubevirt.io/v1',
      kind: 'VirtualMachineInstance',
      metadata: {},
      spec: of([primary, { ...blue, state: 'absent' }], [pod, lab]),
      status: { phase: 'Running', interfaces: names.map((name) => ({ name })) },
    });
    expect(detachedInterfaces(vmi(['default', 'blue']))).toEqual([]);
    expect(detachedInterfaces(vmi(['default']))).toEqual(['blue']);
    expect(withoutInterfaces(vmi([]), ['blue'])).toEqual({ networks: [pod], domain: { devices: { interfaces: [primary] } } });
  });
});

describe('liveSizes', () => {
  const running = (parts: Partial<kubevirt.DomainSpec> = {}, conditions: object[] = []): VirtualMachineInstance => ({
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: {},
    spec: {
      architecture: 'amd64',
      domain: {
        devices: {},
        cpu: { sockets: 2, cores: 2, threads: 1, maxSockets: 4 },
        memory: { guest: '2Gi', maxGuest: '8Gi' },
        ...parts,
      },
    },
    status: { memory: { guestAtBoot: '1Gi' }, conditions: conditions as kubevirt.VirtualMachineInstanceCondition[] },
  });
  const sockets = (count: number): Spec => ({ domain: { devices: {}, cpu: { sockets: count, cores: 2 } } });
  const guest = (size: string): Spec => ({ domain: { devices: {}, memory: { guest: size } } });

  it.each([
    [sockets(2), undefined],
    [sockets(5), "CPU sockets updated in template spec to a value higher than what's available"],
    [sockets(1), 'Reduction of CPU socket count requires a restart'],
    [guest('2048Mi'), undefined],
    [guest('512Mi'), 'memory updated in template spec. The new guest memory is less than the guest booted with, 1Gi'],
    [guest('16Gi'), 'memory updated in template spec. Guest memory is greater than the configured maxGuest memory'],
    [guest('2000000001'), 'memory updated in template spec. Guest memory must be 2Mi aligned'],
  ])('%j', (template, restartReason) => {
    expect(liveSizes(template, running(), 10)).toEqual({ restartReason, domain: undefined, failure: undefined });
  });

  it('grows what the instance asks for with what it gets', () => {
    const vmi = running({ resources: { requests: { cpu: '400m', memory: '2Gi' }, limits: { cpu: '4', memory: '3Gi' } } });
    expect(liveSizes(sockets(3), vmi, 10).domain).toEqual({
      cpu: { sockets: 3 },
      resources: { requests: { cpu: '600m' }, limits: { cpu: '6000m' } },
    });
    expect(liveSizes(guest('3Gi'), vmi, 10).domain).toMatchObject({
      memory: { guest: '3Gi' },
      resources: { requests: { memory: String(3 * 1024 ** 3) }, limits: { memory: String(4 * 1024 ** 3) } },
    });
  });

  it('asks for a restart where plugging is impossible or has failed', () => {
    const failed = running({}, [{ type: 'HotMemoryChange', status: 'False' }]);
    expect(liveSizes(guest('4Gi'), failed, 10).restartReason).toMatch(/failed/);
    expect(liveSizes(guest('4Gi'), running({ memory: { guest: '2Gi' } }), 10).restartReason).toMatch(/not available/);
    const arm: VirtualMachineInstance = { ...running(), spec: { ...running().spec, architecture: 'arm64' } };
    expect(liveSizes(sockets(3), arm, 10).restartReason).toBe("ARM doesn't support CPU hotplug");
  });

  it('waits for a change that is under way, and for a migration', () => {
    const changing = (type: string) => running({}, [{ type, status: 'True' }]);
    const failure = (template: Spec, vmi: VirtualMachineInstance) => {
      const change = liveSizes(template, vmi, 10);
      expect([change.domain, change.restartReason]).toEqual([undefined, undefined]);
      return change.failure;
    };
    const cpu = 'HotPlugCPUError';
    const memory = 'HotPlugMemoryError';
    expect(failure(sockets(3), changing('HotVCPUChange'))).toEqual({
      reason: cpu,
      message: 'another CPU hotplug is in progress',
    });
    expect(failure(guest('3Gi'), changing('HotMemoryChange'))?.reason).toBe(memory);
    expect(failure(guest('3Gi'), migrating(running()))?.reason).toBe(memory);
    expect(failure(sockets(2), migrating(running()))).toBeUndefined();
    const arrived = migrating(running(), { completed: true });
    expect(liveSizes(sockets(3), arrived, 10).failure).toBeUndefined();
  });
});

const migrating = (vmi: VirtualMachineInstance, state: object = {}): VirtualMachineInstance => ({
  ...vmi,
  status: { ...vmi.status, migrationState: { migrationUid: 'm', ...state } },
});

describe('templateChange while the guest moves to another node', () => {
  const started = spec({ disks: [] }, { volumes: [] });
  const vmi: VirtualMachineInstance = {
    ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', metadata: {}, spec: started },
    status: { phase: 'Running' },
  };
  const of = (template: Spec): VirtualMachine['spec'] => ({ runStrategy: 'Always', template: { spec: template } });
  const change = (current: Spec, instance: VirtualMachineInstance) =>
    templateChange({
      ...{ started: of(started), current: of(current), vmi: instance, vmUid: 'u', cpuAllocationRatio: 10 },
      ...{ rolloutStrategy: 'LiveUpdate', volumesFollow: 'template' },
    });
  const lab = spec(
    { disks: [], interfaces: [{ name: 'blue', bridge: {} }] },
    { volumes: [], networks: [{ name: 'blue', multus: { networkName: 'lab' } }] },
  );

  it.each([
    ['HotPlugVolumeError', spec({ disks: [] }, { volumes: [plug('a')] })],
    ['HotPlugNetworkInterfaceError', lab],
    ['AffinityChangeError', { ...started, nodeSelector: { disk: 'fast' } }],
    ['TolerationsChangeError', { ...started, tolerations: [{ key: 'x', operator: 'Exists' }] }],
  ])('%s until it has arrived', (reason, template) => {
    expect(change(template, migrating(vmi))).toMatchObject({ liveUpdate: undefined, failure: { reason } });
    const message = change(template, migrating(vmi)).failure?.message;
    expect(message).toContain('not allowed while VMI is migrating');
    expect(change(template, migrating(vmi, { failed: true })).failure).toBeUndefined();
    expect(change(template, vmi).liveUpdate).toBeDefined();
  });

  it('says nothing when nothing differs', () => {
    expect(change(started, migrating(vmi))).toEqual({ restartReason: undefined, failure: undefined, liveUpdate: undefined });
  });
});
