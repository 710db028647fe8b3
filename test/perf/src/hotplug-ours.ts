import {
  type DataVolume,
  DataVolumeKind,
  NetworkAttachmentDefinitionKind,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
} from '@slipway/api';
import { bytesOf } from '@slipway/virt';
import { type BenchWorld, benchVm, NAMESPACE } from './bench-world.ts';
import { GuestLog, WATCH_DEVICES } from './guest-log.ts';
import { BOOT_MIB, MANY, SOCKETS, type Subject, type Times } from './hotplug-subject.ts';
import { measureUntil } from './watched.ts';

/** Name of the VM that is changed. */
export const VM = 'live';

/** A VM of the platform under measurement, with everything that will be plugged into it. */
export async function ourSubject(world: BenchWorld): Promise<{ readonly subject: Subject; readonly close: () => void }> {
  const { client } = world;
  const names = ['extra', ...Array.from({ length: MANY }, (_, index) => `many-${index}`)];
  for (const name of names)
    await measureUntil(
      client,
      DataVolumeKind,
      name,
      (dv) => dv?.status?.phase === 'Succeeded',
      () => client.create(DataVolumeKind, blankDisk(name)),
    );
  await client.create(NetworkAttachmentDefinitionKind, LAB);
  const hasAgent = (vmi: VirtualMachineInstance | undefined): boolean =>
    vmi?.status?.conditions?.some(({ type, status }) => type === 'AgentConnected' && status === 'True') === true;
  await measureUntil(client, VirtualMachineInstanceKind, VM, hasAgent, () => client.create(VirtualMachineKind, roomyVm()));
  const stream = await client.connect({
    path: `/apis/subresources.kubevirt.io/v1/namespaces/${NAMESPACE}/virtualmachineinstances/${VM}/console`,
    protocols: ['plain.kubevirt.io'],
  });
  const log = new GuestLog(stream.messages, () => stream.close());
  return { subject: subjectOf(world, log), close: log.close };
}

function subjectOf({ client }: BenchWorld, log: GuestLog): Subject {
  const key = { namespace: NAMESPACE, name: VM };
  const until = (isThere: (vmi: VirtualMachineInstance) => boolean, act: () => Promise<unknown>): Promise<number> =>
    measureUntil(client, VirtualMachineInstanceKind, VM, (vmi) => vmi !== undefined && isThere(vmi), act);
  const ask = (action: string, body: object): Promise<unknown> =>
    client.raw({
      ...{ method: 'PUT', body },
      path: `/apis/subresources.kubevirt.io/v1/namespaces/${NAMESPACE}/virtualmachines/${VM}/${action}`,
    });
  const patch = (spec: object): Promise<unknown> =>
    client.patch(VirtualMachineKind, key, { spec: { template: { spec } } }, { type: 'merge' });
  const add = (name: string): Promise<unknown> =>
    ask('addvolume', { name, disk: { disk: { bus: 'scsi' } }, volumeSource: { dataVolume: { name, hotpluggable: true } } });
  const phase = ({ status }: VirtualMachineInstance, name: string) =>
    status?.volumeStatus?.find((entry) => entry.name === name)?.phase;
  const plug = async (step: { add: () => Promise<number>; remove: () => Promise<number>; device: string }, times: Times) => {
    const startedAt = performance.now();
    times.attached.push(await step.add());
    await log.until(`[+${step.device}]`);
    times.seen.push((performance.now() - startedAt) / 1000);
    times.detached.push(await step.remove());
    await log.until(`[-${step.device}]`);
  };
  const nic = ({ status }: VirtualMachineInstance) => status?.interfaces?.find(({ name }) => name === 'blue');
  return {
    disk: (times) =>
      plug(
        {
          device: 'sda',
          add: () =>
            until(
              (vmi) => phase(vmi, 'extra') === 'Ready',
              () => add('extra'),
            ),
          remove: () =>
            until(
              (vmi) => phase(vmi, 'extra') === undefined,
              () => ask('removevolume', { name: 'extra' }),
            ),
        },
        times,
      ),
    nic: (times) =>
      plug(
        {
          device: 'eth1',
          add: () =>
            until(
              (vmi) => nic(vmi)?.linkState === 'up',
              () => patch(withBlue()),
            ),
          remove: async () => {
            const isGone = (vmi: VirtualMachineInstance): boolean =>
              nic(vmi) === undefined && vmi.spec.domain.devices.interfaces?.length === 1;
            const seconds = await until(isGone, () => patch(withBlue('absent')));
            await patch(WITHOUT_BLUE);
            return seconds;
          },
        },
        times,
      ),
    sockets: (count) =>
      until(
        ({ status }) => status?.currentCPUTopology?.sockets === count,
        () => patch({ domain: { cpu: { sockets: count } } }),
      ),
    memory: (mib) =>
      until(
        ({ status }) => bytesOf(status?.memory?.guestCurrent ?? 0) === mib * 1024 ** 2,
        () => patch({ domain: { memory: { guest: `${mib}Mi` } } }),
      ),
    manyDisks: () => {
      const names = Array.from({ length: MANY }, (_, index) => `many-${index}`);
      return until(
        (vmi) => names.every((name) => phase(vmi, name) === 'Ready'),
        async () => {
          for (const name of names) await add(name);
        },
      );
    },
  };
}

const POD_INTERFACE = { name: 'default', masquerade: {} };
const POD_NETWORK = { name: 'default', pod: {} };

const withBlue = (state?: string): object => ({
  domain: { devices: { interfaces: [POD_INTERFACE, { name: 'blue', bridge: {}, ...(state !== undefined && { state }) }] } },
  networks: [POD_NETWORK, { name: 'blue', multus: { networkName: 'bench-lab' } }],
});
const WITHOUT_BLUE = { domain: { devices: { interfaces: [POD_INTERFACE] } }, networks: [POD_NETWORK] };

const LAB = {
  ...{ apiVersion: 'k8s.cni.cncf.io/v1', kind: 'NetworkAttachmentDefinition' },
  metadata: { namespace: NAMESPACE, name: 'bench-lab' },
  spec: { config: JSON.stringify({ cniVersion: '0.4.0', name: 'bench-lab', type: 'bridge', bridge: 'br-swbench', ipam: {} }) },
};

const blankDisk = (name: string): DataVolume => ({
  ...{ apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataVolume' },
  metadata: { namespace: NAMESPACE, name, annotations: { 'cdi.kubevirt.io/storage.bind.immediate.requested': 'true' } },
  spec: { source: { blank: {} }, storage: { resources: { requests: { storage: '16Mi' } } } },
});

/** The VM of the other benchmarks with an agent, room to grow, and a seed that tells of its devices. */
function roomyVm(): VirtualMachine {
  const vm = benchVm(VM);
  const spec = vm.spec.template.spec ?? { domain: { devices: {} } };
  const { devices } = spec.domain;
  const seed = { name: 'seed', cloudInitNoCloud: { userData: WATCH_DEVICES } };
  const disks = [...(devices.disks ?? []), { name: 'seed', disk: { bus: 'virtio' } }];
  const domain = {
    ...spec.domain,
    cpu: { sockets: 1, cores: 1, threads: 1, maxSockets: Math.max(...SOCKETS) },
    memory: { guest: `${BOOT_MIB}Mi`, maxGuest: '4Gi' },
    devices: { ...devices, disks },
  };
  return { ...vm, spec: { ...vm.spec, template: { spec: { ...spec, domain, volumes: [...(spec.volumes ?? []), seed] } } } };
}
