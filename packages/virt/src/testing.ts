import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { type ClusterConfig, clusterConfig } from './config.ts';
import { defaultInstance } from './defaults/default-instance.ts';
import type { DomainFacts } from './domain/facts.ts';

/** Inputs of this package's own tests. */
export const TEST_UUID = '00000000-0000-4000-8000-000000000001';

type SpecPatch = Omit<Partial<kubevirt.VirtualMachineInstanceSpec>, 'domain'> & {
  readonly domain?: Partial<kubevirt.DomainSpec>;
};

/** A small instance as a user would write it. */
export function plainInstance(spec: SpecPatch = {}): VirtualMachineInstance {
  const domain: kubevirt.DomainSpec = { devices: {}, memory: { guest: '256Mi' }, ...spec.domain };
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: { name: 'web', namespace: 'shop', uid: 'uid-1' },
    spec: { ...spec, domain },
  };
}

/** The same, as it would be stored. */
export function storedInstance(spec: SpecPatch = {}, config: ClusterConfig = clusterConfig()): VirtualMachineInstance {
  return defaultInstance(plainInstance(spec), config, { uuid: TEST_UUID });
}

/** A node with KVM and a file for each volume. */
export function nodeFacts(vmi: VirtualMachineInstance, more: Partial<DomainFacts> = {}): DomainFacts {
  return {
    config: clusterConfig(),
    accelerator: { kind: 'kvm' },
    allowEmulation: true,
    volumes: (vmi.spec.volumes ?? []).map(({ name }) => ({ name, path: `/disks/${name}.img`, format: 'raw' })),
    interfaces: (vmi.spec.domain.devices.interfaces ?? []).map(({ name }, index) => ({
      name,
      tapName: `tap${index}`,
      mac: `02:00:00:00:00:0${index + 1}`,
      mtu: 1450,
    })),
    sockets: { serialConsole: '/run/serial0', vnc: '/run/vnc', guestAgent: '/run/agent' },
    logs: { serialConsole: '/run/serial0.log' },
    nvramPath: '/state/web_VARS.fd',
    firmware: [
      {
        code: '/fw/CODE.ms.fd',
        vars: '/fw/VARS.ms.fd',
        architecture: 'x86_64',
        features: ['secure-boot', 'enrolled-keys', 'requires-smm'],
      },
      { code: '/fw/CODE.fd', vars: '/fw/VARS.fd', architecture: 'x86_64', features: [] },
    ],
    ...more,
  };
}
