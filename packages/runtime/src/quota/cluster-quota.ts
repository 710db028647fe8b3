import type { ClusterResourceQuota, NamespaceQuotaStatus, ResourceQuota } from '@slipway/api';
import { addQuantities, formatQuantity, type KubeObject, matchesLabels, parseQuantity, selectorOf } from '@slipway/apimachinery';
import type { Usage } from './quota-usage.ts';

type QuotaStatus = NonNullable<ResourceQuota['status']>;

const ZERO = parseQuantity('0');

/** Whether a quota of several namespaces counts this one. */
export function selectsNamespace({ spec }: ClusterResourceQuota, { metadata }: KubeObject): boolean {
  const { labels, annotations } = spec?.selector ?? {};
  const wanted = Object.entries(annotations ?? {});
  const selector = selectorOf(labels);
  if (selector === undefined && wanted.length === 0) return false;
  if (selector !== undefined && !matchesLabels(selector, metadata.labels ?? {})) return false;
  return wanted.every(([name, value]) => metadata.annotations?.[name] === value);
}

/** The quota of several namespaces as if they were one. */
export const asResourceQuota = ({ metadata, spec, status }: ClusterResourceQuota): ResourceQuota => ({
  apiVersion: 'v1',
  kind: 'ResourceQuota',
  metadata: { name: metadata.name ?? '' },
  ...(spec?.quota && { spec: spec.quota }),
  ...(status?.total && { status: status.total }),
});

/** `status` once one of the namespaces has taken `charge` more, and all of them together take `used`. */
export function chargedClusterStatus(
  { status }: ClusterResourceQuota,
  namespace: string,
  used: Readonly<Record<string, string>>,
  charge: Usage,
): NonNullable<ClusterResourceQuota['status']> {
  const { total = {}, namespaces } = status ?? {};
  const before = namespaces?.find((item) => item.namespace === namespace)?.status.used ?? {};
  const mine: Record<string, string> = {};
  for (const name of Object.keys(total.hard ?? {})) {
    const now = parseQuantity(before[name] ?? '0');
    const more = charge.get(name) ?? ZERO;
    mine[name] = formatQuantity(now.nano === 0n ? more : addQuantities(now, more));
  }
  const entry = { namespace, status: { ...(total.hard && { hard: total.hard }), used: mine } };
  return { ...status, total: { ...total, used: { ...used } }, namespaces: byNamespace([...(namespaces ?? []), entry]) };
}

/** `status` from what is in use in each of the namespaces. */
export function clusterQuotaStatus(
  total: QuotaStatus,
  namespaces: readonly NamespaceQuotaStatus[],
): NonNullable<ClusterResourceQuota['status']> {
  return { total, namespaces: byNamespace(namespaces) };
}

/** One entry each, the last that is given, in order of name. */
function byNamespace(entries: readonly NamespaceQuotaStatus[]): NamespaceQuotaStatus[] {
  const last = new Map(entries.map((entry) => [entry.namespace, entry]));
  return [...last.values()].sort((a, b) => (a.namespace < b.namespace ? -1 : 1));
}
