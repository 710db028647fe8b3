import { applyJsonPatch, isObject } from '@slipway/apimachinery';
import type { Fields, HyperConverged } from '../kinds.ts';
import { fieldsOf, isGateOn, type Setting, settingOf } from './read-spec.ts';

/** What the operator must know of the cluster to write the specs of its operands. */
export interface Topology {
  readonly installNamespace: string;
  readonly version: string;
  readonly controlPlaneNodes: number;
  readonly workers: number;
}

/** Leaves out fields that are undefined, so that operands keep their own defaults. */
export function compact(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

const OBSOLETE_MODELS = [
  ...['486', 'pentium', 'pentium2', 'pentium3', 'pentiumpro', 'coreduo', 'n270', 'core2duo', 'Conroe', 'athlon', 'phenom'],
  ...['qemu64', 'qemu32', 'kvm64', 'kvm32', 'Opteron_G1', 'Opteron_G2'],
];

/** HyperConverged gate → KubeVirt gates. */
const GATES: readonly (readonly [string, readonly string[]])[] = [
  ['decentralizedLiveMigration', ['DecentralizedLiveMigration']],
  ['template', ['Template']],
  ['alignCPUs', ['AlignCPUs']],
  ['containerPathVolumes', ['ContainerPathVolumes']],
  ['downwardMetrics', ['DownwardMetrics']],
  ['incrementalBackup', ['IncrementalBackup', 'UtilityVolumes']],
  ['objectGraph', ['ObjectGraph']],
];

const DEFAULT_MIGRATIONS: Fields = {
  parallelMigrationsPerCluster: 5,
  parallelOutboundMigrationsPerNode: 1,
  completionTimeoutPerGiB: 20,
  progressTimeout: 150,
  allowAutoConverge: false,
  allowPostCopy: false,
};
const DEFAULT_UPDATES: Fields = { workloadUpdateMethods: ['LiveMigrate'], batchEvictionSize: 10, batchEvictionInterval: '1m0s' };
const DEFAULT_CA: Fields = { duration: '48h0m0s', renewBefore: '24h0m0s' };
const DEFAULT_SERVER: Fields = { duration: '24h0m0s', renewBefore: '12h0m0s' };
const DEFAULT_UNINSTALL = 'BlockUninstallIfWorkloadsExist';

export function kubeVirtSpec({ metadata, spec }: HyperConverged, topology: Topology): Fields {
  const set = (setting: Setting): unknown => settingOf(spec, setting);
  return patched(metadata.annotations?.['kubevirt.kubevirt.io/jsonpatch'], {
    productName: 'hyperconverged-cluster',
    productVersion: topology.version,
    productComponent: 'compute',
    serviceMonitorNamespace: topology.installNamespace,
    uninstallStrategy: set('uninstallStrategy') ?? DEFAULT_UNINSTALL,
    certificateRotateStrategy: { selfSigned: certificates(spec) },
    workloadUpdateStrategy: set('workloadUpdateStrategy') ?? DEFAULT_UPDATES,
    infra: compact({ nodePlacement: infraPlacement(spec, topology), replicas: topology.controlPlaneNodes < 2 ? 1 : undefined }),
    workloads: compact({ nodePlacement: fieldsOf(spec, 'workloads') }),
    configuration: kubeVirtConfiguration(spec),
  });
}

function kubeVirtConfiguration(spec: Fields | undefined): Fields {
  const set = (setting: Setting): unknown => settingOf(spec, setting);
  const options = fieldsOf(spec, 'virtualMachineOptions');
  const flags = ['disableFreePageReporting', 'disableSerialConsoleLog'].filter((name) => options?.[name] === true);
  const obsolete = set('obsoleteCPUModels');
  const models = [...OBSOLETE_MODELS.flatMap((model) => [model, `${model}-v1`]), ...(Array.isArray(obsolete) ? obsolete : [])];
  return compact({
    cpuModel: set('defaultCPUModel'),
    defaultRuntimeClass: set('defaultRuntimeClass'),
    evictionStrategy: set('evictionStrategy'),
    ksmConfiguration: set('ksmConfiguration'),
    changedBlockTrackingLabelSelectors: set('changedBlockTracking'),
    liveUpdateConfiguration: set('liveUpdateConfiguration'),
    vmStateStorageClass: set('vmStateStorageClass'),
    instancetype: set('instancetypeConfig'),
    commonInstancetypesDeployment: set('commonInstancetypesDeployment'),
    mediatedDevicesConfiguration: set('mediatedDevicesConfiguration'),
    permittedHostDevices: permittedDevices(fieldsOf(spec, 'permittedHostDevices')),
    tlsConfiguration: undefined,
    virtualMachineOptions: flags.length > 0 ? Object.fromEntries(flags.map((name) => [name, {}])) : undefined,
    obsoleteCPUModels: Object.fromEntries(models.map((model) => [String(model), true])),
    migrations: { ...DEFAULT_MIGRATIONS, ...fieldsOf(spec, 'liveMigrationConfig') },
    network: {
      defaultNetworkInterface: 'masquerade',
      binding: { ...fieldsOf(spec, 'networkBinding'), l2bridge: { domainAttachmentType: 'managedTap', migration: {} } },
    },
    vmRolloutStrategy: 'LiveUpdate',
    developerConfiguration: compact({
      cpuAllocationRatio: set('vmiCPUAllocationRatio') ?? 10,
      memoryOvercommit: set('memoryOvercommit') ?? 100,
      diskVerification: { memoryLimit: '2G' },
      featureGates: featureGates(spec),
      logVerbosity: fieldsOf(spec, 'logVerbosity')?.['kubevirt'],
    }),
  });
}

function featureGates(spec: Fields | undefined): readonly string[] {
  const always = ['CPUManager', 'Snapshot', 'HostDevices', 'KubevirtSeccompProfile', 'HypervStrictCheck'];
  const hotplug = isGateOn(spec, 'declarativeHotplugVolumes') ? 'DeclarativeHotplugVolumes' : 'HotplugVolumes';
  return [...always, hotplug, ...GATES.flatMap(([gate, names]) => (isGateOn(spec, gate) ? names : []))];
}

/** Renames to KubeVirt's fields and drops entries that are disabled. */
function permittedDevices(devices: Fields | undefined): Fields | undefined {
  if (devices === undefined) return undefined;
  const convert = (list: string, rename: (device: Fields) => Fields): readonly Fields[] | undefined => {
    const entries: unknown = devices[list];
    if (!Array.isArray(entries)) return undefined;
    return entries
      .filter(isObject)
      .filter(({ disabled }) => disabled !== true)
      .map((device) => rename(compact({ ...device, disabled: undefined })));
  };
  return compact({
    pciHostDevices: convert('pciHostDevices', ({ pciDeviceSelector, ...device }) => ({
      ...device,
      pciVendorSelector: pciDeviceSelector,
    })),
    usb: convert('usbHostDevices', (device) => device),
    mediatedDevices: convert('mediatedDevices', (device) => device),
  });
}

export function cdiSpec({ metadata, spec }: HyperConverged): Fields {
  const set = (setting: Setting): unknown => settingOf(spec, setting);
  return patched(
    metadata.annotations?.['containerizeddataimporter.kubevirt.io/jsonpatch'],
    compact({
      uninstallStrategy: set('uninstallStrategy') ?? DEFAULT_UNINSTALL,
      certConfig: certificates(spec),
      infra: fieldsOf(spec, 'infra'),
      workload: fieldsOf(spec, 'workloads'),
      config: compact({
        featureGates: ['HonorWaitForFirstConsumer', 'DataVolumeClaimAdoption'],
        filesystemOverhead: set('filesystemOverhead'),
        scratchSpaceStorageClass: set('scratchSpaceStorageClass'),
        insecureRegistries: set('insecureRegistries'),
        podResourceRequirements: set('storageWorkloads'),
        tlsSecurityProfile: set('tlsSecurityProfile'),
        logVerbosity: fieldsOf(spec, 'logVerbosity')?.['cdi'],
      }),
    }),
  );
}

export function sspSpec({ metadata, spec }: HyperConverged): Fields {
  const set = (setting: Setting): unknown => settingOf(spec, setting);
  const templates = set('dataImportCronTemplates');
  return patched(
    metadata.annotations?.['ssp.kubevirt.io/jsonpatch'],
    compact({
      commonTemplates: {
        namespace: set('commonTemplatesNamespace') ?? 'openshift',
        ...(Array.isArray(templates) && templates.length > 0 && { dataImportCronTemplates: templates as readonly unknown[] }),
      },
      templateValidator: compact({ replicas: 2, placement: fieldsOf(spec, 'infra') }),
      tokenGenerationService: set('deployVmConsoleProxy') === true ? { enabled: true } : undefined,
      tlsSecurityProfile: set('tlsSecurityProfile'),
    }),
  );
}

function certificates(spec: Fields | undefined): Fields {
  const config = fieldsOf(spec, 'certConfig');
  const part = (name: string, defaults: Fields): Fields => ({ ...defaults, ...(isObject(config?.[name]) ? config[name] : {}) });
  return { ca: part('ca', DEFAULT_CA), server: part('server', DEFAULT_SERVER) };
}

/** Without control-plane nodes the infrastructure may run anywhere, which must be said explicitly. */
function infraPlacement(spec: Fields | undefined, { controlPlaneNodes }: Topology): Fields | undefined {
  return fieldsOf(spec, 'infra') ?? (controlPlaneNodes === 0 ? {} : undefined);
}

/** Thrown for a jsonpatch annotation that cannot be applied. */
export class InvalidJsonPatchError extends Error {}

function patched(annotation: string | undefined, spec: Fields): Fields {
  if (!annotation) return spec;
  try {
    const operations: unknown = JSON.parse(annotation);
    if (
      !Array.isArray(operations) ||
      !operations.every((operation) => isObject(operation) && String(operation['path']).startsWith('/spec/'))
    ) {
      throw new Error('can only modify spec fields');
    }
    const result = applyJsonPatch({ spec }, operations);
    return isObject(result) && isObject(result['spec']) ? result['spec'] : spec;
  } catch (error) {
    throw new InvalidJsonPatchError(`invalid jsonPatch: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}
