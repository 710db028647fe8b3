import { describe, expect, it } from 'vitest';
import { convertHyperConverged } from './convert-versions.ts';

const hco = (version: string, spec: object, annotations?: Record<string, string>) => ({
  apiVersion: `hco.kubevirt.io/${version}`,
  kind: 'HyperConverged',
  metadata: { name: 'kubevirt-hyperconverged', ...(annotations && { annotations }) },
  spec,
});

const FLAT = {
  infra: { nodePlacement: { nodeSelector: { a: 'b' } } },
  liveMigrationConfig: { parallelMigrationsPerCluster: 3 },
  defaultCPUModel: 'Haswell',
  virtualMachineOptions: { disableSerialConsoleLog: true },
  obsoleteCPUs: { cpuModels: ['486'] },
  resourceRequirements: { vmiCPUAllocationRatio: 4, storageWorkloads: { limits: { cpu: '1' } } },
  storageImport: { insecureRegistries: ['r:5000'] },
  scratchSpaceStorageClass: 'fast',
  commonBootImageNamespace: 'images',
  dataImportCronTemplates: [{ metadata: { name: 'x' } }],
  CommonInstancetypesDeployment: { enabled: false },
  enableApplicationAwareQuota: true,
  applicationAwareConfig: { vmiCalcConfigName: 'Guest' },
  networkBinding: { passt: { sidecarImage: 'i' } },
  featureGates: { alignCPUs: true, declarativeHotplugVolumes: false, persistentReservation: true },
};

const GROUPED = {
  deployment: {
    nodePlacements: { infra: { nodeSelector: { a: 'b' } } },
    applicationAwareConfig: { enable: true, vmiCalcConfigName: 'Guest' },
  },
  virtualization: {
    liveMigrationConfig: { parallelMigrationsPerCluster: 3 },
    virtualMachineOptions: { defaultCPUModel: 'Haswell', disableSerialConsoleLog: true },
    obsoleteCPUModels: ['486'],
    vmiCPUAllocationRatio: 4,
  },
  storage: {
    workloadResourceRequirements: { limits: { cpu: '1' } },
    storageImport: { insecureRegistries: ['r:5000'] },
    scratchSpaceStorageClass: 'fast',
    persistentReservationConfiguration: { enabled: true },
  },
  workloadSources: {
    commonBootImageNamespace: 'images',
    dataImportCronTemplates: [{ metadata: { name: 'x' } }],
    commonInstancetypesDeployment: { enabled: false },
  },
  networking: { networkBinding: { passt: { sidecarImage: 'i' } } },
  featureGates: [
    { name: 'declarativeHotplugVolumes', state: 'Disabled' },
    { name: 'alignCPUs', state: 'Enabled' },
  ],
};

describe('convertHyperConverged', () => {
  it('groups a flat spec, and flattens it again', () => {
    const grouped = convertHyperConverged(hco('v1beta1', FLAT), 'v1');
    expect(grouped).toEqual(hco('v1', GROUPED));
    expect(convertHyperConverged(grouped, 'v1beta1')).toEqual(hco('v1beta1', FLAT));
  });

  it('leaves alone what has the right layout', () => {
    expect(convertHyperConverged(hco('v1', GROUPED), 'v1')).toEqual(hco('v1', GROUPED));
    expect(convertHyperConverged(hco('v1beta1', FLAT), 'v1beta1')).toEqual(hco('v1beta1', FLAT));
  });

  it('carries what only v1 knows through the older version', () => {
    const spec = {
      deployment: { deployNetworkResourcesInjector: false },
      observability: { allowedAlerts: ['none'] },
      featureGates: [{ name: 'template', state: 'Disabled' }],
    };
    const flat = convertHyperConverged(hco('v1', spec), 'v1beta1');
    expect(flat['spec']).toEqual({});
    expect(flat.metadata.annotations).toHaveProperty(['hco.kubevirt.io/v1-only-fields']);
    expect(convertHyperConverged(flat, 'v1')).toEqual(hco('v1', spec));
  });

  it('turns the gate against mediated devices into the field', () => {
    const flat = hco('v1beta1', { featureGates: { disableMDevConfiguration: true } });
    expect(convertHyperConverged(flat, 'v1')['spec']).toEqual({
      virtualization: { mediatedDevicesConfiguration: { enabled: false } },
    });
  });

  it('survives a carrier that somebody wrote into', () => {
    const object = hco('v1beta1', {}, { 'hco.kubevirt.io/v1-only-fields': '{', note: 'x' });
    expect(convertHyperConverged(object, 'v1').metadata.annotations).toEqual({ note: 'x' });
  });
});
