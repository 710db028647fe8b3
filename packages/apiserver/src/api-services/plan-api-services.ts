import { type Condition, type UnstructuredObject, findCondition, isObject, setCondition } from '@slipway/apimachinery';
import type { Registry } from '../registry/registry.ts';

export interface GroupVersion {
  readonly group: string;
  readonly version: string;
  /** Comes from a CustomResourceDefinition, so it may go again. */
  readonly isCustom: boolean;
}

/** Label of the objects that the server keeps by itself, and its values: once at start, or as definitions come and go. */
export const AUTOMANAGED = 'kube-aggregator.kubernetes.io/automanaged';

/** Order of groups in discovery as upstream publishes it; custom groups come after all of these. */
const GROUP_PRIORITIES: Readonly<Record<string, number>> = {
  '': 18_000,
  apps: 17_800,
  'events.k8s.io': 17_750,
  'authentication.k8s.io': 17_700,
  'authorization.k8s.io': 17_600,
  autoscaling: 17_500,
  batch: 17_400,
  'certificates.k8s.io': 17_300,
  'networking.k8s.io': 17_200,
  policy: 17_100,
  'rbac.authorization.k8s.io': 17_000,
  'storage.k8s.io': 16_800,
  'apiextensions.k8s.io': 16_700,
  'admissionregistration.k8s.io': 16_700,
  'scheduling.k8s.io': 16_600,
  'coordination.k8s.io': 16_500,
  'node.k8s.io': 16_300,
  'discovery.k8s.io': 16_200,
  'flowcontrol.apiserver.k8s.io': 16_100,
};

export const apiServiceName = ({ group, version }: Pick<GroupVersion, 'group' | 'version'>): string => `${version}.${group}`;

const LOCAL = {
  type: 'Available',
  status: 'True',
  reason: 'Local',
  message: 'Local APIServices are always available',
} as const;

/** The object for a group and version that this server answers itself. */
export function localApiService({ group, version, isCustom }: GroupVersion, now: string): UnstructuredObject {
  const spec = isCustom
    ? { groupPriorityMinimum: 1000, versionPriority: 100 }
    : { groupPriorityMinimum: GROUP_PRIORITIES[group] ?? 15_000, versionPriority: version === 'v2' ? 30 : group === '' ? 1 : 15 };
  return {
    apiVersion: 'apiregistration.k8s.io/v1',
    kind: 'APIService',
    metadata: { name: apiServiceName({ group, version }), labels: { [AUTOMANAGED]: isCustom ? 'true' : 'onstart' } },
    spec: { ...(group && { group }), version, ...spec },
    status: { conditions: [{ ...LOCAL, lastTransitionTime: now }] },
  };
}

export interface ServiceRef {
  readonly namespace: string;
  readonly name: string;
  readonly port?: number;
}

/** The Service that answers an APIService; undefined for local ones. */
export function serviceOf(apiService: UnstructuredObject): ServiceRef | undefined {
  const service = isObject(apiService['spec']) ? apiService['spec']['service'] : undefined;
  return isObject(service) ? (service as unknown as ServiceRef) : undefined; // decoded by the schema
}

export interface AvailabilityDeps {
  readonly registry: Registry;
  /** What the server behind an APIService answered; undefined when it was not asked yet. */
  readonly probe: (apiService: UnstructuredObject) => { readonly isPassed: boolean; readonly message: string } | undefined;
}

/** The status that an APIService should have; the same object when nothing changes. */
export function withAvailability(apiService: UnstructuredObject, deps: AvailabilityDeps, now: string): UnstructuredObject {
  const status = isObject(apiService['status']) ? apiService['status'] : {};
  const before = Array.isArray(status['conditions']) ? (status['conditions'] as Condition[]) : []; // decoded by the schema
  const wanted = availability(apiService, deps);
  if (wanted === undefined) return apiService;
  const current = findCondition(before, 'Available');
  if (current?.status === wanted.status && current.reason === wanted.reason && current.message === wanted.message) {
    return apiService;
  }
  return { ...apiService, status: { ...status, conditions: setCondition(before, wanted, now) } };
}

function availability(
  apiService: UnstructuredObject,
  { registry, probe }: AvailabilityDeps,
): Omit<Condition, 'lastTransitionTime'> | undefined {
  const service = serviceOf(apiService);
  if (service === undefined) return LOCAL;
  const { namespace, name } = service;
  const refuse = (reason: string, message: string) => ({ type: 'Available', status: 'False', reason, message }) as const;
  if (registry.lookup('', 'services', namespace, name) === undefined) {
    return refuse('ServiceNotFound', `service/${name} in "${namespace}" is not present`);
  }
  const endpoints = registry.lookup('', 'endpoints', namespace, name);
  if (endpoints === undefined) return refuse('EndpointsNotFound', `cannot find endpoints for service/${name} in "${namespace}"`);
  const subsets = Array.isArray(endpoints['subsets']) ? (endpoints['subsets'] as { addresses?: unknown[] }[]) : []; // validated
  if (!subsets.some(({ addresses = [] }) => addresses.length > 0)) {
    return refuse('MissingEndpoints', `endpoints for service/${name} in "${namespace}" have no addresses with port name ""`);
  }
  const result = probe(apiService);
  if (result === undefined) return undefined;
  return result.isPassed
    ? { type: 'Available', status: 'True', reason: 'Passed', message: result.message }
    : refuse('FailedDiscoveryCheck', result.message);
}

export function isAvailable(apiService: UnstructuredObject): boolean {
  const status = isObject(apiService['status']) ? apiService['status'] : {};
  const conditions = Array.isArray(status['conditions']) ? (status['conditions'] as Condition[]) : []; // decoded by the schema
  return findCondition(conditions, 'Available')?.status === 'True';
}
