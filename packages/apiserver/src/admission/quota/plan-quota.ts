import type { PersistentVolumeClaim, Pod, ResourceQuota, Service } from '@slipway/api';
import {
  type Quantity,
  type UnstructuredObject,
  addQuantities,
  compareQuantities,
  formatQuantity,
  parseQuantity,
  subtractQuantities,
} from '@slipway/apimachinery';
import { type AdmissionRequest, type Usage, claimUsage, isInScopes, podUsage, serviceUsage } from '@slipway/runtime';

/** What one quota says about a request. */
export type QuotaVerdict =
  | { readonly type: 'untouched' }
  | { readonly type: 'refused'; readonly why: string }
  | { readonly type: 'charged'; readonly used: Readonly<Record<string, string>> };

const ZERO = parseQuantity('0');
/** Names that every container must state when a quota limits them. */
const MUST_BE_STATED = ['cpu', 'memory', 'requests.cpu', 'requests.memory', 'limits.cpu', 'limits.memory'];

/** How much more a request takes, by the names quotas use. */
export function chargeOf({ group, resource, object, oldObject, operation }: AdmissionRequest): Usage {
  const now = usageOf(group, resource, object);
  if (operation === 'CREATE') return now;
  const before = usageOf(group, resource, oldObject);
  const more: Usage = new Map();
  for (const [name, amount] of now) {
    const difference = subtractQuantities(amount, before.get(name) ?? ZERO);
    if (difference.nano > 0n) more.set(name, difference);
  }
  return more;
}

function usageOf(group: string, plural: string, object: UnstructuredObject | undefined): Usage {
  if (object === undefined) return new Map();
  // validation has seen these objects
  if (group === '' && plural === 'pods') return podUsage(object as unknown as Pod);
  if (group === '' && plural === 'persistentvolumeclaims') return claimUsage(object as unknown as PersistentVolumeClaim);
  if (group === '' && plural === 'services') return serviceUsage(object as unknown as Service);
  const one = parseQuantity('1');
  const usage: Usage = new Map([[`count/${plural}${group === '' ? '' : `.${group}`}`, one]]);
  if (group === '') usage.set(plural, one);
  return usage;
}

/** Judges a request that takes `charge` by one quota. */
export function judgeQuota(quota: ResourceQuota, request: AdmissionRequest, charge: Usage): QuotaVerdict {
  const isPod = request.group === '' && request.resource === 'pods';
  if (hasScopes(quota) && !(isPod && isInScopes(quota, request.object as unknown as Pod))) return { type: 'untouched' };
  const { hard } = quota.spec ?? {};
  const name = quota.metadata.name ?? '';
  if (isPod && request.operation === 'CREATE') {
    const missing = unstated(request.object as unknown as Pod, Object.keys(hard ?? {}));
    if (missing !== '') return { type: 'refused', why: `failed quota: ${name}: must specify ${missing}` };
  }
  const names = Object.keys(hard ?? {}).filter((key) => charge.has(key));
  if (names.length === 0) return { type: 'untouched' };
  const unknown = names.filter((key) => quota.status?.hard?.[key] === undefined || quota.status.used?.[key] === undefined);
  if (unknown.length > 0) {
    return { type: 'refused', why: `status unknown for quota: ${name}, resources: ${unknown.sort().join(',')}` };
  }
  return charged(quota, names.sort(), charge);
}

const hasScopes = ({ spec }: ResourceQuota): boolean =>
  (spec?.scopes?.length ?? 0) > 0 || (spec?.scopeSelector?.matchExpressions?.length ?? 0) > 0;

function charged({ metadata, spec, status }: ResourceQuota, names: readonly string[], charge: Usage): QuotaVerdict {
  const used: Record<string, string> = { ...textual(status?.used) };
  const exceeded: string[] = [];
  const limitOf = (key: string): Quantity => parseQuantity(String(spec?.hard?.[key] ?? '0'));
  for (const key of names) {
    const before = parseQuantity(used[key] ?? '0');
    const amount = charge.get(key) ?? ZERO;
    const next = before.nano === 0n ? amount : addQuantities(before, amount);
    if (amount.nano > 0n && compareQuantities(next, limitOf(key)) > 0) exceeded.push(key);
    used[key] = formatQuantity(next);
  }
  if (exceeded.length === 0) return { type: 'charged', used };
  const list = (amountOf: (key: string) => string): string => exceeded.map((key) => `${key}=${amountOf(key)}`).join(',');
  const requested = list((key) => formatQuantity(charge.get(key) ?? ZERO));
  const before = list((key) => String(status?.used?.[key] ?? '0'));
  const limited = list((key) => formatQuantity(limitOf(key)));
  return {
    type: 'refused',
    why: `exceeded quota: ${metadata.name}, requested: ${requested}, used: ${before}, limited: ${limited}`,
  };
}

const textual = (amounts: Readonly<Record<string, unknown>> | undefined): Record<string, string> =>
  Object.fromEntries(Object.entries(amounts ?? {}).map(([key, amount]) => [key, String(amount)]));

/** `cpu for: a,b; memory for: a` where containers leave out what the quota limits. */
function unstated(pod: Pod, hard: readonly string[]): string {
  const containers = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  const texts = hard
    .filter((key) => MUST_BE_STATED.includes(key))
    .sort()
    .flatMap((key) => {
      const field = key.startsWith('limits.') ? 'limits' : 'requests';
      const resource = key.slice(key.indexOf('.') + 1);
      const names = containers.filter(({ resources }) => resources?.[field]?.[resource] === undefined).map(({ name }) => name);
      return names.length > 0 ? [`${key} for: ${names.sort().join(',')}`] : [];
    });
  return texts.join('; ');
}
