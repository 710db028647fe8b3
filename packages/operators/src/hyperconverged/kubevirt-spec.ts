import { isObject } from '@slipway/apimachinery';
import type { Fields, HyperConverged } from '../kinds.ts';
import { certificates } from './certificates.ts';
import { isGateOn, kubeVirtGateLists } from './feature-gates.ts';
import { patchedSpec } from './json-patch-annotation.ts';
import { compact, fieldsAt, mapsAt, valueAt } from './spec-paths.ts';
import { textsAt, tlsConfiguration } from './tls-profile.ts';
import type { Topology } from './topology.ts';

const OBSOLETE_MODELS = [
  ...['486', 'pentium', 'pentium2', 'pentium3', 'pentiumpro', 'coreduo', 'n270', 'core2duo', 'Conroe', 'athlon', 'phenom'],
  ...['qemu64', 'qemu32', 'kvm64', 'kvm32', 'Opteron_G1', 'Opteron_G2'],
];
const DEFAULT_MIGRATIONS: Fields = {
  parallelMigrationsPerCluster: 5,
  parallelOutboundMigrationsPerNode: 1,
  completionTimeoutPerGiB: 20,
  progressTimeout: 150,
  allowAutoConverge: false,
  allowPostCopy: false,
  allowWorkloadDisruption: false,
};
const DEFAULT_UPDATES: Fields = { workloadUpdateMethods: ['LiveMigrate'], batchEvictionSize: 10, batchEvictionInterval: '1m0s' };
export const DEFAULT_UNINSTALL = 'BlockUninstallIfWorkloadsExist';
export const TUNING_ANNOTATION = 'hco.kubevirt.io/tuningPolicy';

/** Makes KubeVirt even out the emulator's threads; goes with the gate `alignCPUs`. */
const EVEN_PARITY = 'alpha.kubevirt.io/EmulatorThreadCompleteToEvenParity';
export const kubeVirtAnnotations = ({ spec }: HyperConverged): Record<string, string> =>
  isGateOn(spec, 'alignCPUs') ? { [EVEN_PARITY]: '' } : {};

/** The spec of the KubeVirt object. */
export function kubeVirtSpec(hco: HyperConverged, topology: Topology): Fields {
  const { spec } = hco;
  return patchedSpec(hco, 'KubeVirt', {
    productName: 'hyperconverged-cluster',
    productVersion: topology.version,
    productComponent: 'compute',
    serviceMonitorNamespace: topology.installNamespace,
    uninstallStrategy: valueAt(spec, 'deployment.uninstallStrategy') ?? DEFAULT_UNINSTALL,
    certificateRotateStrategy: { selfSigned: certificates(spec) },
    workloadUpdateStrategy: valueAt(spec, 'virtualization.workloadUpdateStrategy') ?? DEFAULT_UPDATES,
    infra: infrastructure(spec, topology),
    workloads: compact({ nodePlacement: fieldsAt(spec, 'deployment.nodePlacements.workload') }),
    configuration: configuration(hco),
  });
}

/** Without control-plane nodes the infrastructure may run anywhere, which must be said explicitly. */
function infrastructure(spec: Fields | undefined, { controlPlaneNodes, workers }: Topology): Fields {
  const nodePlacement = fieldsAt(spec, 'deployment.nodePlacements.infra') ?? (controlPlaneNodes === 0 ? {} : undefined);
  const isSmall = controlPlaneNodes === 0 ? workers < 2 : controlPlaneNodes < 2;
  return compact({ nodePlacement, replicas: isSmall ? 1 : undefined });
}

function configuration(hco: HyperConverged): Fields {
  const { spec } = hco;
  const at = (path: string): unknown => valueAt(spec, path);
  const virtualization = (field: string): unknown => at(`virtualization.${field}`);
  const obsolete = [
    ...OBSOLETE_MODELS.flatMap((model) => [model, `${model}-v1`]),
    ...textsAt(spec, 'virtualization.obsoleteCPUModels'),
  ];
  const reservation = at('storage.persistentReservationConfiguration.enabled');
  return compact({
    cpuModel: virtualization('virtualMachineOptions.defaultCPUModel'),
    defaultRuntimeClass: virtualization('virtualMachineOptions.defaultRuntimeClass'),
    virtualMachineOptions: machineOptions(spec),
    evictionStrategy: virtualization('evictionStrategy'),
    ksmConfiguration: virtualization('ksmConfiguration'),
    changedBlockTrackingLabelSelectors: virtualization('changedBlockTrackingLabelSelectors'),
    autoCPULimitNamespaceLabelSelector: virtualization('autoCPULimitNamespaceLabelSelector'),
    liveUpdateConfiguration: virtualization('liveUpdateConfiguration'),
    hypervisors: virtualization('hypervisors'),
    roleAggregationStrategy: virtualization('roleAggregationStrategy'),
    mediatedDevicesConfiguration: mediatedDevices(fieldsAt(spec, 'virtualization.mediatedDevicesConfiguration')),
    permittedHostDevices: permittedDevices(fieldsAt(spec, 'virtualization.permittedHostDevices')),
    vmStateStorageClass: at('storage.vmStateStorageClass'),
    persistentReservationConfiguration: reservation === undefined ? undefined : { enabled: reservation },
    instancetype: at('workloadSources.instancetypeConfig'),
    commonInstancetypesDeployment: at('workloadSources.commonInstancetypesDeployment'),
    tlsConfiguration: tlsConfiguration(spec),
    seccompConfiguration: {
      virtualMachineInstanceProfile: { customProfile: { localhostProfile: 'kubevirt/kubevirt.json' } },
    },
    obsoleteCPUModels: Object.fromEntries(obsolete.map((model) => [model, true])),
    migrations: { ...DEFAULT_MIGRATIONS, ...fieldsAt(spec, 'virtualization.liveMigrationConfig') },
    network: {
      defaultNetworkInterface: 'masquerade',
      binding: {
        ...fieldsAt(spec, 'networking.networkBinding'),
        l2bridge: { domainAttachmentType: 'managedTap', migration: {} },
      },
    },
    vmRolloutStrategy: 'LiveUpdate',
    developerConfiguration: developerConfiguration(hco),
    ...rateLimits(hco),
  });
}

function developerConfiguration(hco: HyperConverged): Fields {
  const gates = kubeVirtGateLists(hco);
  return compact({
    cpuAllocationRatio: valueAt(hco.spec, 'virtualization.vmiCPUAllocationRatio') ?? 10,
    memoryOvercommit: valueAt(hco.spec, 'virtualization.higherWorkloadDensity.memoryOvercommitPercentage') ?? 100,
    diskVerification: { memoryLimit: '2G' },
    featureGates: gates.on,
    disabledFeatureGates: gates.off,
    logVerbosity: valueAt(hco.spec, 'deployment.logVerbosityConfig.kubevirt'),
  });
}

/** KubeVirt's options are switched on by their presence. */
function machineOptions(spec: Fields | undefined): Fields | undefined {
  const flags = ['disableFreePageReporting', 'disableSerialConsoleLog'].filter(
    (name) => valueAt(spec, `virtualization.virtualMachineOptions.${name}`) === true,
  );
  return flags.length > 0 ? Object.fromEntries(flags.map((name) => [name, {}])) : undefined;
}

/** `mediatedDevicesTypes` is the older name of `mediatedDeviceTypes`. */
function mediatedDevices(config: Fields | undefined): Fields | undefined {
  if (config === undefined) return undefined;
  const renamed = ({ mediatedDevicesTypes: older, ...rest }: Fields): Fields =>
    compact({ ...rest, mediatedDeviceTypes: rest['mediatedDeviceTypes'] ?? older });
  const perNode = mapsAt(config, 'nodeMediatedDeviceTypes')?.map(renamed);
  return compact({ ...renamed(config), nodeMediatedDeviceTypes: perNode });
}

/** Renames to KubeVirt's fields and drops entries that are disabled. */
function permittedDevices(devices: Fields | undefined): Fields | undefined {
  if (devices === undefined) return undefined;
  const enabled = (list: string): readonly Fields[] | undefined =>
    mapsAt(devices, list)?.flatMap(({ disabled, ...device }) => (disabled === true ? [] : [device]));
  return compact({
    pciHostDevices: enabled('pciHostDevices')?.map(({ pciDeviceSelector, ...device }) => ({
      ...device,
      pciVendorSelector: pciDeviceSelector,
    })),
    usb: enabled('usbHostDevices'),
    mediatedDevices: enabled('mediatedDevices'),
  });
}

const RATE_LIMITED = ['apiConfiguration', 'webhookConfiguration', 'controllerConfiguration', 'handlerConfiguration'];

/** Requests per second and their burst, from the annotation that the policy `annotation` points to. */
function rateLimits({ metadata, spec }: HyperConverged): Fields {
  if (valueAt(spec, 'virtualization.tuningPolicy') !== 'annotation') return {};
  const limits = tuningOf(metadata.annotations?.[TUNING_ANNOTATION]);
  const setting = { restClient: { rateLimiter: { tokenBucketRateLimiter: limits } } };
  return Object.fromEntries(RATE_LIMITED.map((name) => [name, setting]));
}

/** The annotation's numbers; throws with the reason when they are missing. */
export function tuningOf(annotation: string | undefined): { qps: number; burst: number } {
  if (annotation === undefined)
    throw new Error(`tuning policy annotation is set, but the annotation ${TUNING_ANNOTATION} is missing`);
  let limits: unknown;
  try {
    limits = JSON.parse(annotation);
  } catch (error) {
    throw new Error(`the annotation ${TUNING_ANNOTATION} is not JSON`, { cause: error });
  }
  const { qps, burst } = isObject(limits) ? limits : {};
  if (typeof qps !== 'number' || typeof burst !== 'number' || qps <= 0 || burst <= 0)
    throw new Error(`the annotation ${TUNING_ANNOTATION} must have positive numbers qps and burst`);
  return { qps, burst };
}
