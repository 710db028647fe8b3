import type { kubevirt } from '@slipway/api';

const GA = [
  'LiveMigration',
  'SRIOVLiveMigration',
  'NonRoot',
  'PSA',
  'CPUNodeDiscovery',
  'NUMA',
  'GPU',
  'VMLiveUpdateFeatures',
  'CommonInstancetypesDeploymentGate',
  'HotplugNICs',
  'BochsDisplayForEFIGuests',
  'NetworkBindingPlugins',
  'DynamicPodInterfaceNaming',
  'VolumesUpdateStrategy',
  'VolumeMigration',
  'DisableCustomSELinuxPolicy',
  'AutoResourceLimitsGate',
  'ClusterProfiler',
  'VMPersistentState',
  'VMExport',
  'PersistentReservation',
  'InstancetypeReferencePolicy',
  'EnableVirtioFsConfigVolumes',
  'ExpandDisks',
  'PanicDevices',
  'LiveUpdateNADRef',
  'VideoConfig',
  'SecureExecution',
  'MigrationPriorityQueue',
  'VmiMemoryOverheadReport',
  'LibvirtHooksServerAndClient',
] as const; // prettier-ignore
const BETA = [
  'ImageVolume',
  'Snapshot',
  'WorkloadEncryptionSEV',
  'KubevirtSeccompProfile',
  'NodeRestriction',
  'GPUsWithDRA',
  'HostDevicesWithDRA',
  'DecentralizedLiveMigration',
  'DeclarativeHotplugVolumes',
  'PasstBinding',
  'PodSecondaryInterfaceNamingUpgrade',
  'ExternalNetResourceInjection',
  'RebootPolicy',
  'Template',
  'OptOutRoleAggregation',
] as const; // prettier-ignore

/** The cluster's KubeVirt configuration with defaults applied; what every pure function of this package reads. */
export interface ClusterConfig {
  readonly configuration: kubevirt.KubeVirtConfiguration;
  /** Architecture for VMs that name none. */
  readonly defaultArchitecture: string;
  /** Whether a feature gate is in force: GA, then enabled, then disabled, then Beta. */
  readonly hasGate: (gate: string) => boolean;
  /** Ours: only guests whose claims every node reaches count as migratable, as KubeVirt has it. */
  readonly strictLiveMigratable?: boolean;
}

export interface ClusterConfigOptions {
  readonly defaultArchitecture?: string;
  /** Gates that are on without being listed; the default is the GA and Beta gates of the API level. */
  readonly implicitGates?: readonly string[];
  readonly strictLiveMigratable?: boolean;
}

/** Ours: on the KubeVirt object, `true` asks for KubeVirt's condition LiveMigratable word for word. */
export const STRICT_LIVE_MIGRATABLE = 'slipway.dev/strict-live-migratable';

/** Resolves `KubeVirt.spec.configuration`. */
export function clusterConfig(
  configuration: kubevirt.KubeVirtConfiguration = {},
  options: ClusterConfigOptions = {},
): ClusterConfig {
  const developer = configuration.developerConfiguration ?? {};
  const enabled = new Set(developer.featureGates);
  const disabled = new Set(developer.disabledFeatureGates);
  const implicit = options.implicitGates === undefined ? undefined : new Set(options.implicitGates);
  const ga = new Set<string>(GA);
  const beta = new Set<string>(BETA);
  const hasGate = (gate: string): boolean => {
    if (implicit) return enabled.has(gate) || implicit.has(gate);
    return ga.has(gate) || enabled.has(gate) || (!disabled.has(gate) && beta.has(gate));
  };
  return {
    configuration,
    defaultArchitecture: options.defaultArchitecture ?? configuration.architectureConfiguration?.defaultArchitecture ?? 'amd64',
    hasGate,
    strictLiveMigratable: options.strictLiveMigratable ?? false,
  };
}
