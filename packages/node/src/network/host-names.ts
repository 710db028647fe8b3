import { createHash } from 'node:crypto';

/** Names of everything this node makes on the host; link names have at most 15 characters. */
export interface HostNames {
  /** Link with the addresses that pods have for their gateway. */
  readonly bridge: string;
  /** nftables table, also distinguishable from tables of other programs. */
  readonly table: string;
  /** Tables of Services and of NetworkPolicies; each is written by one part alone. */
  readonly serviceTable: string;
  readonly policyTable: string;
  /** Host end of a pod's veth pair. */
  veth(podUid: string, interfaceName: string): string;
  /** Host ends of all veth pairs of one pod begin with this. */
  vethPrefix(podUid: string): string;
  readonly anyVethPrefix: string;
}

/** Names derived from the prefix of the installation and node. */
export function hostNames(hostPrefix: string): HostNames {
  const hash = (text: string, length: number): string => createHash('sha256').update(text).digest('hex').slice(0, length);
  const vethPrefix = (podUid: string): string => `${hostPrefix}v${hash(podUid, 6)}`;
  return {
    bridge: `${hostPrefix}br`,
    table: `slipway_${hostPrefix}`,
    serviceTable: `slipway_${hostPrefix}_services`,
    policyTable: `slipway_${hostPrefix}_policies`,
    vethPrefix,
    veth: (podUid, interfaceName) => `${vethPrefix(podUid)}${hash(interfaceName, 2)}`,
    anyVethPrefix: `${hostPrefix}v`,
  };
}
