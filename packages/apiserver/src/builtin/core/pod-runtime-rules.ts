import { isIP } from 'node:net';
import type { core } from '@slipway/api';
import {
  type FieldError,
  checkDns1123Label,
  checkDns1123Subdomain,
  checkPortName,
  checkPortNumber,
  forbiddenField,
  invalidValue,
  requiredValue,
  unsupportedValue,
} from '@slipway/apimachinery';
import type { Container, PodSpec } from './pod-defaults.ts';

const MAX_ID = 2 ** 31 - 1;

/** Findings in names, addresses and users of a pod. */
export function validatePodIdentity(spec: Partial<PodSpec>, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['hostname', 'subdomain'] as const) {
    const value = spec[field];
    if (value) for (const text of checkDns1123Label(value)) errors.push(invalidValue(`${path}.${field}`, value, text));
  }
  (spec.hostAliases ?? []).forEach(({ ip = '', hostnames = [] }, index) => {
    const place = `${path}.hostAliases[${index}]`;
    if (isIP(ip) === 0) errors.push(invalidValue(`${place}.ip`, ip, 'must be valid IP address'));
    for (const name of hostnames)
      for (const text of checkDns1123Subdomain(name)) errors.push(invalidValue(`${place}.hostnames`, name, text));
  });
  if (spec.dnsPolicy === 'None' && spec.dnsConfig === undefined) {
    errors.push(requiredValue(`${path}.dnsConfig`, 'must provide `dnsConfig` when `dnsPolicy` is None'));
  } else if (spec.dnsPolicy === 'None' && (spec.dnsConfig?.nameservers ?? []).length === 0) {
    const text = 'must provide at least one DNS nameserver when `dnsPolicy` is None';
    errors.push(requiredValue(`${path}.dnsConfig.nameservers`, text));
  }
  const { securityContext = {} } = spec;
  errors.push(...validateIds(securityContext, ['fsGroup', 'runAsUser', 'runAsGroup'], `${path}.securityContext`));
  return errors;
}

function validateIds(context: object, fields: readonly string[], path: string): FieldError[] {
  const values = context as Readonly<Record<string, unknown>>; // a security context by schema
  return fields.flatMap((field) => {
    const value = values[field];
    const isFine = typeof value !== 'number' || (value >= 0 && value <= MAX_ID);
    return isFine ? [] : [invalidValue(`${path}.${field}`, value, `must be between 0 and ${MAX_ID}, inclusive`)];
  });
}

/** Findings in how a container is watched and what it may do. */
export function validateContainerRuntime(container: Container, path: string, isInit: boolean): FieldError[] {
  const { livenessProbe, readinessProbe, startupProbe, lifecycle, securityContext } = container;
  const errors: FieldError[] = [];
  if (isInit) {
    for (const field of ['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe'] as const) {
      if (container[field] !== undefined) errors.push(forbiddenField(`${path}.${field}`, 'may not be set for init containers'));
    }
  } else {
    if (livenessProbe) errors.push(...validateProbe(livenessProbe, `${path}.livenessProbe`, true));
    if (readinessProbe) errors.push(...validateProbe(readinessProbe, `${path}.readinessProbe`, false));
    if (startupProbe) errors.push(...validateProbe(startupProbe, `${path}.startupProbe`, true));
    for (const hook of ['postStart', 'preStop'] as const) {
      const handler = lifecycle?.[hook];
      if (handler) errors.push(...validateHandler(handler, `${path}.lifecycle.${hook}`));
    }
  }
  if (securityContext === undefined) return errors;
  const place = `${path}.securityContext`;
  errors.push(...validateIds(securityContext, ['runAsUser', 'runAsGroup'], place));
  if (securityContext.privileged === true && securityContext.allowPrivilegeEscalation === false) {
    const text = 'cannot set `allowPrivilegeEscalation` to false and `privileged` to true';
    errors.push(invalidValue(place, { ...securityContext }, text));
  }
  return errors;
}

const PROBE_NUMBERS = ['initialDelaySeconds', 'timeoutSeconds', 'periodSeconds', 'successThreshold', 'failureThreshold'] as const;

function validateProbe(probe: core.Probe, path: string, oneSuccess: boolean): FieldError[] {
  const errors = validateHandler(probe, path);
  for (const field of PROBE_NUMBERS) {
    const value = probe[field];
    if (value !== undefined && value < 0)
      errors.push(invalidValue(`${path}.${field}`, value, 'must be greater than or equal to 0'));
  }
  const { successThreshold = 1, terminationGracePeriodSeconds: grace } = probe;
  if (grace !== undefined && grace <= 0)
    errors.push(invalidValue(`${path}.terminationGracePeriodSeconds`, grace, 'must be greater than 0'));
  if (oneSuccess && successThreshold !== 1) errors.push(invalidValue(`${path}.successThreshold`, successThreshold, 'must be 1'));
  return errors;
}

type Handler = Pick<core.Probe, 'exec' | 'httpGet' | 'tcpSocket' | 'grpc'>;

/** Exactly one way to ask. */
function validateHandler(handler: Handler, path: string): FieldError[] {
  const kinds = (['exec', 'httpGet', 'tcpSocket', 'grpc'] as const).filter((kind) => handler[kind] !== undefined);
  const [chosen, ...surplus] = kinds;
  const errors = surplus.map((kind) => forbiddenField(`${path}.${kind}`, 'may not specify more than 1 handler type'));
  switch (chosen) {
    case undefined:
      return [requiredValue(path, 'must specify a handler type')];
    case 'exec':
      return (handler.exec?.command ?? []).length > 0 ? errors : [...errors, requiredValue(`${path}.exec.command`)];
    case 'httpGet':
      return [...errors, ...validateHttpGet(handler.httpGet ?? { port: 0 }, `${path}.httpGet`)];
    case 'tcpSocket':
      return [...errors, ...validatePort(handler.tcpSocket?.port ?? 0, `${path}.tcpSocket.port`)];
    default:
      return [...errors, ...validatePort(handler.grpc?.port ?? 0, `${path}.grpc.port`)];
  }
}

function validateHttpGet({ port, scheme }: core.HTTPGetAction, path: string): FieldError[] {
  const errors = validatePort(port, `${path}.port`);
  if (scheme !== undefined && scheme !== 'HTTP' && scheme !== 'HTTPS') {
    errors.push(unsupportedValue(`${path}.scheme`, scheme, ['HTTP', 'HTTPS']));
  }
  return errors;
}

const validatePort = (port: unknown, path: string): FieldError[] =>
  (typeof port === 'number' ? checkPortNumber(port) : checkPortName(String(port))).map((text) => invalidValue(path, port, text));
