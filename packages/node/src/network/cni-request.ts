import type { Pod } from '@slipway/api';

/** What a pod asks of one of its networks, beside the network itself. */
export interface NetworkRequest {
  /** Addresses, with the length of the prefix. */
  readonly ips?: readonly string[];
  readonly cniArgs?: Readonly<Record<string, unknown>>;
  /** A device of the host that the network is to use. */
  readonly deviceId?: string;
}

export const NETWORKS_ANNOTATION = 'k8s.v1.cni.cncf.io/networks';

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What the pod's annotation asks of the network of this interface; the annotation is as Multus reads it. */
export function networkRequest(
  pod: Pod,
  of: { readonly ifname: string; readonly namespace: string; readonly name: string },
): NetworkRequest {
  const entries = parse(pod.metadata.annotations?.[NETWORKS_ANNOTATION]);
  const isNamed = (entry: Record<string, unknown>): boolean =>
    entry['name'] === of.name && (entry['namespace'] ?? pod.metadata.namespace) === of.namespace;
  const entry =
    entries.find((one) => one['interface'] === of.ifname) ??
    entries.find((one) => one['interface'] === undefined && isNamed(one));
  if (entry === undefined) return {};
  const { ips, 'cni-args': cniArgs } = entry;
  const addresses = Array.isArray(ips) ? ips.filter((ip): ip is string => typeof ip === 'string') : [];
  return { ...(addresses.length > 0 && { ips: addresses }), ...(isObject(cniArgs) && { cniArgs }) };
}

function parse(text: string | undefined): Record<string, unknown>[] {
  if (text === undefined || !text.trimStart().startsWith('[')) return []; // the short form asks for nothing
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) ? list.filter(isObject) : [];
  } catch {
    return [];
  }
}
