import { type UnstructuredObject, cloneJson, isObject } from '@slipway/apimachinery';

type Json = Record<string, unknown>;

/** Where a field of `v1beta1` is in `v1`. Parts of a field come before the field. */
const MOVES: readonly (readonly [v1beta1: string, v1: string])[] = [
  ['infra.nodePlacement', 'deployment.nodePlacements.infra'],
  ['workloads.nodePlacement', 'deployment.nodePlacements.workload'],
  ['liveMigrationConfig', 'virtualization.liveMigrationConfig'],
  ['workloadUpdateStrategy', 'virtualization.workloadUpdateStrategy'],
  ['certConfig', 'security.certConfig'],
  ['tlsSecurityProfile', 'security.tlsSecurityProfile'],
  ['defaultCPUModel', 'virtualization.virtualMachineOptions.defaultCPUModel'],
  ['defaultRuntimeClass', 'virtualization.virtualMachineOptions.defaultRuntimeClass'],
  ['virtualMachineOptions', 'virtualization.virtualMachineOptions'],
  ['obsoleteCPUs.cpuModels', 'virtualization.obsoleteCPUModels'],
  ['permittedHostDevices', 'virtualization.permittedHostDevices'],
  ['mediatedDevicesConfiguration', 'virtualization.mediatedDevicesConfiguration'],
  ['resourceRequirements.vmiCPUAllocationRatio', 'virtualization.vmiCPUAllocationRatio'],
  ['resourceRequirements.autoCPULimitNamespaceLabelSelector', 'virtualization.autoCPULimitNamespaceLabelSelector'],
  ['resourceRequirements.storageWorkloads', 'storage.workloadResourceRequirements'],
  ['scratchSpaceStorageClass', 'storage.scratchSpaceStorageClass'],
  ['storageImport', 'storage.storageImport'],
  ['filesystemOverhead', 'storage.filesystemOverhead'],
  ['vmStateStorageClass', 'storage.vmStateStorageClass'],
  ['featureGates.persistentReservation', 'storage.persistentReservationConfiguration.enabled'],
  ['featureGates.enableMultiArchBootImageImport', 'workloadSources.enableMultiArchBootImageImport'],
  ['commonTemplatesNamespace', 'workloadSources.commonTemplatesNamespace'],
  ['commonBootImageNamespace', 'workloadSources.commonBootImageNamespace'],
  ['enableCommonBootImageImport', 'workloadSources.enableCommonBootImageImport'],
  ['dataImportCronTemplates', 'workloadSources.dataImportCronTemplates'],
  ['instancetypeConfig', 'workloadSources.instancetypeConfig'],
  ['CommonInstancetypesDeployment', 'workloadSources.commonInstancetypesDeployment'],
  ['uninstallStrategy', 'deployment.uninstallStrategy'],
  ['logVerbosityConfig', 'deployment.logVerbosityConfig'],
  ['enableApplicationAwareQuota', 'deployment.applicationAwareConfig.enable'],
  ['applicationAwareConfig', 'deployment.applicationAwareConfig'],
  ['deployVmConsoleProxy', 'deployment.deployVmConsoleProxy'],
  ['tuningPolicy', 'virtualization.tuningPolicy'],
  ['evictionStrategy', 'virtualization.evictionStrategy'],
  ['ksmConfiguration', 'virtualization.ksmConfiguration'],
  ['changedBlockTrackingLabelSelectors', 'virtualization.changedBlockTrackingLabelSelectors'],
  ['higherWorkloadDensity', 'virtualization.higherWorkloadDensity'],
  ['liveUpdateConfiguration', 'virtualization.liveUpdateConfiguration'],
  ['hypervisors', 'virtualization.hypervisors'],
  ['roleAggregationStrategy', 'virtualization.roleAggregationStrategy'],
  ['kubeSecondaryDNSNameServerIP', 'networking.kubeSecondaryDNSNameServerIP'],
  ['kubeMacPoolConfiguration', 'networking.kubeMacPoolConfiguration'],
  ['networkBinding', 'networking.networkBinding'],
];

/** Gates that `v1beta1` has as booleans and that are still gates in `v1`. */
const SHARED_GATES = [
  ...['decentralizedLiveMigration', 'declarativeHotplugVolumes', 'alignCPUs', 'containerPathVolumes'],
  ...['deployKubeSecondaryDNS', 'downwardMetrics', 'incrementalBackup', 'objectGraph'],
];
/** Carries what only `v1` knows through a read and write in `v1beta1`. */
const CARRIER = 'hco.kubevirt.io/v1-only-fields';
const CARRIED: readonly (readonly [key: string, v1: string])[] = [
  ['deployNetworkResourcesInjector', 'deployment.deployNetworkResourcesInjector'],
  ['mdevConfigEnable', 'virtualization.mediatedDevicesConfiguration.enabled'],
  ['observability', 'observability'],
];

const GROUP = 'hco.kubevirt.io';

/** A HyperConverged in another version; fields that the other one has no place for are dropped. `object` stays as it is. */
export function convertHyperConverged(object: UnstructuredObject, version: string): UnstructuredObject {
  const next = cloneJson(object);
  const spec = isObject(next['spec']) ? next['spec'] : {};
  if (version === 'v1') groupFields(next, spec);
  else if (version === 'v1beta1') flattenFields(next, spec);
  if (next['spec'] !== undefined || Object.keys(spec).length > 0) next['spec'] = spec;
  next.apiVersion = `${GROUP}/${version}`;
  return next;
}

/** To `v1`. A spec that is grouped already stays as it is. */
function groupFields(object: UnstructuredObject, spec: Json): void {
  const { featureGates } = spec;
  const flags = isObject(featureGates) ? featureGates : undefined;
  if (flags?.['disableMDevConfiguration'] === true) put(spec, 'virtualization.mediatedDevicesConfiguration.enabled', false);
  for (const [flat, grouped] of MOVES) override(spec, flat, grouped);
  const carried = takeCarrier(object);
  for (const [key, path] of CARRIED)
    if (carried[key] !== undefined && read(spec, path) === undefined) put(spec, path, carried[key]);
  const gates = Array.isArray(featureGates) ? (featureGates as unknown[]) : gatesOf(flags ?? {});
  const others = Array.isArray(carried['featureGates']) ? (carried['featureGates'] as unknown[]) : [];
  const all = [...gates, ...others];
  if (all.length > 0) spec['featureGates'] = all;
  else if (!Array.isArray(featureGates)) delete spec['featureGates'];
}

const gatesOf = (flags: Json): Json[] =>
  SHARED_GATES.filter((name) => typeof flags[name] === 'boolean').map((name) => ({
    name,
    state: flags[name] === true ? 'Enabled' : 'Disabled',
  }));

/** To `v1beta1`. */
function flattenFields(object: UnstructuredObject, spec: Json): void {
  const carried: Json = {};
  for (const [key, path] of CARRIED) {
    const value = take(spec, path);
    if (value !== undefined) carried[key] = value;
  }
  const gates = (Array.isArray(spec['featureGates']) ? (spec['featureGates'] as unknown[]) : []).filter(isObject);
  const flags: Json = isObject(spec['featureGates']) ? spec['featureGates'] : {};
  const isShared = ({ name }: Json): boolean => sharedName(name) !== undefined;
  for (const gate of gates.filter(isShared)) flags[sharedName(gate['name']) ?? ''] = gate['state'] !== 'Disabled';
  const own = gates.filter((gate) => !isShared(gate));
  if (own.length > 0) carried['featureGates'] = own;
  if (Object.keys(flags).length > 0) spec['featureGates'] = flags;
  else delete spec['featureGates'];
  for (const [flat, grouped] of MOVES) move(spec, grouped, flat);
  if (Object.keys(carried).length === 0) return;
  object.metadata.annotations = { ...object.metadata.annotations, [CARRIER]: JSON.stringify(carried) };
}

/** Names of gates are compared without case. */
const sharedName = (name: unknown): string | undefined =>
  typeof name === 'string' ? SHARED_GATES.find((known) => known.toLowerCase() === name.toLowerCase()) : undefined;

function takeCarrier({ metadata }: UnstructuredObject): Json {
  const text = metadata.annotations?.[CARRIER];
  if (text === undefined) return {};
  const { [CARRIER]: _taken, ...rest } = metadata.annotations ?? {};
  if (Object.keys(rest).length > 0) metadata.annotations = rest;
  else delete metadata.annotations;
  try {
    const carried: unknown = JSON.parse(text);
    return isObject(carried) ? carried : {};
  } catch {
    return {}; // somebody wrote into it; what it carried is lost
  }
}

const read = (object: Json, path: string): unknown =>
  path.split('.').reduce<unknown>((value, name) => (isObject(value) ? value[name] : undefined), object);

/** Maps are merged with what is there already: a part may have come first. */
function put(object: Json, path: string, value: unknown): void {
  const names = path.split('.');
  const last = names.pop() ?? '';
  let target = object;
  for (const name of names) {
    if (!isObject(target[name])) target[name] = {};
    target = target[name] as Json; // made above
  }
  const before = target[last];
  target[last] = isObject(before) && isObject(value) ? { ...value, ...before } : value;
}

/** Removes and gives a value; maps on the way that become empty go, too. */
function take(object: Json, path: string): unknown {
  const dot = path.indexOf('.');
  if (dot < 0) {
    const value = object[path];
    delete object[path];
    return value;
  }
  const inner = object[path.slice(0, dot)];
  if (!isObject(inner)) return undefined;
  const value = take(inner, path.slice(dot + 1));
  if (value !== undefined && Object.keys(inner).length === 0) delete object[path.slice(0, dot)];
  return value;
}

function move(spec: Json, from: string, to: string): void {
  const value = take(spec, from);
  if (value !== undefined && (isObject(value) || read(spec, to) === undefined)) put(spec, to, value);
}

/** A flat field beside the grouped one was written later: what is read has none. */
function override(spec: Json, from: string, to: string): void {
  const value = take(spec, from);
  if (value === undefined) return;
  const before = read(spec, to);
  put(spec, to, undefined);
  put(spec, to, isObject(before) && isObject(value) ? { ...before, ...value } : value);
}
