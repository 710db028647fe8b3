import type { System } from './system-table.ts';

/** A rule of a template for the VMs that are made from it. */
export interface ValidationRule {
  readonly name: string;
  readonly rule: 'integer' | 'string' | 'enum' | 'regex';
  readonly path: string;
  readonly message: string;
  readonly valid?: string;
  readonly justWarning?: boolean;
  readonly min?: number | string;
  readonly max?: number | string;
  readonly minLength?: number | string;
  readonly maxLength?: number | string;
  readonly values?: readonly string[];
  readonly regex?: string;
}

const GIB = 1024 ** 3;
const bytesOf = (size: string): number => Number.parseFloat(size) * (size.endsWith('Gi') ? GIB : GIB / 1024);
const DISK_BUS = 'jsonpath::.spec.domain.devices.disks[*].disk.bus';
const CD_BUS = 'jsonpath::.spec.domain.devices.disks[*].cdrom.bus';

/** What VMs of a system must have. */
export function validationRules({ minMemory, minCores, user }: System): readonly ValidationRule[] {
  return [
    {
      name: 'minimal-required-memory',
      path: 'jsonpath::.spec.domain.memory.guest',
      rule: 'integer',
      message: 'This VM requires more memory.',
      min: bytesOf(minMemory),
    },
    ...(minCores === undefined
      ? []
      : [
          {
            name: 'minimal-required-cores',
            path: 'jsonpath::.spec.domain.cpu.cores',
            rule: 'integer',
            message: 'This VM requires more cores.',
            min: minCores,
          } as const,
        ]),
    ...(user === undefined ? WINDOWS_RULES : []),
  ];
}

const WINDOWS_RULES: readonly ValidationRule[] = [
  {
    name: 'windows-virtio-bus',
    path: DISK_BUS,
    valid: DISK_BUS,
    rule: 'enum',
    message: 'virtio disk bus type has better performance, install virtio drivers in VM and change bus type',
    values: ['virtio'],
    justWarning: true,
  },
  {
    name: 'windows-disk-bus',
    path: DISK_BUS,
    valid: DISK_BUS,
    rule: 'enum',
    message: 'disk bus has to be either virtio or sata or scsi',
    values: ['virtio', 'sata', 'scsi'],
  },
  { name: 'windows-cd-bus', path: CD_BUS, valid: CD_BUS, rule: 'enum', message: 'cd bus has to be sata', values: ['sata'] },
];
