import type { Fields } from '../kinds.ts';
import { compact } from '../hyperconverged/spec-paths.ts';
import { type Flavor, type System, SYSTEMS, type Workload } from './system-table.ts';
import type { Parameter, Template } from './template-kind.ts';
import { validationRules } from './template-rules.ts';

/** Version of the bundle that these templates stand for. */
export const BUNDLE_VERSION = 'v0.35.0';
const GROUP = 'template.kubevirt.io';
const MEMORY: Readonly<Record<Flavor, string>> = { tiny: '1Gi', small: '2Gi', medium: '4Gi', large: '8Gi' };
const HYPERV_FLAGS = [
  'relaxed',
  'vapic',
  'vpindex',
  'synic',
  'tlbflush',
  'frequencies',
  'reenlightenment',
  'ipi',
  'runtime',
  'reset',
];

interface Variant {
  readonly system: System;
  readonly workload: Workload;
  readonly flavor: Flavor;
  readonly architecture: string;
}

/** All common templates for an architecture. */
export function commonTemplates(namespace: string, imagesNamespace: string, architecture: string): readonly Template[] {
  return SYSTEMS.filter(({ architectures }) => architectures.includes(architecture)).flatMap((system) =>
    system.workloads.flatMap((workload) =>
      system.flavors.map((flavor) => templateOf({ system, workload, flavor, architecture }, namespace, imagesNamespace)),
    ),
  );
}

const nameOf = ({ system, workload, flavor, architecture }: Variant): string =>
  [system.name, workload, flavor, ...(architecture === 'amd64' ? [] : [architecture])].join('-');

const isLinux = ({ user }: System): boolean => user !== undefined;

function templateOf(variant: Variant, namespace: string, imagesNamespace: string): Template {
  const { system, workload, flavor, architecture } = variant;
  const mainWorkload = system.workloads.includes('server') ? 'server' : 'desktop';
  const isDefault = workload === mainWorkload && flavor === (isLinux(system) ? 'small' : 'medium');
  return {
    apiVersion: 'template.openshift.io/v1',
    kind: 'Template',
    metadata: {
      name: nameOf(variant),
      namespace,
      labels: {
        [`${GROUP}/type`]: 'base',
        [`${GROUP}/version`]: BUNDLE_VERSION,
        [`${GROUP}/architecture`]: architecture,
        ...Object.fromEntries(system.ids.map((id) => [`os.${GROUP}/${id}`, 'true'])),
        [`workload.${GROUP}/${workload}`]: 'true',
        [`flavor.${GROUP}/${flavor}`]: 'true',
        ...(isDefault && { [`${GROUP}/default-os-variant`]: 'true' }),
      },
      annotations: annotationsOf(system),
    },
    objects: [machineOf(variant)],
    parameters: parametersOf(system, imagesNamespace),
  };
}

function annotationsOf(system: System): Record<string, string> {
  const { title, icon, ids, isDeprecated } = system;
  return {
    'openshift.io/display-name': `${title} VM`,
    description: `Template for ${title} VM or newer. A PVC with the ${title} disk image must be available.`,
    tags: `hidden,kubevirt,virtualmachine,${isLinux(system) ? 'linux' : 'windows'},${icon}`,
    iconClass: `icon-${icon}`,
    'openshift.io/provider-display-name': 'KubeVirt',
    'openshift.io/documentation-url': 'https://kubevirt.io/user-guide/',
    'openshift.io/support-url': 'https://kubevirt.io/community/',
    'template.openshift.io/bindable': 'false',
    [`${GROUP}/version`]: 'v1alpha1',
    [`defaults.${GROUP}/disk`]: 'rootdisk',
    ...(!isLinux(system) && { [`defaults.${GROUP}/network`]: 'default' }),
    [`${GROUP}/editable`]: EDITABLE.map((path) => `/objects[0].spec.template.spec.${path}\n`).join(''),
    ...Object.fromEntries(ids.map((id) => [`name.os.${GROUP}/${id}`, title])),
    ...(isDeprecated && { [`${GROUP}/deprecated`]: 'true' }),
  };
}

const EDITABLE = [
  ...['domain.cpu.sockets', 'domain.cpu.cores', 'domain.cpu.threads', 'domain.memory.guest', 'domain.devices.disks'],
  ...['volumes', 'networks'],
];

function parametersOf(system: System, imagesNamespace: string): readonly Parameter[] {
  const letters = isLinux(system) ? 16 : 6;
  const image: readonly Parameter[] = [
    { name: 'NAME', description: 'VM name', generate: 'expression', from: `${system.prefix}-[a-z0-9]{${letters}}` },
    { name: 'DATA_SOURCE_NAME', description: 'Name of the DataSource to clone', value: system.dataSource },
    { name: 'DATA_SOURCE_NAMESPACE', description: 'Namespace of the DataSource', value: imagesNamespace },
  ];
  if (!isLinux(system)) return image;
  const from = '[a-z0-9]{4}-[a-z0-9]{4}-[a-z0-9]{4}';
  return [
    ...image,
    { name: 'CLOUD_USER_PASSWORD', description: 'Randomized password for the cloud-init user', generate: 'expression', from },
  ];
}

/** biome-ignore lint/suspicious/noTemplateCurlyInString: parameters of templates are written so */
const NAME = '${NAME}';

function machineOf(variant: Variant): Fields {
  const { system, workload, flavor, architecture } = variant;
  const memory = system.memory?.[flavor] ?? MEMORY[flavor];
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: {
      name: NAME,
      labels: {
        'vm.kubevirt.io/template': nameOf(variant),
        'vm.kubevirt.io/template.version': BUNDLE_VERSION,
        'vm.kubevirt.io/template.revision': '1',
        app: NAME,
      },
      annotations: { 'vm.kubevirt.io/validations': JSON.stringify(validationRules(system), undefined, 2) },
    },
    spec: {
      dataVolumeTemplates: [
        {
          apiVersion: 'cdi.kubevirt.io/v1beta1',
          kind: 'DataVolume',
          metadata: { name: NAME },
          spec: {
            storage: { resources: { requests: { storage: system.disk } } },
            sourceRef: { kind: 'DataSource', name: reference('DATA_SOURCE_NAME'), namespace: reference('DATA_SOURCE_NAMESPACE') },
          },
        },
      ],
      runStrategy: 'Halted',
      template: {
        metadata: {
          annotations: {
            'vm.kubevirt.io/os': system.name,
            'vm.kubevirt.io/workload': workload,
            'vm.kubevirt.io/flavor': flavor,
          },
          labels: { 'kubevirt.io/domain': NAME, 'kubevirt.io/size': flavor },
        },
        spec: {
          architecture,
          domain: compact({
            ...(isLinux(system) ? {} : WINDOWS_DOMAIN),
            cpu: { sockets: flavor === 'large' ? 2 : 1, cores: system.cores ?? 1, threads: 1 },
            memory: { guest: memory },
            ...firmwareOf(system, architecture),
            devices: devicesOf(variant),
            ioThreadsPolicy: isLinux(system) && workload === 'highperformance' ? 'shared' : undefined,
          }),
          networks: [{ name: 'default', pod: {} }],
          terminationGracePeriodSeconds: isLinux(system) ? 180 : 3600,
          volumes: volumesOf(system),
        },
      },
    },
  };
}

const reference = (name: string): string => `\${${name}}`;

/** Firmware of a PC exists on a PC alone. */
function firmwareOf(system: System, architecture: string): Fields {
  if (architecture !== 'amd64') return {};
  const features = isLinux(system) ? system.features : { ...WINDOWS_FEATURES, ...system.features };
  return compact({ features, firmware: system.firmware });
}

const WINDOWS_FEATURES: Fields = {
  acpi: {},
  apic: {},
  smm: {},
  hyperv: {
    ...Object.fromEntries(HYPERV_FLAGS.map((flag) => [flag, {}])),
    spinlocks: { spinlocks: 8191 },
    synictimer: { direct: {} },
  },
};
const WINDOWS_DOMAIN: Fields = {
  clock: {
    utc: {},
    timer: { hpet: { present: false }, pit: { tickPolicy: 'delay' }, rtc: { tickPolicy: 'catchup' }, hyperv: {} },
  },
};

function devicesOf({ system, workload }: Variant): Fields {
  const isFast = workload === 'highperformance';
  const isVirtio = isLinux(system) || isFast;
  const nic = { name: 'default', masquerade: {}, model: isVirtio ? 'virtio' : 'e1000e' };
  const disk = compact({
    name: 'rootdisk',
    disk: { bus: isVirtio ? 'virtio' : 'sata' },
    dedicatedIOThread: isLinux(system) && isFast ? true : undefined,
    bootOrder: system.isTransitional ? 1 : undefined,
  });
  const hasTablet = isLinux(system) ? workload === 'desktop' || system.name === 'ubuntu' : true;
  return compact({
    disks: [disk, ...(isLinux(system) ? [{ name: 'cloudinitdisk', disk: { bus: 'virtio' } }] : [])],
    interfaces: [nic],
    networkInterfaceMultiqueue: isVirtio ? true : undefined,
    rng: isLinux(system) ? {} : undefined,
    inputs: hasTablet ? [{ type: 'tablet', bus: isLinux(system) ? 'virtio' : 'usb', name: 'tablet' }] : undefined,
    tpm: system.tpm,
    useVirtioTransitional: system.isTransitional ? true : undefined,
  });
}

function volumesOf({ user }: System): readonly Fields[] {
  const root = { name: 'rootdisk', dataVolume: { name: NAME } };
  if (user === undefined) return [root];
  const userData = `#cloud-config\nuser: ${user}\npassword: ${reference('CLOUD_USER_PASSWORD')}\nchpasswd: { expire: False }`;
  return [root, { name: 'cloudinitdisk', cloudInitNoCloud: { userData } }];
}
