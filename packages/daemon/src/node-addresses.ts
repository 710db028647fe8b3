import type { NetworkInterfaceInfo } from 'node:os';

type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

/** Bridges and veth ends of installations on this host: their addresses are those of pods' routers, or of the link of nodes. */
const OF_AN_INSTALLATION = /^[0-9a-f]{6}(br$|up$|v[0-9a-f])/;

/**
 * Addresses by which others reach this machine, IPv4 first: those of the links with a default route, or of all links but
 * the platform's own where there is no such route. Loopback when there is nothing else. Pure.
 */
export function nodeAddresses(interfaces: Interfaces, defaultLinks: readonly string[]): string[] {
  const own = Object.entries(interfaces).filter(([name]) => !OF_AN_INSTALLATION.test(name));
  const routed = own.filter(([name]) => defaultLinks.includes(name));
  const ofRouted = addressesOf(routed);
  const addresses = ofRouted.length > 0 ? ofRouted : addressesOf(own);
  return addresses.length === 0 ? ['127.0.0.1'] : addresses;
}

function addressesOf(interfaces: readonly (readonly [string, readonly NetworkInterfaceInfo[] | undefined])[]): string[] {
  const usable = interfaces
    .flatMap(([, entries]) => entries ?? [])
    .filter((entry) => !entry.internal && !('scopeid' in entry && entry.scopeid > 0))
    .map(({ address }) => address);
  const isV6 = (address: string): boolean => address.includes(':');
  return [...usable.filter((address) => !isV6(address)), ...usable.filter(isV6)];
}

/** Links with a default route, from the text of /proc/net/route. Pure. */
export function defaultLinks(routes: string): string[] {
  const rows = routes.split('\n').slice(1);
  const fields = rows.map((row) => row.split('\t'));
  return [...new Set(fields.flatMap(([link, destination]) => (destination === '00000000' && link ? [link] : [])))];
}
