import type { VirtualMachineInstance } from '@slipway/api';
import { CLUSTER_DOMAIN } from '../dns/zone.ts';
import type { Resolver } from './host-resolver.ts';

export interface GuestResolverInputs {
  readonly vmi: VirtualMachineInstance | undefined;
  readonly namespace: string;
  /** What the host itself asks. */
  readonly host: Resolver;
  /** Addresses of this node's own server. */
  readonly cluster: readonly string[];
}

/**
 * Name servers and search domains of a guest, by its dnsPolicy and dnsConfig.
 * KubeVirt-compat: a guest with a subdomain finds its fellows first.
 */
export function guestResolver({ vmi, namespace, host, cluster }: GuestResolverInputs): Resolver {
  const { dnsPolicy = 'ClusterFirst', dnsConfig, subdomain } = vmi?.spec ?? {};
  const service = `svc.${CLUSTER_DOMAIN}`;
  const own = subdomain ? [`${subdomain}.${namespace}.${service}`] : [];
  const fromPolicy = (): Resolver => {
    if (dnsPolicy === 'None') return { nameservers: [], searches: [] };
    if (dnsPolicy === 'Default') return host;
    return { nameservers: cluster, searches: [`${namespace}.${service}`, service, CLUSTER_DOMAIN, ...host.searches] };
  };
  const base = fromPolicy();
  return {
    nameservers: [...new Set([...base.nameservers, ...(dnsConfig?.nameservers ?? [])])],
    searches: [...new Set([...own, ...base.searches, ...(dnsConfig?.searches ?? [])])],
  };
}
