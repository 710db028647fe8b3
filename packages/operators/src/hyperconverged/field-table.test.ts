import type { UnstructuredObject } from '@slipway/apimachinery';
import { describe, expect, it } from 'vitest';
import type { Fields, HyperConverged } from '../kinds.ts';
import { convertHyperConverged } from './convert-versions.ts';
import { kubeVirtAnnotations } from './kubevirt-spec.ts';
import { OPERANDS, type Operand } from './operands.ts';
import { valueAt } from './spec-paths.ts';

const topology = {
  installNamespace: 'openshift-cnv',
  version: '1',
  controlPlaneNodes: 3,
  workers: 2,
  controlPlaneArchitectures: ['amd64'],
  workloadArchitectures: ['amd64'],
};

function grouped(spec: object, annotations: Record<string, string> = {}): HyperConverged {
  const flat = { apiVersion: 'hco.kubevirt.io/v1beta1', kind: 'HyperConverged', metadata: { annotations }, spec };
  return convertHyperConverged(flat, 'v1') as unknown as HyperConverged;
}

const asUnstructured = (hco: HyperConverged): UnstructuredObject => hco as unknown as UnstructuredObject; // the same, less typed

function operandSpec(component: Operand['component'], hco: HyperConverged): Fields {
  const operand = OPERANDS.find((each) => each.component === component);
  if (operand === undefined) throw new Error(`no operand ${component}`);
  return { spec: operand.specOf(hco, topology) };
}

const placement = { nodeSelector: { a: 'b' }, tolerations: [{ key: 'virtualization', operator: 'Exists' }] };
const ca = { duration: '72h0m0s', renewBefore: '36h0m0s' };
const server = { duration: '30h0m0s', renewBefore: '15h0m0s' };
const limits = { restClient: { rateLimiter: { tokenBucketRateLimiter: { qps: 100, burst: 200 } } } };
const selector = { matchLabels: { x: 'y' } };
const custom = {
  type: 'Custom',
  custom: { minTLSVersion: 'VersionTLS12', ciphers: ['ECDHE-RSA-AES128-GCM-SHA256', 'AES128-SHA'] },
};

type Row = readonly [
  flat: object,
  component: Operand['component'],
  path: string,
  expected: unknown,
  annotations?: Record<string, string>,
];

/** A field of v1beta1 → where it arrives. */
const TABLE: readonly Row[] = [
  [{ infra: { nodePlacement: placement } }, 'KubeVirt', 'infra.nodePlacement', placement],
  [{ infra: { nodePlacement: placement } }, 'CDI', 'infra', placement],
  [{ infra: { nodePlacement: placement } }, 'NetworkAddonsConfig', 'placementConfiguration.infra', placement],
  [{ infra: { nodePlacement: placement } }, 'SSP', 'templateValidator.placement', placement],
  [{ workloads: { nodePlacement: placement } }, 'KubeVirt', 'workloads.nodePlacement', placement],
  [{ workloads: { nodePlacement: placement } }, 'CDI', 'workload', placement],
  [{ workloads: { nodePlacement: placement } }, 'NetworkAddonsConfig', 'placementConfiguration.workloads', placement],
  [
    { liveMigrationConfig: { parallelMigrationsPerCluster: 9 } },
    'KubeVirt',
    'configuration.migrations.parallelMigrationsPerCluster',
    9,
  ],
  [
    {},
    'KubeVirt',
    'configuration.migrations',
    {
      ...{ parallelMigrationsPerCluster: 5, parallelOutboundMigrationsPerNode: 1, completionTimeoutPerGiB: 20 },
      ...{ progressTimeout: 150, allowAutoConverge: false, allowPostCopy: false, allowWorkloadDisruption: false },
    },
  ],
  [
    {},
    'KubeVirt',
    'workloadUpdateStrategy',
    { workloadUpdateMethods: ['LiveMigrate'], batchEvictionSize: 10, batchEvictionInterval: '1m0s' },
  ],
  [
    { workloadUpdateStrategy: { workloadUpdateMethods: ['Evict'] } },
    'KubeVirt',
    'workloadUpdateStrategy.workloadUpdateMethods',
    ['Evict'],
  ],
  [{ certConfig: { ca, server } }, 'KubeVirt', 'certificateRotateStrategy.selfSigned', { ca, server }],
  [{ certConfig: { ca, server } }, 'CDI', 'certConfig', { ca, server }],
  [
    { certConfig: { ca, server } },
    'NetworkAddonsConfig',
    'selfSignConfiguration',
    {
      ...{ caRotateInterval: '72h0m0s', caOverlapInterval: '36h0m0s' },
      ...{ certRotateInterval: '30h0m0s', certOverlapInterval: '15h0m0s' },
    },
  ],
  [
    {},
    'CDI',
    'certConfig',
    {
      ca: { duration: '48h0m0s', renewBefore: '24h0m0s' },
      server: { duration: '24h0m0s', renewBefore: '12h0m0s' },
    },
  ],
  [{ defaultCPUModel: 'Haswell' }, 'KubeVirt', 'configuration.cpuModel', 'Haswell'],
  [{ defaultRuntimeClass: 'fast' }, 'KubeVirt', 'configuration.defaultRuntimeClass', 'fast'],
  [
    { virtualMachineOptions: { disableFreePageReporting: true } },
    'KubeVirt',
    'configuration.virtualMachineOptions',
    { disableFreePageReporting: {} },
  ],
  [
    { virtualMachineOptions: { disableSerialConsoleLog: true } },
    'KubeVirt',
    'configuration.virtualMachineOptions',
    { disableSerialConsoleLog: {} },
  ],
  [{}, 'KubeVirt', 'configuration.virtualMachineOptions', undefined],
  [{ obsoleteCPUs: { cpuModels: ['Old'], minCPUModel: 'x' } }, 'KubeVirt', 'configuration.obsoleteCPUModels.Old', true],
  [{}, 'KubeVirt', 'configuration.obsoleteCPUModels.Conroe-v1', true],
  [
    {
      permittedHostDevices: {
        pciHostDevices: [
          { pciDeviceSelector: '10DE:1', resourceName: 'r/gpu' },
          { pciDeviceSelector: '10DE:2', resourceName: 'r/off', disabled: true },
        ],
      },
    },
    'KubeVirt',
    'configuration.permittedHostDevices.pciHostDevices',
    [{ pciVendorSelector: '10DE:1', resourceName: 'r/gpu' }],
  ],
  [
    { permittedHostDevices: { usbHostDevices: [{ resourceName: 'r/usb' }] } },
    'KubeVirt',
    'configuration.permittedHostDevices.usb',
    [{ resourceName: 'r/usb' }],
  ],
  [
    { permittedHostDevices: { mediatedDevices: [{ mdevNameSelector: 'GRID', resourceName: 'r/vgpu' }] } },
    'KubeVirt',
    'configuration.permittedHostDevices.mediatedDevices',
    [{ mdevNameSelector: 'GRID', resourceName: 'r/vgpu' }],
  ],
  [
    { mediatedDevicesConfiguration: { mediatedDevicesTypes: ['nvidia-1'] } },
    'KubeVirt',
    'configuration.mediatedDevicesConfiguration',
    { mediatedDeviceTypes: ['nvidia-1'] },
  ],
  [
    { resourceRequirements: { vmiCPUAllocationRatio: 4 } },
    'KubeVirt',
    'configuration.developerConfiguration.cpuAllocationRatio',
    4,
  ],
  [{}, 'KubeVirt', 'configuration.developerConfiguration.cpuAllocationRatio', 10],
  [
    { resourceRequirements: { autoCPULimitNamespaceLabelSelector: selector } },
    'KubeVirt',
    'configuration.autoCPULimitNamespaceLabelSelector',
    selector,
  ],
  [
    { resourceRequirements: { storageWorkloads: { limits: { cpu: '1' } } } },
    'CDI',
    'config.podResourceRequirements',
    { limits: { cpu: '1' } },
  ],
  [{ scratchSpaceStorageClass: 'fast' }, 'CDI', 'config.scratchSpaceStorageClass', 'fast'],
  [{ storageImport: { insecureRegistries: ['r:5000'] } }, 'CDI', 'config.insecureRegistries', ['r:5000']],
  [{ filesystemOverhead: { global: '0.1' } }, 'CDI', 'config.filesystemOverhead', { global: '0.1' }],
  [{ vmStateStorageClass: 'fast' }, 'KubeVirt', 'configuration.vmStateStorageClass', 'fast'],
  [
    { featureGates: { persistentReservation: true } },
    'KubeVirt',
    'configuration.persistentReservationConfiguration',
    { enabled: true },
  ],
  [{}, 'SSP', 'commonTemplates.namespace', 'openshift'],
  [{ commonTemplatesNamespace: 'mine' }, 'SSP', 'commonTemplates.namespace', 'mine'],
  [{ commonBootImageNamespace: 'images' }, 'SSP', 'commonTemplates.dataImportCronTemplates.0.metadata.namespace', 'images'],
  [{ enableCommonBootImageImport: false }, 'SSP', 'commonTemplates.dataImportCronTemplates', []],
  [{ featureGates: { enableMultiArchBootImageImport: true } }, 'SSP', 'enableMultipleArchitectures', true],
  [
    { instancetypeConfig: { referencePolicy: 'expand' } },
    'KubeVirt',
    'configuration.instancetype',
    { referencePolicy: 'expand' },
  ],
  [
    { CommonInstancetypesDeployment: { enabled: false } },
    'KubeVirt',
    'configuration.commonInstancetypesDeployment',
    { enabled: false },
  ],
  [{}, 'KubeVirt', 'uninstallStrategy', 'BlockUninstallIfWorkloadsExist'],
  [{ uninstallStrategy: 'RemoveWorkloads' }, 'KubeVirt', 'uninstallStrategy', 'RemoveWorkloads'],
  [{ uninstallStrategy: 'RemoveWorkloads' }, 'CDI', 'uninstallStrategy', 'RemoveWorkloads'],
  [
    { logVerbosityConfig: { kubevirt: { virtAPI: 5 } } },
    'KubeVirt',
    'configuration.developerConfiguration.logVerbosity',
    { virtAPI: 5 },
  ],
  [{ logVerbosityConfig: { cdi: 3 } }, 'CDI', 'config.logVerbosity', 3],
  [{ deployVmConsoleProxy: true }, 'SSP', 'tokenGenerationService.enabled', true],
  [{}, 'SSP', 'tokenGenerationService.enabled', false],
  [
    {},
    'AAQ',
    'configuration',
    {
      vmiCalculatorConfiguration: { configName: 'DedicatedVirtualResources' },
      allowApplicationAwareClusterResourceQuota: false,
    },
  ],
  [
    { enableApplicationAwareQuota: true, applicationAwareConfig: { vmiCalcConfigName: 'VmiPodUsage' } },
    'AAQ',
    'configuration.vmiCalculatorConfiguration.configName',
    'VmiPodUsage',
  ],
  [
    { applicationAwareConfig: { allowApplicationAwareClusterResourceQuota: true } },
    'AAQ',
    'configuration.allowApplicationAwareClusterResourceQuota',
    true,
  ],
  [{ applicationAwareConfig: { namespaceSelector: selector } }, 'AAQ', 'namespaceSelector', selector],
  [{ infra: { nodePlacement: placement } }, 'AAQ', 'infra', placement],
  [{ workloads: { nodePlacement: placement } }, 'AAQ', 'workload', placement],
  [{ certConfig: { ca, server } }, 'AAQ', 'certConfig', { ca, server }],
  [{ tlsSecurityProfile: { type: 'Modern' } }, 'KubeVirt', 'configuration.tlsConfiguration', { minTLSVersion: 'VersionTLS13' }],
  [
    { tlsSecurityProfile: custom },
    'KubeVirt',
    'configuration.tlsConfiguration',
    {
      minTLSVersion: 'VersionTLS12',
      ciphers: ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256', 'TLS_RSA_WITH_AES_128_CBC_SHA'],
    },
  ],
  [{}, 'KubeVirt', 'configuration.tlsConfiguration.minTLSVersion', 'VersionTLS12'],
  ...(['CDI', 'NetworkAddonsConfig', 'SSP'] as const).map(
    (component): Row => [
      { tlsSecurityProfile: { type: 'Old' } },
      component,
      component === 'CDI' ? 'config.tlsSecurityProfile' : 'tlsSecurityProfile',
      { type: 'Old' },
    ],
  ),
  ...['apiConfiguration', 'webhookConfiguration', 'controllerConfiguration', 'handlerConfiguration'].map(
    (name): Row => [
      { tuningPolicy: 'annotation' },
      'KubeVirt',
      `configuration.${name}`,
      limits,
      { 'hco.kubevirt.io/tuningPolicy': '{"qps":100,"burst":200}' },
    ],
  ),
  [{ evictionStrategy: 'LiveMigrate' }, 'KubeVirt', 'configuration.evictionStrategy', 'LiveMigrate'],
  [
    { ksmConfiguration: { nodeLabelSelector: selector } },
    'KubeVirt',
    'configuration.ksmConfiguration',
    { nodeLabelSelector: selector },
  ],
  [
    { changedBlockTrackingLabelSelectors: { namespaceLabelSelector: selector } },
    'KubeVirt',
    'configuration.changedBlockTrackingLabelSelectors',
    { namespaceLabelSelector: selector },
  ],
  [
    { higherWorkloadDensity: { memoryOvercommitPercentage: 150 } },
    'KubeVirt',
    'configuration.developerConfiguration.memoryOvercommit',
    150,
  ],
  [{ liveUpdateConfiguration: { maxCpuSockets: 8 } }, 'KubeVirt', 'configuration.liveUpdateConfiguration', { maxCpuSockets: 8 }],
  [{ hypervisors: [{ name: 'hyperv-direct' }] }, 'KubeVirt', 'configuration.hypervisors', [{ name: 'hyperv-direct' }]],
  [{ roleAggregationStrategy: 'Manual' }, 'KubeVirt', 'configuration.roleAggregationStrategy', 'Manual'],
  [
    { featureGates: { deployKubeSecondaryDNS: true }, kubeSecondaryDNSNameServerIP: '10.0.0.1' },
    'NetworkAddonsConfig',
    'kubeSecondaryDNS',
    { nameServerIP: '10.0.0.1' },
  ],
  [
    { kubeMacPoolConfiguration: { rangeStart: '02:00:00:00:00:00', rangeEnd: '02:00:00:00:00:ff' } },
    'NetworkAddonsConfig',
    'kubeMacPool.rangeEnd',
    '02:00:00:00:00:ff',
  ],
  [
    { networkBinding: { own: { sidecarImage: 'i' } } },
    'KubeVirt',
    'configuration.network.binding',
    {
      own: { sidecarImage: 'i' },
      l2bridge: { domainAttachmentType: 'managedTap', migration: {} },
    },
  ],
  [{}, 'NetworkAddonsConfig', 'ovs', {}, { deployOVS: 'true' }],
  [{}, 'NetworkAddonsConfig', 'multus', {}],
  [{}, 'KubeVirt', 'configuration.network.defaultNetworkInterface', 'masquerade'],
  [{}, 'KubeVirt', 'configuration.vmRolloutStrategy', 'LiveUpdate'],
  [{}, 'KubeVirt', 'configuration.developerConfiguration.diskVerification.memoryLimit', '2G'],
  [
    {},
    'KubeVirt',
    'configuration.seccompConfiguration.virtualMachineInstanceProfile.customProfile.localhostProfile',
    'kubevirt/kubevirt.json',
  ],
  [{}, 'CDI', 'config.featureGates', ['HonorWaitForFirstConsumer', 'DataVolumeClaimAdoption']],
  [{}, 'SSP', 'templateValidator.replicas', 2],
];

const ROWS = TABLE.map(([flat, component, path, expected, annotations]) => ({ flat, component, path, expected, annotations }));

/** Lists by index, too. */
function read(object: unknown, path: string): unknown {
  const at = /^(.*?)\.0\.(.*)$/.exec(path);
  if (at === null) return valueAt(object, path);
  const list = valueAt(object, at[1] ?? '');
  return Array.isArray(list) ? valueAt(list[0], at[2] ?? '') : undefined;
}

describe('the fields of a HyperConverged', () => {
  it.each(ROWS)('$flat set $component $path', ({ flat, component, path, expected, annotations }) => {
    expect(read(operandSpec(component, grouped(flat, annotations)), `spec.${path}`)).toEqual(expected);
  });

  it.each(ROWS)('$flat survives a conversion to v1 and back', ({ flat }) => {
    expect(convertHyperConverged(asUnstructured(grouped(flat)), 'v1beta1')['spec']).toEqual(flat);
  });

  it.each([
    ['decentralizedLiveMigration', 'DecentralizedLiveMigration', true],
    ['declarativeHotplugVolumes', 'DeclarativeHotplugVolumes', true],
    ['template', 'Template', true],
    ['alignCPUs', 'AlignCPUs', false],
    ['containerPathVolumes', 'ContainerPathVolumes', false],
    ['downwardMetrics', 'DownwardMetrics', false],
    ['IncrementalBackup', 'UtilityVolumes', false],
    ['objectGraph', 'ObjectGraph', false],
  ])('gate %s switches %s of KubeVirt, by default %s', (name, kubeVirtGate, byDefault) => {
    const listOf = (spec: Fields, list = 'featureGates'): unknown =>
      valueAt(
        operandSpec('KubeVirt', { apiVersion: 'hco.kubevirt.io/v1', kind: 'HyperConverged', metadata: {}, spec }),
        `spec.configuration.developerConfiguration.${list}`,
      );
    const contains = byDefault ? expect.arrayContaining([kubeVirtGate]) : expect.not.arrayContaining([kubeVirtGate]);
    expect(listOf({})).toEqual(contains);
    expect(listOf({ featureGates: [{ name, state: 'Enabled' }] })).toEqual(expect.arrayContaining([kubeVirtGate]));
    expect(listOf({ featureGates: [{ name, state: 'Disabled' }] })).not.toEqual(expect.arrayContaining([kubeVirtGate]));
  });

  it('always and conditionally sets other gates, and lists the rest as disabled', () => {
    const gates = (annotations: Record<string, string>, list: string): unknown =>
      valueAt(operandSpec('KubeVirt', grouped({}, annotations)), `spec.configuration.developerConfiguration.${list}`);
    const always = ['CPUManager', 'Snapshot', 'HostDevices', 'KubevirtSeccompProfile', 'HypervStrictCheck'];
    expect(gates({}, 'featureGates')).toEqual([...always, 'DeclarativeHotplugVolumes', 'DecentralizedLiveMigration', 'Template']);
    expect(gates({}, 'disabledFeatureGates')).toEqual(expect.arrayContaining(['PasstBinding', 'ImageVolume', 'RebootPolicy']));
    expect(gates({}, 'disabledFeatureGates')).not.toEqual(expect.arrayContaining(['Template']));
    expect(gates({ 'hco.kubevirt.io/deployPasstNetworkBinding': 'true' }, 'featureGates')).toContain('PasstBinding');
    expect(gates({ 'hco.kubevirt.io/deployAIE': 'true' }, 'featureGates')).toContain('IOMMUFD');
    expect(kubeVirtAnnotations(grouped({ featureGates: { alignCPUs: true } }))).toEqual({
      'alpha.kubevirt.io/EmulatorThreadCompleteToEvenParity': '',
    });
  });

  it('follow the topology in the infrastructure of KubeVirt', () => {
    const kubevirt = OPERANDS[0];
    const infra = (controlPlaneNodes: number, workers: number) =>
      kubevirt?.specOf(grouped({}), { ...topology, controlPlaneNodes, workers })['infra'];
    expect([infra(3, 0), infra(1, 1), infra(0, 1), infra(0, 2)]).toEqual([
      {},
      { replicas: 1 },
      { nodePlacement: {}, replicas: 1 },
      { nodePlacement: {} },
    ]);
  });
});
