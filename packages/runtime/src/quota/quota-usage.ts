import {
  addQuantities,
  canonicalQuantity,
  formatQuantity,
  type KubeObject,
  matchesLabels,
  parseQuantity,
  type Quantity,
} from '@slipway/apimachinery';
import type { core, PersistentVolumeClaim, Pod, ResourceQuota, Service } from '@slipway/api';
const isFinished = ({ status }: Pod): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed';

/** What objects of a namespace take, by the names that quotas use. */
export type Usage = Map<string, Quantity>;
type Amounts = Readonly<Record<string, unknown>>;

const ZERO = parseQuantity('0');
const ONE = parseQuantity('1');
const STORAGE_CLASS = '.storageclass.storage.k8s.io/';
/** These may be named without `requests.` in a quota. */
const PLAIN_REQUESTS = ['cpu', 'memory', 'ephemeral-storage'];

function add(usage: Usage, name: string, amount: Quantity): void {
  const before = usage.get(name);
  // zero has no unit of its own
  usage.set(name, before === undefined || before.nano === 0n ? amount : addQuantities(before, amount));
}

function addAmounts(usage: Usage, amounts: Amounts | undefined): void {
  for (const [name, amount] of Object.entries(amounts ?? {})) add(usage, name, parseQuantity(String(amount)));
}

function raiseTo(usage: Usage, amounts: Amounts | undefined): void {
  for (const [name, amount] of Object.entries(amounts ?? {})) {
    const quantity = parseQuantity(String(amount));
    if (quantity.nano > (usage.get(name)?.nano ?? 0n)) usage.set(name, quantity);
  }
}

/** All containers together, or the largest init container, plus overhead. */
function podAmounts({ spec }: Pod, field: 'requests' | 'limits'): Usage {
  const total: Usage = new Map();
  for (const container of spec?.containers ?? []) addAmounts(total, container.resources?.[field]);
  for (const container of spec?.initContainers ?? []) raiseTo(total, container.resources?.[field]);
  addAmounts(total, spec?.overhead);
  return total;
}

/** What a pod counts for. One that has ended takes nothing, but is still an object. */
export function podUsage(pod: Pod): Usage {
  const usage: Usage = new Map([['count/pods', ONE]]);
  if (isFinished(pod)) return usage;
  add(usage, 'pods', ONE);
  for (const [name, amount] of podAmounts(pod, 'requests')) {
    add(usage, `requests.${name}`, amount);
    if (PLAIN_REQUESTS.includes(name) || name.startsWith('hugepages-')) add(usage, name, amount);
  }
  for (const [name, amount] of podAmounts(pod, 'limits')) add(usage, `limits.${name}`, amount);
  return usage;
}

/** What a claim counts for: in all, and within its storage class. */
export function claimUsage({ spec }: PersistentVolumeClaim): Usage {
  const storage = parseQuantity(String(spec?.resources?.requests?.['storage'] ?? '0'));
  const usage: Usage = new Map([
    ['count/persistentvolumeclaims', ONE],
    ['persistentvolumeclaims', ONE],
    ['requests.storage', storage],
  ]);
  if (spec?.storageClassName) {
    usage.set(`${spec.storageClassName}${STORAGE_CLASS}requests.storage`, storage);
    usage.set(`${spec.storageClassName}${STORAGE_CLASS}persistentvolumeclaims`, ONE);
  }
  return usage;
}

export function serviceUsage({ spec }: Service): Usage {
  const usage: Usage = new Map([
    ['count/services', ONE],
    ['services', ONE],
  ]);
  const ports = spec?.ports ?? [];
  const nodePorts = spec?.type === 'NodePort' ? ports.length : ports.filter(({ nodePort }) => nodePort).length;
  if (spec?.type === 'LoadBalancer') usage.set('services.loadbalancers', ONE);
  if (nodePorts > 0) usage.set('services.nodeports', parseQuantity(String(nodePorts)));
  return usage;
}

/** Sum of several usages. */
export function sumUsage(usages: readonly Usage[]): Usage {
  const total: Usage = new Map();
  for (const usage of usages) for (const [name, amount] of usage) add(total, name, amount);
  return total;
}

/** Kinds that quotas count under their plural alone, without a `count/` in front. */
const COUNTED_PLAINLY = ['configmaps', 'secrets', 'replicationcontrollers', 'resourcequotas'];

export type QuotaName =
  | { readonly type: 'pod' | 'claim' | 'service' }
  | { readonly type: 'count'; readonly plural: string; readonly group: string };

/** What a name in `spec.hard` measures. */
export function quotaNameOf(name: string): QuotaName {
  if (COUNTED_PLAINLY.includes(name)) return { type: 'count', plural: name, group: '' };
  if (name.startsWith('count/')) {
    const [plural = '', ...group] = name.slice('count/'.length).split('.');
    if (group.length === 0 && plural === 'pods') return { type: 'pod' };
    if (group.length === 0 && plural === 'services') return { type: 'service' };
    if (group.length === 0 && plural === 'persistentvolumeclaims') return { type: 'claim' };
    return { type: 'count', plural, group: group.join('.') };
  }
  if (name === 'services' || name.startsWith('services.')) return { type: 'service' };
  if (name === 'persistentvolumeclaims' || name === 'requests.storage' || name.includes(STORAGE_CLASS)) return { type: 'claim' };
  return { type: 'pod' };
}

type Expression = core.ScopedResourceSelectorRequirement;

/** Whether a quota with scopes speaks of the pod; one without speaks of all. */
export function isInScopes({ spec }: ResourceQuota, pod: Pod): boolean {
  const scopes: readonly Expression[] = [
    ...(spec?.scopes ?? []).map((scopeName) => ({ scopeName, operator: 'Exists' as const })),
    ...(spec?.scopeSelector?.matchExpressions ?? []),
  ];
  return scopes.every((scope) => matchesScope(scope, pod));
}

function matchesScope({ scopeName, operator, values = [] }: Expression, pod: Pod): boolean {
  switch (scopeName) {
    case 'Terminating':
      return pod.spec?.activeDeadlineSeconds !== undefined;
    case 'NotTerminating':
      return pod.spec?.activeDeadlineSeconds === undefined;
    case 'BestEffort':
      return isBestEffort(pod);
    case 'NotBestEffort':
      return !isBestEffort(pod);
    case 'PriorityClass': {
      const { priorityClassName } = pod.spec ?? {};
      // the API server admits the operators of label selectors
      const labels = priorityClassName ? { name: priorityClassName } : {};
      return matchesLabels([{ key: 'name', operator: operator as 'In', values }], labels);
    }
    case 'CrossNamespacePodAffinity':
      return hasForeignAffinity(pod);
    default:
      return false;
  }
}

const isBestEffort = ({ spec }: Pod): boolean =>
  [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].every(({ resources }) =>
    [resources?.requests, resources?.limits].every(
      (amounts) => amounts?.['cpu'] === undefined && amounts?.['memory'] === undefined,
    ),
  );

function hasForeignAffinity({ spec }: Pod): boolean {
  const { podAffinity, podAntiAffinity } = spec?.affinity ?? {};
  return [podAffinity, podAntiAffinity].some((affinity) =>
    [
      ...(affinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []),
      ...(affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(({ podAffinityTerm }) => podAffinityTerm),
    ].some(({ namespaces = [], namespaceSelector }) => namespaces.length > 0 || namespaceSelector !== undefined),
  );
}

/** `status` of a quota from what is in use; names that nothing measures yet read 0. */
export function quotaStatus({ spec }: ResourceQuota, usage: Usage): NonNullable<ResourceQuota['status']> {
  const hard: Record<string, string> = {};
  const used: Record<string, string> = {};
  for (const [name, amount] of Object.entries(spec?.hard ?? {})) {
    hard[name] = canonicalQuantity(String(amount));
    used[name] = formatQuantity(usage.get(name) ?? ZERO);
  }
  return { hard, used };
}

/** Counts objects of one kind under the name a quota has for it. */
export const countUsage = (name: string, objects: readonly KubeObject[]): Usage =>
  new Map([[name, parseQuantity(String(objects.length))]]);
