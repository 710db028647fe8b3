import { isIP } from 'node:net';
import type { Service, core } from '@slipway/api';
import {
  type FieldError,
  checkDns1035Label,
  checkDns1123Label,
  checkPortName,
  checkPortNumber,
  deepEqual,
  duplicateValue,
  forbiddenField,
  invalidValue,
  maskTrailingDash,
  requiredValue,
} from '@slipway/apimachinery';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';
import { fillMissing } from '../fill.ts';
import { oneOf } from './pod-validation.ts';
import { type ServiceRanges, ServiceAllocator } from './service-addresses.ts';
import { validateFamilies } from './service-families.ts';

const TYPES = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'];
const AFFINITIES = ['ClientIP', 'None'];
const PROTOCOLS = ['SCTP', 'TCP', 'UDP'];
export const NOT_AN_ADDRESS = 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)';

function defaultService(service: Service): void {
  fillMissing(service, { status: {}, spec: {} });
  fillMissing(service.status ?? {}, { loadBalancer: {} });
  const spec = service.spec ?? {};
  fillMissing(spec, { type: 'ClusterIP', sessionAffinity: 'None' });
  if (spec.sessionAffinity === 'ClientIP') fillMissing(spec, { sessionAffinityConfig: { clientIP: { timeoutSeconds: 10_800 } } });
  for (const port of spec.ports ?? []) {
    fillMissing(port, { protocol: 'TCP', targetPort: port.port });
    // clients written in Go send the zero value of what nobody asked for
    if (port.targetPort === '' || port.targetPort === 0) port.targetPort = port.port;
  }
  if (spec.type !== 'ExternalName') fillMissing(spec, { internalTrafficPolicy: 'Cluster' });
  if (spec.type === 'NodePort' || spec.type === 'LoadBalancer') fillMissing(spec, { externalTrafficPolicy: 'Cluster' });
  if (spec.type === 'LoadBalancer') fillMissing(spec, { allocateLoadBalancerNodePorts: true });
}

function validateService(service: Service): FieldError[] {
  const { spec = {} } = service;
  const errors: FieldError[] = [];
  const ports = spec.ports ?? [];
  const headless = spec.clusterIP === 'None';
  if (ports.length === 0 && !headless && spec.type !== 'ExternalName') errors.push(requiredValue('spec.ports'));
  oneOf(spec.type, TYPES, 'spec.type', errors);
  oneOf(spec.sessionAffinity, AFFINITIES, 'spec.sessionAffinity', errors);
  if (spec.type === 'ExternalName' && !spec.externalName) errors.push(requiredValue('spec.externalName'));
  if (headless && (spec.type === 'NodePort' || spec.type === 'LoadBalancer')) {
    errors.push(invalidValue('spec.clusterIPs[0]', 'None', `may not be set to 'None' for ${spec.type} services`));
  }
  if (spec.clusterIP && !headless && isIP(spec.clusterIP) === 0) {
    errors.push(invalidValue('spec.clusterIPs[0]', spec.clusterIP, NOT_AN_ADDRESS));
  }
  return [...errors, ...validateFamilies(service), ...validatePorts(ports, spec)];
}

function validatePorts(ports: readonly core.ServicePort[], { type }: core.ServiceSpec): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  const numbers = new Set<string>();
  ports.forEach((port, index) => {
    const path = `spec.ports[${index}]`;
    if (!port.name) {
      if (ports.length > 1) errors.push(requiredValue(`${path}.name`));
    } else {
      for (const text of checkDns1123Label(port.name)) errors.push(invalidValue(`${path}.name`, port.name, text));
      if (names.has(port.name)) errors.push(duplicateValue(`${path}.name`, port.name));
      names.add(port.name);
    }
    for (const text of checkPortNumber(port.port)) errors.push(invalidValue(`${path}.port`, port.port, text));
    errors.push(...validateTargetPort(port.targetPort, `${path}.targetPort`));
    oneOf(port.protocol, PROTOCOLS, `${path}.protocol`, errors);
    if (port.nodePort && type === 'ClusterIP') {
      errors.push(forbiddenField(`${path}.nodePort`, "may not be used when `type` is 'ClusterIP'"));
    }
    const key = `${port.protocol}/${port.port}`;
    if (numbers.has(key)) errors.push(duplicateValue(path, { port: port.port, protocol: port.protocol }));
    numbers.add(key);
  });
  return errors;
}

function validateTargetPort(target: number | string | undefined, path: string): FieldError[] {
  if (target === undefined) return [];
  const complaints = typeof target === 'number' ? checkPortNumber(target) : checkPortName(target);
  return complaints.map((text) => invalidValue(path, target, text));
}

/** What an update leaves out stays; a change of type drops what the new type has not. */
function carryOver(next: Service, old: Service): void {
  const [spec, before] = [next.spec, old.spec];
  if (spec === undefined || before === undefined) return;
  if (spec.type === 'ExternalName') {
    for (const field of ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy', 'internalTrafficPolicy'] as const)
      delete spec[field];
    return;
  }
  if (before.type !== 'ExternalName' && before.clusterIP) carryFamilies(spec, before);
  if (spec.type !== 'ClusterIP') carryNodePorts(spec, before);
  else if (before.type !== 'ClusterIP') {
    for (const port of spec.ports ?? []) delete port.nodePort;
    delete spec.externalTrafficPolicy;
  }
}

/** The first address stays; a second one comes and goes with the policy, and an address goes with its family. */
function carryFamilies(spec: core.ServiceSpec, before: core.ServiceSpec): void {
  const { clusterIPs = [before.clusterIP ?? ''], ipFamilies = [], ipFamilyPolicy } = before;
  spec.clusterIP ||= clusterIPs[0] ?? '';
  if (ipFamilyPolicy) spec.ipFamilyPolicy ||= ipFamilyPolicy;
  const isDropped = spec.ipFamilyPolicy === 'SingleStack' && ipFamilyPolicy !== 'SingleStack';
  const kept = isDropped ? 1 : 2;
  // clients send back what they read: of that, only the policy may have changed
  const same = (now: readonly string[] | undefined, old: readonly string[]): boolean =>
    now === undefined || now.length === 0 || deepEqual(now, old);
  if (same(spec.ipFamilies, ipFamilies)) spec.ipFamilies = ipFamilies.slice(0, kept);
  if (same(spec.clusterIPs, clusterIPs)) {
    if (spec.clusterIP === clusterIPs[0]) spec.clusterIPs = clusterIPs.slice(0, spec.ipFamilies?.length || kept);
    else spec.clusterIPs = [spec.clusterIP];
  }
}

function carryNodePorts(spec: core.ServiceSpec, before: core.ServiceSpec): void {
  if (before.healthCheckNodePort) spec.healthCheckNodePort ||= before.healthCheckNodePort;
  for (const port of spec.ports ?? []) {
    if (port.nodePort) continue;
    const same = before.ports?.find((candidate) => candidate.port === port.port && candidate.protocol === port.protocol);
    if (same?.nodePort) port.nodePort = same.nodePort;
  }
}

function externalIp(service: Service): string {
  const { spec, status } = service;
  if (spec?.type === 'ExternalName') return spec.externalName ?? '<none>';
  const ingress = (status?.loadBalancer?.ingress ?? []).map((entry) => entry.ip ?? entry.hostname ?? '').filter(Boolean);
  const addresses = [...ingress, ...(spec?.externalIPs ?? [])];
  if (addresses.length > 0) return addresses.join(',');
  return spec?.type === 'LoadBalancer' ? '<pending>' : '<none>';
}

const portsText = (service: Service): string => {
  const ports = service.spec?.ports ?? [];
  if (ports.length === 0) return '<none>';
  return ports.map(({ port, nodePort, protocol }) => `${nodePort ? `${port}:${nodePort}` : port}/${protocol}`).join(',');
};

export const labelsText = (labels: Readonly<Record<string, string>> | undefined): string => {
  const pairs = Object.entries(labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return pairs.length === 0 ? '<none>' : pairs.map(([key, value]) => `${key}=${value}`).join(',');
};

/** Services take addresses and node ports from `ranges`. */
export function serviceKind(ranges: ServiceRanges): BuiltinKind {
  const allocator = new ServiceAllocator(ranges);
  return {
    kind: 'Service',
    plural: 'services',
    definition: 'core.v1.Service',
    shortNames: ['svc'],
    categories: ['all'],
    status: true,
    custom: [{ name: 'proxy', kind: 'ServiceProxyOptions', verbs: ['create', 'delete', 'get', 'patch', 'update'] }],
    strategy: {
      allowCreateOnUpdate: true,
      deleteReturnsObject: true,
      validateName: (name, prefix) => checkDns1035Label(prefix ? maskTrailingDash(name) : name),
      default: (object) => defaultService(typed<Service>(object)),
      prepareForCreate(object, context) {
        const service = typed<Service>(object);
        service.status = { loadBalancer: {} };
        if (validateService(service).length === 0) allocator.allocate(service, context);
        else if (service.spec?.clusterIP && !service.spec.clusterIPs?.length) service.spec.clusterIPs = [service.spec.clusterIP];
      },
      prepareForUpdate(nextObject, oldObject, context) {
        const [next, old] = [typed<Service>(nextObject), typed<Service>(oldObject)];
        next.status = old.status ?? { loadBalancer: {} };
        carryOver(next, old);
        if (validateService(next).length === 0) allocator.allocate(next, context);
      },
      validate: (object) => validateService(typed<Service>(object)),
      validateUpdate(nextObject, oldObject) {
        const [next, old] = [typed<Service>(nextObject).spec, typed<Service>(oldObject).spec];
        const kept = next?.type === 'ExternalName' || old?.type === 'ExternalName' || !old?.clusterIP;
        if (kept || next?.clusterIPs?.[0] === old?.clusterIPs?.[0]) return [];
        return [invalidValue('spec.clusterIPs[0]', next?.clusterIPs ?? [], 'may not change once set')];
      },
    },
    columns: [
      nameColumn,
      column('Type', (object) => typed<Service>(object).spec?.type ?? ''),
      column('Cluster-IP', (object) => typed<Service>(object).spec?.clusterIP || '<none>'),
      column('External-IP', (object) => externalIp(typed<Service>(object))),
      column('Port(s)', (object) => portsText(typed<Service>(object))),
      ageColumn,
      column('Selector', (object) => labelsText(typed<Service>(object).spec?.selector), { wide: true }),
    ],
  };
}
