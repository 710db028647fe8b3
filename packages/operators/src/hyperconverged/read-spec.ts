import { isObject, type ResourceKind } from '@slipway/apimachinery';
import { type Fields, type HyperConverged, HyperConvergedKind } from '../kinds.ts';

/** Where a setting is: its path in `v1`, and in `v1beta1` when that differs by more than the grouping. */
interface Place {
  readonly v1: string;
  readonly v1beta1?: string;
}

const at = (v1: string, v1beta1?: string): Place => ({ v1, ...(v1beta1 !== undefined && { v1beta1 }) });

/** Settings of a HyperConverged by one name, whichever version they were written in. */
const PLACES = {
  infra: at('deployment.nodePlacements.infra', 'infra.nodePlacement'),
  workloads: at('deployment.nodePlacements.workload', 'workloads.nodePlacement'),
  uninstallStrategy: at('deployment.uninstallStrategy'),
  logVerbosity: at('deployment.logVerbosityConfig', 'logVerbosityConfig'),
  deployVmConsoleProxy: at('deployment.deployVmConsoleProxy'),
  certConfig: at('security.certConfig'),
  tlsSecurityProfile: at('security.tlsSecurityProfile'),
  liveMigrationConfig: at('virtualization.liveMigrationConfig'),
  workloadUpdateStrategy: at('virtualization.workloadUpdateStrategy'),
  defaultCPUModel: at('virtualization.virtualMachineOptions.defaultCPUModel', 'defaultCPUModel'),
  defaultRuntimeClass: at('virtualization.virtualMachineOptions.defaultRuntimeClass', 'defaultRuntimeClass'),
  virtualMachineOptions: at('virtualization.virtualMachineOptions'),
  obsoleteCPUModels: at('virtualization.obsoleteCPUModels', 'obsoleteCPUs.cpuModels'),
  permittedHostDevices: at('virtualization.permittedHostDevices'),
  mediatedDevicesConfiguration: at('virtualization.mediatedDevicesConfiguration'),
  vmiCPUAllocationRatio: at('virtualization.vmiCPUAllocationRatio', 'resourceRequirements.vmiCPUAllocationRatio'),
  evictionStrategy: at('virtualization.evictionStrategy'),
  ksmConfiguration: at('virtualization.ksmConfiguration'),
  changedBlockTracking: at('virtualization.changedBlockTrackingLabelSelectors', 'changedBlockTrackingLabelSelectors'),
  memoryOvercommit: at(
    'virtualization.higherWorkloadDensity.memoryOvercommitPercentage',
    'higherWorkloadDensity.memoryOvercommitPercentage',
  ),
  liveUpdateConfiguration: at('virtualization.liveUpdateConfiguration'),
  networkBinding: at('networking.networkBinding'),
  vmStateStorageClass: at('storage.vmStateStorageClass'),
  scratchSpaceStorageClass: at('storage.scratchSpaceStorageClass'),
  filesystemOverhead: at('storage.filesystemOverhead'),
  insecureRegistries: at('storage.storageImport.insecureRegistries', 'storageImport.insecureRegistries'),
  storageWorkloads: at('storage.workloadResourceRequirements', 'resourceRequirements.storageWorkloads'),
  commonTemplatesNamespace: at('workloadSources.commonTemplatesNamespace'),
  commonBootImageNamespace: at('workloadSources.commonBootImageNamespace'),
  dataImportCronTemplates: at('workloadSources.dataImportCronTemplates'),
  instancetypeConfig: at('workloadSources.instancetypeConfig'),
  commonInstancetypesDeployment: at('workloadSources.commonInstancetypesDeployment', 'CommonInstancetypesDeployment'),
  featureGates: at('featureGates'),
} as const;

export type Setting = keyof typeof PLACES;

/** A setting as it was written, or undefined. */
export function settingOf(spec: Fields | undefined, setting: Setting): unknown {
  const { v1, v1beta1 = v1.slice(v1.lastIndexOf('.') + 1) }: Place = PLACES[setting];
  return valueAt(spec, v1) ?? valueAt(spec, v1beta1);
}

export function fieldsOf(spec: Fields | undefined, setting: Setting): Fields | undefined {
  const value = settingOf(spec, setting);
  return isObject(value) ? value : undefined;
}

function valueAt(spec: Fields | undefined, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => (isObject(value) ? value[name] : undefined), spec);
}

/** Gates that are on unless switched off. */
const BETA_GATES = new Set(['decentralizedlivemigration', 'declarativehotplugvolumes', 'template']);

/** Whether a HyperConverged feature gate is on; names are compared without case. */
export function isGateOn(spec: Fields | undefined, gate: string): boolean {
  const gates = settingOf(spec, 'featureGates');
  const wanted = gate.toLowerCase();
  if (Array.isArray(gates)) {
    const entries: readonly unknown[] = gates;
    const entry = entries.filter(isObject).find(({ name }) => typeof name === 'string' && name.toLowerCase() === wanted);
    if (entry) return entry['state'] !== 'Disabled';
  } else if (isObject(gates)) {
    const entry = Object.entries(gates).find(([name]) => name.toLowerCase() === wanted);
    if (typeof entry?.[1] === 'boolean') return entry[1];
  }
  return BETA_GATES.has(wanted);
}

const GROUPS = new Set(['deployment', 'security', 'virtualization', 'networking', 'storage', 'workloadSources', 'observability']);

/** The version an object was written in, judged by its fields: the server stores them as they came, and each version allows its own. */
export function writtenKind({ spec = {} }: HyperConverged): ResourceKind<HyperConverged> {
  const isFlat = Object.entries(spec).some(([field, value]) =>
    field === 'featureGates' ? !Array.isArray(value) : !GROUPS.has(field),
  );
  return isFlat ? { ...HyperConvergedKind, version: 'v1beta1' } : HyperConvergedKind;
}
