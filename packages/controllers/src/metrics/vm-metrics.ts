import type { PersistentVolumeClaim, VirtualMachine } from '@slipway/api';
import { quantityMilliValue, tryParseQuantity } from '@slipway/apimachinery';
import type { MetricFamily } from '@slipway/runtime';
import { cpuTopology, guestMemoryBytes } from '@slipway/virt';
import { annotationOf, Families, type Labels, NONE, secondsOf } from './families.ts';

const GROUPS: readonly (readonly [group: string, statuses: readonly string[]])[] = [
  ['starting', ['Provisioning', 'Starting', 'WaitingForVolumeBinding', 'WaitingForReceiver']],
  ['running', ['Running']],
  ['migrating', ['Migrating']],
  ['non_running', ['Stopped', 'Paused', 'Stopping', 'Terminating', '']],
];
const STATUS_GROUPS = ['starting', 'running', 'migrating', 'non_running', 'error'] as const;

/** The coarse state of a VM. */
export const statusGroup = (status: string): string => GROUPS.find(([, statuses]) => statuses.includes(status))?.[0] ?? 'error';

const declared = (): Families =>
  new Families()
    .declare('gauge', {
      kubevirt_vm_info: 'Information about Virtual Machines.',
      kubevirt_vm_labels: 'The metric exposes the VM labels as Prometheus labels.',
      kubevirt_vm_create_date_timestamp_seconds: 'Virtual Machine creation timestamp.',
      kubevirt_vm_resource_requests: 'Resources requested by Virtual Machine. Reports memory and CPU requests.',
      kubevirt_vm_resource_limits: 'Resources limits by Virtual Machine. Reports memory and CPU limits.',
      kubevirt_vm_disk_allocated_size_bytes:
        'Allocated disk size of a Virtual Machine in bytes, based on its PersistentVolumeClaim.',
      kubevirt_vm_vnic_info:
        "Details of Virtual Machine (VM) vNIC interfaces, such as vNIC name, binding type, network name, and binding name for each vNIC defined in the VM's configuration.",
    })
    .declare(
      'counter',
      Object.fromEntries(
        STATUS_GROUPS.map((group) => [
          `kubevirt_vm_${group}_status_last_transition_timestamp_seconds`,
          `Virtual Machine last transition timestamp to ${group.replace('_', ' ')} status.`,
        ]),
      ),
    );

/** Metrics of the VMs as they are defined. */
export function vmMetrics(
  vms: readonly VirtualMachine[],
  claimOf: (namespace: string, name: string) => PersistentVolumeClaim | undefined,
): MetricFamily[] {
  const families = declared();
  for (const vm of vms) {
    addState(families, vm);
    addResources(families, vm);
    addDisks(families, vm, claimOf);
    for (const labels of vnicsOf(vm)) families.add('kubevirt_vm_vnic_info', labels, 1);
  }
  return families.list();
}

const identity = ({ metadata }: VirtualMachine) => ({ name: metadata.name, namespace: metadata.namespace });

function addState(families: Families, vm: VirtualMachine): void {
  const id = identity(vm);
  const { printableStatus = '' } = vm.status ?? {};
  const group = statusGroup(printableStatus);
  const { template, instancetype, preference } = vm.spec;
  const of = (name: string): string => annotationOf(template.metadata?.annotations, `vm.kubevirt.io/${name}`);
  families.add(
    'kubevirt_vm_info',
    {
      ...id,
      ...{ os: of('os'), workload: of('workload'), flavor: of('flavor') },
      machine_type: template.spec?.domain.machine?.type ?? NONE,
      instance_type: instancetype?.name ?? NONE,
      preference: preference?.name ?? NONE,
      status: printableStatus.toLowerCase(),
      status_group: group,
    },
    1,
  );
  addLabels(families, vm);
  families.add('kubevirt_vm_create_date_timestamp_seconds', id, secondsOf(vm.metadata.creationTimestamp));
  const since = lastTransition(vm);
  for (const each of STATUS_GROUPS)
    families.add(`kubevirt_vm_${each}_status_last_transition_timestamp_seconds`, id, each === group ? since : 0);
}

function addLabels(families: Families, vm: VirtualMachine): void {
  const labels = Object.entries(vm.metadata.labels ?? {}).map(([name, value]) => [`label_${name.replace(/\W/g, '_')}`, value]);
  if (labels.length === 0) return;
  families.add('kubevirt_vm_labels', { ...identity(vm), ...(Object.fromEntries(labels) as Record<string, string>) }, 1);
}

function lastTransition({ metadata, status }: VirtualMachine): number | undefined {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime;
  return secondsOf(ready ?? metadata.creationTimestamp);
}

function addResources(families: Families, vm: VirtualMachine): void {
  const id = identity(vm);
  const domain = vm.spec.template.spec?.domain;
  if (domain === undefined) return;
  const { cores, sockets, threads } = cpuTopology(domain);
  const source = domain.cpu === undefined ? 'default' : 'domain';
  for (const [unit, value] of Object.entries({ cores, sockets, threads }))
    families.add('kubevirt_vm_resource_requests', { ...id, resource: 'cpu', unit, source }, value);
  const memorySource = domain.memory?.guest === undefined ? 'requests' : 'guest';
  families.add(
    'kubevirt_vm_resource_requests',
    { ...id, resource: 'memory', unit: 'bytes', source: memorySource },
    guestMemoryBytes(domain),
  );
  for (const [resource, quantity] of Object.entries(domain.resources?.limits ?? {})) {
    const unit = resource === 'cpu' ? 'cores' : 'bytes';
    families.add('kubevirt_vm_resource_limits', { ...id, resource, unit }, amountOf(quantity));
  }
}

function amountOf(quantity: unknown): number | undefined {
  const parsed = tryParseQuantity(quantity);
  return parsed && Number(quantityMilliValue(parsed)) / 1000;
}

function addDisks(
  families: Families,
  vm: VirtualMachine,
  claimOf: (namespace: string, name: string) => PersistentVolumeClaim | undefined,
): void {
  const id = identity(vm);
  for (const { name: device, dataVolume, persistentVolumeClaim } of vm.spec.template.spec?.volumes ?? []) {
    const name = dataVolume?.name ?? persistentVolumeClaim?.claimName;
    const claim = name === undefined ? undefined : claimOf(id.namespace ?? '', name);
    if (claim === undefined) continue;
    const labels = { ...id, persistentvolumeclaim: name, volume_mode: claim.spec?.volumeMode, device };
    families.add('kubevirt_vm_disk_allocated_size_bytes', labels, amountOf(sizeOf(claim)));
  }
}

const sizeOf = ({ spec, status }: PersistentVolumeClaim): unknown =>
  status?.capacity?.['storage'] ?? spec?.resources?.requests?.['storage'];

function vnicsOf(vm: VirtualMachine): Labels[] {
  const { networks = [], domain } = vm.spec.template.spec ?? {};
  return vnicLabels(domain?.devices.interfaces ?? [], networks).map((labels) => ({ ...identity(vm), ...labels }));
}

interface Interface {
  readonly name: string;
  readonly model?: string;
  readonly binding?: { readonly name: string };
}

/** Labels of the interfaces of one guest. */
export function vnicLabels(
  interfaces: readonly Interface[],
  networks: readonly { readonly name: string; readonly multus?: { readonly networkName: string } }[],
): Record<string, string>[] {
  return interfaces.map((nic) => {
    const core = ['masquerade', 'bridge', 'sriov', 'slirp', 'passt', 'macvtap'].find((name) => name in nic);
    return {
      vnic_name: nic.name,
      binding_type: nic.binding === undefined ? 'core' : 'plugin',
      network: networks.find(({ name }) => name === nic.name)?.multus?.networkName ?? 'pod networking',
      binding_name: nic.binding?.name ?? core ?? NONE,
      model: nic.model ?? NONE,
    };
  });
}
