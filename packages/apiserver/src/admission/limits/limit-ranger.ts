import type { core } from '@slipway/api';
import {
  type Quantity,
  type UnstructuredObject,
  addQuantities,
  compareQuantities,
  forbidden,
  isObject,
  parseQuantity,
} from '@slipway/apimachinery';
import type { AdmissionRequest } from '@slipway/runtime';
import type { Registry } from '../../registry/registry.ts';
import type { AdmissionPlugin } from '../admission-chain.ts';
import { type Amounts, limitFindings } from './limit-checks.ts';

interface Container {
  name: string;
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
}
interface PodSpec {
  containers?: Container[];
  initContainers?: Container[];
}

const ANNOTATION = 'kubernetes.io/limit-ranger';

const isPod = ({ group, resource, subresource, operation }: AdmissionRequest): boolean =>
  group === '' && resource === 'pods' && subresource === '' && operation === 'CREATE';
const isClaim = ({ group, resource, subresource, operation }: AdmissionRequest): boolean =>
  group === '' && resource === 'persistentvolumeclaims' && subresource === '' && operation !== 'DELETE';

/** Fills and checks the resources of pods and claims by the LimitRanges of their namespace. */
export function limitRangerPlugin(registry: Registry): AdmissionPlugin {
  const itemsOf = (namespace: string): core.LimitRangeItem[] =>
    registry.lookupAll('', 'limitranges', namespace).flatMap(({ spec }) => {
      const limits = isObject(spec) ? spec['limits'] : undefined;
      return Array.isArray(limits) ? (limits as core.LimitRangeItem[]) : []; // validated on write
    });
  return {
    name: 'LimitRanger',
    mutate(object, request) {
      if (!isPod(request)) return;
      const items = itemsOf(request.namespace);
      if (items.length > 0) fillDefaults(object, items);
    },
    validate(request) {
      const { object, namespace } = request;
      if (object === undefined || !(isPod(request) || isClaim(request))) return;
      const items = itemsOf(namespace);
      const findings = items.flatMap((item) => (isClaim(request) ? claimFindings(object, item) : podFindings(object, item)));
      if (findings.length === 0) return;
      const text = findings.length === 1 ? (findings[0] ?? '') : `[${findings.join(', ')}]`;
      throw forbidden({ resource: request.resource, group: '' }, request.name, text);
    },
  };
}

const specOf = (object: UnstructuredObject): PodSpec => (isObject(object['spec']) ? object['spec'] : {}); // decoded by the schema

function fillDefaults(pod: UnstructuredObject, items: readonly core.LimitRangeItem[]): void {
  const limits: Record<string, string> = {};
  const requests: Record<string, string> = {};
  for (const item of items) {
    if (item.type !== 'Container') continue;
    Object.assign(limits, item.default);
    Object.assign(requests, item.defaultRequest);
  }
  const { containers = [], initContainers = [] } = specOf(pod);
  const notes = [
    ...containers.flatMap((container) => fillContainer(container, 'container', requests, limits)),
    ...initContainers.flatMap((container) => fillContainer(container, 'init container', requests, limits)),
  ];
  if (notes.length === 0) return;
  pod.metadata.annotations = { ...pod.metadata.annotations, [ANNOTATION]: `LimitRanger plugin set: ${notes.join('; ')}` };
}

type Texts = Readonly<Record<string, string>>;

function fillContainer(container: Container, word: string, requests: Texts, limits: Texts): string[] {
  const resources = (container.resources ??= {});
  const fill = (field: 'requests' | 'limits', defaults: Texts): string[] => {
    const missing = Object.keys(defaults).filter((name) => resources[field]?.[name] === undefined);
    if (missing.length === 0) return [];
    resources[field] = { ...resources[field], ...Object.fromEntries(missing.map((name) => [name, defaults[name] ?? ''])) };
    return [`${missing.sort().join(', ')} ${field.slice(0, -1)} for ${word} ${container.name}`];
  };
  const setLimits = fill('limits', limits);
  return [...fill('requests', requests), ...setLimits];
}

function podFindings(pod: UnstructuredObject, item: core.LimitRangeItem): string[] {
  const { containers = [], initContainers = [] } = specOf(pod);
  if (item.type === 'Container') {
    return [...containers, ...initContainers].flatMap(({ resources }) =>
      limitFindings(item, resources?.requests ?? {}, resources?.limits ?? {}),
    );
  }
  if (item.type !== 'Pod') return [];
  return limitFindings(item, podTotal(containers, initContainers, 'requests'), podTotal(containers, initContainers, 'limits'));
}

/** All containers together, or the largest init container. Amounts count only where every container names them. */
function podTotal(containers: readonly Container[], init: readonly Container[], field: 'requests' | 'limits'): Amounts {
  const total = new Map<string, Quantity>();
  for (const { resources } of containers) {
    for (const [name, amount] of Object.entries(resources?.[field] ?? {})) {
      const before = total.get(name);
      total.set(name, before === undefined ? parseQuantity(amount) : addQuantities(before, parseQuantity(amount)));
    }
  }
  for (const { resources } of init) {
    for (const [name, amount] of Object.entries(resources?.[field] ?? {})) {
      const own = parseQuantity(amount);
      const before = total.get(name);
      if (before === undefined || compareQuantities(own, before) > 0) total.set(name, own);
    }
  }
  return Object.fromEntries(total);
}

function claimFindings(claim: UnstructuredObject, item: core.LimitRangeItem): string[] {
  if (item.type !== 'PersistentVolumeClaim') return [];
  const resources = isObject(claim['spec']) && isObject(claim['spec']['resources']) ? claim['spec']['resources'] : {};
  const requests = isObject(resources['requests']) ? (resources['requests'] as Amounts) : {}; // validated
  return limitFindings(item, requests, undefined);
}
