/** Life-cycle stage of a KubeVirt feature gate: GA is always on, Beta on and Alpha off unless the configuration says else. */
export type FeatureGateStage = 'GA' | 'Beta' | 'Alpha' | 'Deprecated' | 'Discontinued';

const GATES_BY_STAGE: Readonly<Record<FeatureGateStage, string>> = {
  GA: [
    'LiveMigration SRIOVLiveMigration NonRoot PSA CPUNodeDiscovery NUMA GPU VMLiveUpdateFeatures',
    'CommonInstancetypesDeploymentGate HotplugNICs BochsDisplayForEFIGuests NetworkBindingPlugins',
    'DynamicPodInterfaceNaming VolumesUpdateStrategy VolumeMigration DisableCustomSELinuxPolicy',
    'AutoResourceLimitsGate ClusterProfiler VMPersistentState VMExport PersistentReservation',
    'InstancetypeReferencePolicy EnableVirtioFsConfigVolumes ExpandDisks PanicDevices LiveUpdateNADRef VideoConfig',
    'SecureExecution MigrationPriorityQueue VmiMemoryOverheadReport LibvirtHooksServerAndClient',
  ].join(' '),
  Beta: [
    'ImageVolume Snapshot WorkloadEncryptionSEV KubevirtSeccompProfile NodeRestriction GPUsWithDRA',
    'HostDevicesWithDRA DecentralizedLiveMigration DeclarativeHotplugVolumes PasstBinding',
    'PodSecondaryInterfaceNamingUpgrade ExternalNetResourceInjection RebootPolicy Template OptOutRoleAggregation',
  ].join(' '),
  Alpha: [
    'CPUManager ExperimentalIgnitionSupport HypervStrictCheck Sidecar HostDevices HostDisk DownwardMetrics Root',
    'WorkloadEncryptionTDX VSOCK AlignCPUs EnableVirtioFsStorageVolumes PCINUMAAwareTopology NetworkDevicesWithDRA',
    'ObjectGraph UtilityVolumes ConfigurableHypervisor IncrementalBackup ContainerPathVolumes',
    'ReservedOverheadMemlock VGPULiveMigration VMStatsCollector OCIExport Plugins GraceIOVirtualization IOMMUFD',
    'FirmwareAutoSelection MigrationStallDetection MigrationDowntimeTuning CrossArchitectureVirtualization',
    'PortRangesSpec',
  ].join(' '),
  Deprecated: 'HotplugVolumes DockerSELinuxMCSWorkaround MultiArchitecture DisableMDEVConfiguration',
  Discontinued: 'Passt Macvtap PasstIPStackMigration ExperimentalVirtiofsSupport',
};

/** Every known gate and its stage. */
export const featureGates: ReadonlyMap<string, FeatureGateStage> = new Map(
  Object.entries(GATES_BY_STAGE).flatMap(([stage, names]) =>
    // keys of the table above
    names.split(' ').map((name) => [name, stage as FeatureGateStage] as const),
  ),
);

/** `configuration.developerConfiguration` of the KubeVirt object, as far as gates go. */
export interface FeatureGateSettings {
  readonly featureGates?: readonly string[];
  readonly disabledFeatureGates?: readonly string[];
}

/** GA wins, then what the configuration lists, then the stage's own default. Unknown gates are off. */
export function isFeatureEnabled(gate: string, settings: FeatureGateSettings | undefined): boolean {
  const stage = featureGates.get(gate);
  if (stage === 'GA') return true;
  if (stage === undefined || stage === 'Discontinued') return false;
  if (settings?.featureGates?.includes(gate)) return true;
  if (settings?.disabledFeatureGates?.includes(gate)) return false;
  return stage === 'Beta';
}
