import type { core } from '@slipway/api';
import {
  type FieldError,
  checkDns1123Label,
  checkDns1123Subdomain,
  checkEnvVarName,
  checkPortName,
  checkPortNumber,
  checkQualifiedName,
  compareQuantities,
  duplicateValue,
  fieldNotFound,
  forbiddenField,
  invalidValue,
  parseQuantity,
  requiredValue,
  tryParseQuantity,
  unsupportedValue,
} from '@slipway/apimachinery';
import type { Container, PodSpec } from './pod-defaults.ts';
import { validateContainerRuntime, validatePodIdentity } from './pod-runtime-rules.ts';
import { validateScheduling } from './pod-scheduling-rules.ts';

const RESTART_POLICIES = ['Always', 'OnFailure', 'Never'];
const DNS_POLICIES = ['ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None'];
const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'];
const PROTOCOLS = ['SCTP', 'TCP', 'UDP'];
const ENV_FIELD_PATHS = new Set([
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.podIP',
  'status.podIPs',
]);

/** Findings of a pod spec, in a Pod or in a template. */
export function validatePodSpec(given: PodSpec | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const spec: Partial<PodSpec> = given ?? {};
  const { volumes = [], containers = [], initContainers = [], hostNetwork = false } = spec;
  errors.push(...validateVolumes(volumes, `${path}.volumes`));
  if (containers.length === 0) errors.push(requiredValue(`${path}.containers`));
  const context = { volumes: new Set(volumes.map(({ name }) => name)), names: new Set<string>(), hostNetwork };
  const validateAll = (list: readonly Container[], place: string, isInit: boolean): void =>
    list.forEach((container, index) => {
      errors.push(...validateContainer(container, `${place}[${index}]`, context));
      errors.push(...validateContainerRuntime(container, `${place}[${index}]`, isInit));
    });
  validateAll(containers, `${path}.containers`, false);
  validateAll(initContainers, `${path}.initContainers`, true);
  oneOf(spec.restartPolicy, RESTART_POLICIES, `${path}.restartPolicy`, errors);
  oneOf(spec.dnsPolicy, DNS_POLICIES, `${path}.dnsPolicy`, errors);
  if (spec.serviceAccountName) {
    for (const text of checkDns1123Subdomain(spec.serviceAccountName)) {
      errors.push(invalidValue(`${path}.serviceAccountName`, spec.serviceAccountName, text));
    }
  }
  errors.push(...validatePodIdentity(spec, path), ...validateScheduling(spec, path));
  return [...errors, ...validateDeadline(spec.activeDeadlineSeconds, `${path}.activeDeadlineSeconds`)];
}

const MAX_INT32 = 2 ** 31 - 1;

function validateDeadline(seconds: number | undefined, path: string): FieldError[] {
  if (seconds === undefined || (seconds >= 1 && seconds <= MAX_INT32)) return [];
  return [invalidValue(path, seconds, `must be between 1 and ${MAX_INT32}, inclusive`)];
}

export function oneOf(value: string | undefined, supported: readonly string[], path: string, errors: FieldError[]): void {
  if (value !== undefined && !supported.includes(value)) errors.push(unsupportedValue(path, value, supported));
}

function validateVolumes(volumes: readonly core.Volume[], path: string): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  volumes.forEach((volume, index) => {
    const place = `${path}[${index}]`;
    const sources = Object.keys(volume).filter((field) => field !== 'name');
    for (const surplus of sources.filter((_source, position) => position > 0)) {
      errors.push(forbiddenField(`${place}.${surplus}`, 'may not specify more than 1 volume type'));
    }
    if (!volume.name) errors.push(requiredValue(`${place}.name`));
    else {
      for (const text of checkDns1123Label(volume.name)) errors.push(invalidValue(`${place}.name`, volume.name, text));
      if (seen.has(volume.name)) errors.push(duplicateValue(`${place}.name`, volume.name));
    }
    seen.add(volume.name);
    if (volume.persistentVolumeClaim?.claimName === '') errors.push(requiredValue(`${place}.persistentVolumeClaim.claimName`));
    if (volume.hostPath?.path === '') errors.push(requiredValue(`${place}.hostPath.path`));
    if (volume.secret !== undefined && !volume.secret.secretName) errors.push(requiredValue(`${place}.secret.secretName`));
    if (volume.configMap !== undefined && !volume.configMap.name) errors.push(requiredValue(`${place}.configMap.name`));
  });
  return errors;
}

interface ContainerContext {
  readonly volumes: ReadonlySet<string>;
  readonly names: Set<string>;
  readonly hostNetwork: boolean;
}

function validateContainer(container: Container, path: string, context: ContainerContext): FieldError[] {
  const errors: FieldError[] = [];
  if (!container.name) errors.push(requiredValue(`${path}.name`));
  else {
    for (const text of checkDns1123Label(container.name)) errors.push(invalidValue(`${path}.name`, container.name, text));
    if (context.names.has(container.name)) errors.push(duplicateValue(`${path}.name`, container.name));
    context.names.add(container.name);
  }
  if (!container.image) errors.push(requiredValue(`${path}.image`));
  oneOf(container.imagePullPolicy, PULL_POLICIES, `${path}.imagePullPolicy`, errors);
  errors.push(...validatePorts(container.ports ?? [], `${path}.ports`, context.hostNetwork));
  errors.push(...validateEnv(container.env ?? [], `${path}.env`));
  errors.push(...validateMounts(container.volumeMounts ?? [], `${path}.volumeMounts`, context.volumes));
  errors.push(...validateResources(container.resources ?? {}, `${path}.resources`));
  return errors;
}

function validatePorts(ports: readonly core.ContainerPort[], path: string, hostNetwork: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  ports.forEach((port, index) => {
    const place = `${path}[${index}]`;
    if (port.name) {
      const complaints = checkPortName(port.name);
      for (const text of complaints) errors.push(invalidValue(`${place}.name`, port.name, text));
      if (complaints.length === 0 && names.has(port.name)) errors.push(duplicateValue(`${place}.name`, port.name));
      names.add(port.name);
    }
    if (!port.containerPort) errors.push(requiredValue(`${place}.containerPort`));
    else
      for (const text of checkPortNumber(port.containerPort))
        errors.push(invalidValue(`${place}.containerPort`, port.containerPort, text));
    if (port.hostPort)
      for (const text of checkPortNumber(port.hostPort)) errors.push(invalidValue(`${place}.hostPort`, port.hostPort, text));
    if (hostNetwork && port.hostPort !== port.containerPort) {
      errors.push(invalidValue(`${place}.containerPort`, port.containerPort, 'must match `hostPort` when `hostNetwork` is true'));
    }
    oneOf(port.protocol, PROTOCOLS, `${place}.protocol`, errors);
  });
  return errors;
}

function validateEnv(variables: readonly core.EnvVar[], path: string): FieldError[] {
  const errors: FieldError[] = [];
  variables.forEach((variable, index) => {
    const place = `${path}[${index}]`;
    if (!variable.name) errors.push(requiredValue(`${place}.name`));
    else for (const text of checkEnvVarName(variable.name)) errors.push(invalidValue(`${place}.name`, variable.name, text));
    if (variable.valueFrom === undefined) return;
    if (variable.value) errors.push(invalidValue(`${place}.valueFrom`, '', 'may not be specified when `value` is not empty'));
    const fieldPath = variable.valueFrom.fieldRef?.fieldPath;
    if (fieldPath !== undefined && !isEnvFieldPath(fieldPath)) {
      const text = `error converting fieldPath: field label not supported: ${fieldPath}`;
      errors.push(invalidValue(`${place}.valueFrom.fieldRef.fieldPath`, fieldPath, text));
    }
  });
  return errors;
}

const isEnvFieldPath = (path: string): boolean =>
  ENV_FIELD_PATHS.has(path) || /^metadata\.(labels|annotations)\['.+'\]$/.test(path);

function validateMounts(mounts: readonly core.VolumeMount[], path: string, volumes: ReadonlySet<string>): FieldError[] {
  const errors: FieldError[] = [];
  const paths = new Set<string>();
  mounts.forEach((mount, index) => {
    const place = `${path}[${index}]`;
    if (!mount.name) errors.push(requiredValue(`${place}.name`));
    else if (!volumes.has(mount.name)) errors.push(fieldNotFound(`${place}.name`, mount.name));
    if (!mount.mountPath) errors.push(requiredValue(`${place}.mountPath`));
    else if (paths.has(mount.mountPath)) errors.push(invalidValue(`${place}.mountPath`, mount.mountPath, 'must be unique'));
    paths.add(mount.mountPath);
  });
  return errors;
}

const STANDARD_RESOURCES = new Set(['cpu', 'memory', 'ephemeral-storage', 'storage']);
const isHugePages = (name: string): boolean => name.startsWith('hugepages-');
const isStandard = (name: string): boolean => STANDARD_RESOURCES.has(name) || isHugePages(name);

function validateResources({ limits = {}, requests = {} }: core.ResourceRequirements, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [name, amount] of Object.entries(limits)) errors.push(...validateResource(name, amount, `${path}.limits[${name}]`));
  for (const [name, amount] of Object.entries(requests)) {
    errors.push(...validateResource(name, amount, `${path}.requests[${name}]`));
    const limit = limits[name];
    const parsed = tryParseQuantity(amount);
    const bound = tryParseQuantity(limit);
    if (parsed === undefined || bound === undefined) continue;
    if (!isStandard(name) && compareQuantities(parsed, bound) !== 0) {
      errors.push(invalidValue(`${path}.requests`, amount, `must be equal to ${name} limit`));
    } else if (compareQuantities(parsed, bound) > 0) {
      errors.push(invalidValue(`${path}.requests`, amount, `must be less than or equal to ${name} limit`));
    }
  }
  return errors;
}

function validateResource(name: string, amount: string, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const text of checkQualifiedName(name)) errors.push(invalidValue(path, name, text));
  if (!name.includes('/') && !isStandard(name)) {
    errors.push(invalidValue(path, name, 'must be a standard resource type or fully qualified'));
    errors.push(invalidValue(path, name, 'must be a standard resource for containers'));
    return errors;
  }
  const quantity = tryParseQuantity(amount);
  if (quantity === undefined) return errors; // refused while decoding
  if (quantity.nano < 0n) errors.push(invalidValue(path, amount, 'must be greater than or equal to 0'));
  if (name.includes('/') && quantity.nano % parseQuantity('1').nano !== 0n) {
    errors.push({
      type: 'Invalid',
      path,
      detail: `Invalid value: resource.Quantity{s:${JSON.stringify(amount)}}: must be an integer`,
    });
  }
  return errors;
}
