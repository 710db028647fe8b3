import type { VirtualMachine } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { clusterConfig } from '../config.ts';
import { storedInstance } from '../testing.ts';
import { memoryHotplugObstacle } from './hotplug-limits.ts';
import { InstancetypeConflict, renderInstance } from './render-instance.ts';
import { firmwareUuid } from './stable-ids.ts';

describe('defaultInstance', () => {
  it('fills in what shapes the guest', () => {
    const { spec, status, metadata } = storedInstance({ volumes: [{ name: 'root', containerDisk: { image: 'example.org/a' } }] });
    expect(spec).toMatchObject({
      architecture: 'amd64',
      evictionStrategy: 'None',
      networks: [{ name: 'default', pod: {} }],
      volumes: [{ name: 'root', containerDisk: { imagePullPolicy: 'Always' } }],
      domain: {
        machine: { type: 'q35' },
        cpu: { model: 'host-model', sockets: 1, cores: 1, threads: 1, maxSockets: 4 },
        devices: { disks: [{ name: 'root', disk: { bus: 'sata' } }], interfaces: [{ name: 'default', bridge: {} }] },
        features: { acpi: { enabled: true } },
      },
    });
    expect(status?.runtimeUser).toBe(107);
    expect(metadata.finalizers).toEqual(['kubevirt.io/foregroundDeleteVirtualMachine']);
  });

  it.each([
    [undefined, 'bridge'],
    ['masquerade', 'masquerade'],
    ['slirp', 'masquerade'],
    ['telegraph', 'bridge'],
  ])('connects a guest by the default interface %s as %s', (defaultNetworkInterface, binding) => {
    const { spec } = storedInstance(
      {},
      clusterConfig({ network: { ...(defaultNetworkInterface && { defaultNetworkInterface }) } }),
    );
    expect(spec.domain.devices.interfaces).toMatchObject([{ name: 'default', [binding]: {} }]);
  });

  it.each([
    ['example.org/a:1', 'IfNotPresent'],
    ['example.org:5000/a', 'Always'],
    ['example.org/a:latest', 'Always'],
    ['example.org/a@sha256:00', 'IfNotPresent'],
  ])('pulls %s %s', (image, policy) => {
    const { spec } = storedInstance({ volumes: [{ name: 'root', containerDisk: { image } }] });
    expect(spec.volumes?.[0]?.containerDisk?.imagePullPolicy).toBe(policy);
  });

  it('take a timer that is named as there', () => {
    const { spec } = storedInstance({
      domain: { devices: {}, clock: { utc: {}, timer: { hpet: {}, pit: { present: false } } } },
    });
    expect(spec.domain.clock?.timer).toEqual({ hpet: { present: true }, pit: { present: false } });
  });

  it('switches on what Hyper-V flags need', () => {
    const { spec } = storedInstance({ domain: { devices: {}, features: { hyperv: { synictimer: {}, evmcs: {} } } } });
    expect(spec.domain.features?.hyperv).toMatchObject({
      synic: { enabled: true },
      vpindex: { enabled: true },
      vapic: { enabled: true },
    });
    expect(spec.domain.cpu?.features).toEqual([{ name: 'vmx', policy: 'require' }]);
  });

  it('takes sockets from the CPU limit and the request from it too', () => {
    const { domain } = storedInstance({ domain: { devices: {}, resources: { limits: { cpu: '2500m' } } } }).spec;
    expect([domain.cpu?.sockets, domain.resources?.requests?.['cpu']]).toEqual([3, '2500m']);
  });

  it('does not change its own result when applied again', () => {
    const once = storedInstance({ domain: { devices: {}, memory: { guest: '2Gi' } } });
    expect(storedInstance(once.spec).spec).toEqual(once.spec);
  });
});

describe('memoryHotplugObstacle', () => {
  it.each([
    ['2Gi', '8Gi', undefined],
    ['512Mi', '8Gi', /at least 1Gi/],
    ['1025Mi', '8Gi', /Guest memory must be 2Mi aligned/],
    ['2Gi', '1Gi', /greater than/],
  ])('guest %s up to %s', (guest, max, text) => {
    const spec = { domain: { devices: {}, memory: { guest } }, architecture: 'amd64' };
    const obstacle = memoryHotplugObstacle(spec, max);
    expect(obstacle ?? '').toMatch(text ?? /^$/);
  });
});

const vm = (spec: Partial<VirtualMachine['spec']> = {}): VirtualMachine => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', namespace: 'shop', uid: 'vm-uid', generation: 3 },
  spec: { template: { spec: { domain: { devices: {} } } }, ...spec },
});

const small = {
  name: 'small',
  kind: 'VirtualMachineInstancetype' as const,
  spec: { cpu: { guest: 4 }, memory: { guest: '2Gi', overcommitPercent: 25 } },
};

describe('renderInstance', () => {
  it('gives an identity that outlives restarts and leaves the VM alone', () => {
    const source = vm();
    const before = structuredClone(source);
    const first = renderInstance(source, clusterConfig());
    const second = renderInstance(source, clusterConfig());
    expect(first).toEqual(second);
    expect(source).toEqual(before);
    expect(first.spec.domain.firmware?.uuid).toBe(firmwareUuid('web'));
    expect(first.spec.domain.devices.interfaces?.[0]?.macAddress).toMatch(/^02(:[0-9a-f]{2}){5}$/);
    expect(first.metadata.annotations?.['kubevirt.io/vm-generation']).toBe('3');
  });

  it('keeps a recorded MAC address', () => {
    const macs = { default: '02:aa:bb:cc:dd:ee' };
    expect(renderInstance(vm(), clusterConfig(), { macs }).spec.domain.devices.interfaces?.[0]?.macAddress).toBe(macs.default);
  });

  it('spreads vCPUs as the preference says and takes overcommitted memory from the instance type', () => {
    const preference = {
      name: 'p',
      kind: 'VirtualMachinePreference' as const,
      spec: { cpu: { preferredCPUTopology: 'preferSpread' } },
    };
    const { spec, metadata } = renderInstance(vm(), clusterConfig(), { instancetype: small, preference });
    expect(spec.domain.cpu).toMatchObject({ sockets: 2, cores: 2, threads: 1 });
    expect([spec.domain.memory?.guest, spec.domain.resources?.requests?.['memory']]).toEqual(['2Gi', '1536Mi']);
    expect(metadata.annotations).toMatchObject({ 'kubevirt.io/instancetype-name': 'small', 'kubevirt.io/preference-name': 'p' });
  });

  it('refuses an instance type that contradicts the VM', () => {
    const source = vm({ template: { spec: { domain: { devices: {}, cpu: { cores: 2 }, memory: { guest: '1Gi' } } } } });
    expect(() => renderInstance(source, clusterConfig(), { instancetype: small })).toThrow(InstancetypeConflict);
  });

  it('lets explicit device settings win over preferences', () => {
    const devices = {
      disks: [
        { name: 'a', disk: {}, cache: 'writeback' },
        { name: 'b', disk: { bus: 'sata' } },
      ],
    };
    const source = vm({
      template: { spec: { domain: { devices }, volumes: ['a', 'b'].map((name) => ({ name, emptyDisk: { capacity: '1Gi' } })) } },
    });
    const preference = {
      name: 'p',
      kind: 'VirtualMachineClusterPreference' as const,
      spec: { devices: { preferredDiskBus: 'virtio', preferredDiskCache: 'none', preferredDiskDedicatedIoThread: true } },
    };
    expect(renderInstance(source, clusterConfig(), { preference }).spec.domain.devices.disks).toEqual([
      { name: 'a', disk: { bus: 'virtio' }, cache: 'writeback', dedicatedIOThread: true },
      { name: 'b', disk: { bus: 'sata' }, cache: 'none' },
    ]);
  });
});
