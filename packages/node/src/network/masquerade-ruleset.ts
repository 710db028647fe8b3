import { arrivedParts } from './arrived.ts';

export interface MasqueradeInputs {
  readonly podLink: string;
  readonly bridge: string;
  readonly guestV4: string;
  readonly gatewayV4: string;
  readonly guestV6: string;
  readonly gatewayV6: string;
  /** Empty, together with no ranges: everything that arrives at the pod goes to the guest. */
  readonly ports: readonly { readonly port: number; readonly protocol: 'tcp' | 'udp' }[];
  readonly ranges: readonly { readonly start: number; readonly end: number; readonly protocol: 'tcp' | 'udp' }[];
  /** Addresses of the pod. */
  readonly pod: { readonly v4: string; readonly v6: string };
  /** The pod has a proxy of Istio, which takes the packets that arrive and sends them on inside the pod. */
  readonly isProxied: boolean;
}

/** Ports of the proxy itself; nothing for them ever goes to the guest. */
const PROXY_PORTS = [15000, 15001, 15004, 15006, 15008, 15009, 15020, 15021, 15053, 15090];
/** What the proxy leaves alone: the guest's shell. */
const NOT_PROXIED = 'tcp dport 22 ';

/**
 * The end of a connection that has moved here with the guest, when nothing else of it was sent here before: connection tracking
 * calls that invalid and translates nothing.
 */
const UNTRACKED = 'ct state invalid tcp flags & (syn | ack) == ack';

/** The rules of a pod whose guest is hidden behind the pod's address; replaces former rules in one transaction. */
export function masqueradeRuleset(inputs: MasqueradeInputs): string {
  const { podLink, bridge } = inputs;
  return [
    family('ip', inputs, inputs.guestV4, inputs.gatewayV4, podLink, bridge),
    family('ip6', inputs, inputs.guestV6, inputs.gatewayV6, podLink, bridge),
  ].join('');
}

function family(
  name: 'ip' | 'ip6',
  inputs: MasqueradeInputs,
  guest: string,
  gateway: string,
  podLink: string,
  bridge: string,
): string {
  const { isProxied } = inputs;
  const { pod, local, sources } = insideOf(name, inputs);
  const matches = portMatches(inputs);
  const arrived = matches.includes('') ? undefined : arrivedParts(name, podLink, guest);
  const forward = (prefix: string, ports = matches): string =>
    ports.map((match) => `    ${prefix}${match}counter dnat to ${guest}\n`).join('');
  const kept = isProxied ? `    tcp dport { ${PROXY_PORTS.join(', ')} } return\n` : '';
  return `table ${name} slipway
delete table ${name} slipway
table ${name} slipway {
${arrived?.set ?? ''}  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
${forward(`iifname "${podLink}" `, isProxied ? [NOT_PROXIED] : matches)}${arrived?.prerouting ?? ''}  }
${arrived?.input ?? ''}  chain output {
    type nat hook output priority -100; policy accept;
${kept}${forward(`${name} daddr ${local} `)}  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    ${name} saddr ${guest} oifname "${podLink}" counter masquerade
    oifname "${bridge}" ${name} saddr ${sources} counter snat to ${gateway}
  }
  chain untracked {
    type filter hook postrouting priority 101; policy accept;
    ${UNTRACKED} ${name} saddr ${guest} oifname "${podLink}" counter ${name} saddr set ${pod}
  }
}
`;
}

/** Addresses inside the pod: those that lead to the guest, and those of who asks it from there. */
function insideOf(name: 'ip' | 'ip6', { pod: { v4, v6 }, isProxied }: MasqueradeInputs) {
  const [pod, loopback, proxy] = name === 'ip' ? [v4, '127.0.0.1', '127.0.0.6'] : [v6, '::1', '::6'];
  if (!isProxied) return { pod, local: loopback, sources: loopback };
  return { pod, local: `{ ${loopback}, ${pod} }`, sources: `{ ${loopback}, ${proxy} }` };
}

/** One match per protocol with ports; a single empty one when every packet is meant. */
function portMatches({ ports, ranges }: MasqueradeInputs): string[] {
  if (ports.length === 0 && ranges.length === 0) return [''];
  return (['tcp', 'udp'] as const).flatMap((protocol) => {
    const list = [
      ...ports.filter((entry) => entry.protocol === protocol).map(({ port }) => String(port)),
      ...ranges.filter((entry) => entry.protocol === protocol).map(({ start, end }) => `${start}-${end}`),
    ];
    return list.length === 0 ? [] : [`${protocol} dport { ${[...new Set(list)].join(', ')} } `];
  });
}
