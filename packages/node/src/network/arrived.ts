/**
 * A guest that moves brings connections along that no packet filter of its new node knows. For some time their packets, which
 * are in the midst of a connection, pass where only new connections would be judged.
 */
export const ARRIVED_SECONDS = 120;

/** Mark of such packets in the packet filter of a node. */
export const ARRIVED_MARK = '0x8000';

/** Packets in the midst of a TCP connection. */
const MIDST = 'tcp flags & (syn | rst) == 0';
/** Ports that guests begin connections from. */
const OWN_PORTS = 'tcp dport 32768-65535';

const setOf = (type: string): string => `{ type ${type}; flags timeout; timeout ${ARRIVED_SECONDS}s; }`;
const ofFamily = (addresses: readonly string[], family: 4 | 6): string[] =>
  addresses.filter((address) => address.includes(':') === (family === 6));

/** Of a node's table: the sets, and the chain that marks their packets before anybody judges them. */
export const arrivedChain = `  set arrived4 ${setOf('ipv4_addr')}
  set arrived6 ${setOf('ipv6_addr')}
  chain arrived {
    type filter hook prerouting priority -140; policy accept;
    ct state != new return
    ${MIDST} ip saddr @arrived4 meta mark set meta mark or ${ARRIVED_MARK}
    ${MIDST} ip daddr @arrived4 meta mark set meta mark or ${ARRIVED_MARK}
    ${MIDST} ip6 saddr @arrived6 meta mark set meta mark or ${ARRIVED_MARK}
    ${MIDST} ip6 daddr @arrived6 meta mark set meta mark or ${ARRIVED_MARK}
  }
`;

/** Script for a node's table when a guest has come. */
export const arrivedInNode = (table: string, addresses: readonly string[]): string =>
  ([4, 6] as const).map((family) => adding(`inet ${table} arrived${family}`, ofFamily(addresses, family))).join('');

/** Script for the pod of a guest that has come; the table may have no rules at all. */
export const arrivedInPod = (addresses: readonly string[]): string =>
  ([4, 6] as const)
    .map((family) => {
      const table = `${family === 4 ? 'ip' : 'ip6'} slipway`;
      return `add table ${table}\nadd set ${table} arrived ${setOf(`ipv${family}_addr`)}\n${adding(`${table} arrived`, ofFamily(addresses, family))}`;
    })
    .join('');

const adding = (set: string, addresses: readonly string[]): string =>
  addresses.length === 0 ? '' : `add element ${set} { ${addresses.join(', ')} }\n`;

/**
 * Of the table of a pod that forwards some ports only. Packets of connections that the guest itself has begun on another node
 * go to it; the pod must not answer any of them, for that would end the connection.
 */
export const arrivedParts = (name: 'ip' | 'ip6', podLink: string, guest: string) => ({
  set: `  set arrived ${setOf(name === 'ip' ? 'ipv4_addr' : 'ipv6_addr')}\n`,
  prerouting: `    iifname "${podLink}" ${name} daddr @arrived ${OWN_PORTS} ${MIDST} counter dnat to ${guest}\n`,
  input: `  chain input {
    type filter hook input priority 0; policy accept;
    iifname "${podLink}" ${MIDST} ct state new,invalid drop
  }
`,
});
