/** What a network says of an interface that it has made, in the form of the CNI specification. */
export interface CniAnswer {
  readonly ips: readonly CniAddress[];
  readonly routes: readonly CniRoute[];
  readonly dns: { readonly nameservers: readonly string[]; readonly searches: readonly string[] };
  /** MTU that the network says of the pod's interface. */
  readonly mtu: number | undefined;
}

export interface CniAddress {
  /** With the length of its network's prefix, for example `10.9.0.4/24`. */
  readonly address: string;
  readonly gateway: string | undefined;
}

export interface CniRoute {
  readonly destination: string;
  readonly gateway: string | undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const listOf = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value.filter(isObject) : []);
const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
const textsOf = (value: unknown): string[] => (Array.isArray(value) ? value.flatMap((entry) => textOf(entry) ?? []) : []);

/** Reads a result of version 0.3 or later; what is missing or of another shape is left out. */
export function readCniResult(result: unknown, ifname: string): CniAnswer {
  const { ips, routes, dns, interfaces } = isObject(result) ? result : {};
  const { nameservers, search, domain } = isObject(dns) ? dns : {};
  const inPod = listOf(interfaces).find(({ name, sandbox }) => name === ifname && textOf(sandbox) !== undefined);
  const own = textOf(domain);
  return {
    ips: listOf(ips).flatMap((entry) => {
      const address = textOf(entry['address']);
      return address?.includes('/') ? [{ address, gateway: textOf(entry['gateway']) }] : [];
    }),
    routes: listOf(routes).flatMap((entry) => {
      const destination = textOf(entry['dst']);
      return destination === undefined ? [] : [{ destination, gateway: textOf(entry['gw']) }];
    }),
    dns: { nameservers: textsOf(nameservers), searches: [...textsOf(search), ...(own === undefined ? [] : [own])] },
    mtu: typeof inPod?.['mtu'] === 'number' && inPod['mtu'] > 0 ? inPod['mtu'] : undefined,
  };
}

/** The result of a device that the guest drives itself: there is no link in the pod. */
export function deviceResult({
  ifname,
  mac,
  netns,
}: {
  readonly ifname: string;
  readonly mac: string;
  readonly netns: string;
}): object {
  return { cniVersion: '1.0.0', interfaces: [{ name: ifname, mac, sandbox: `/run/netns/${netns}` }], ips: [], dns: {} };
}

/** The result of an interface that was made without a plugin. */
export function builtInResult(made: {
  readonly bridge: string;
  readonly hostLink: string;
  readonly ifname: string;
  readonly mac: string;
  readonly netns: string;
}): object {
  return {
    cniVersion: '1.0.0',
    interfaces: [
      { name: made.bridge },
      { name: made.hostLink },
      { name: made.ifname, mac: made.mac, sandbox: `/run/netns/${made.netns}` },
    ],
    ips: [],
    dns: {},
  };
}
