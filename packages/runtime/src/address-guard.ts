import { lookup as dnsLookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** Ranges that lead to the host itself, to its link, to a cloud's metadata service, or to nobody in particular. */
const REFUSED_V4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['100.100.100.200', 32],
  ['168.63.129.16', 32],
  ['192.0.0.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
];
const REFUSED_V6: readonly (readonly [string, number])[] = [
  // unspecified, loopback, and addresses that carry an IPv4 address in an old way
  ['::', 96],
  ['fe80::', 10],
  ['fec0::', 10],
  ['fd00:ec2::254', 128],
  ['fd20:ce::254', 128],
  ['ff00::', 8],
];
/** NAT64, 6to4 and Teredo carry an IPv4 address inside; which one is not worth the risk of a mistake. */
const TRANSLATED_V6: readonly (readonly [string, number])[] = [
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2001::', 32],
  ['2002::', 16],
];

function blockList(v4: readonly (readonly [string, number])[], v6: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of v4) list.addSubnet(network, prefix, 'ipv4');
  for (const [network, prefix] of v6) list.addSubnet(network, prefix, 'ipv6');
  return list;
}

/** Decides which addresses a program may talk to that goes where a tenant tells it. */
export interface AddressGuard {
  /** Throws when the host is an address that is refused. */
  checkHost(host: string, port: number): void;
  /** For `lookup` of a socket: resolves the name and refuses before a connection is made. */
  readonly lookup: LookupFunction;
}

/** The errors of whoever uses a guard. */
export interface GuardErrors {
  /** Of a host that is, or resolves to, an address that is refused; says how an administrator allows it. */
  refused(shownHost: string): Error;
  /** Of an exception that is neither an address, a CIDR nor a name. */
  invalid(exception: string): Error;
}

/**
 * A guard with exceptions that an administrator made: CIDRs, single addresses, or `host` / `host:port` names.
 * `resolve` is replaced in tests.
 */
export function addressGuard(
  exceptions: readonly string[],
  errors: GuardErrors,
  resolve: typeof dnsLookup = dnsLookup,
): AddressGuard {
  const refused = blockList(REFUSED_V4, [...REFUSED_V6, ...TRANSLATED_V6]);
  const allowed = new BlockList();
  const allowedNames = new Set<string>();
  for (const exception of exceptions) if (!addException(exception, allowed, allowedNames)) throw errors.invalid(exception.trim());

  const isRefused = (address: string): boolean => {
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    return refused.check(address, family) && !allowed.check(address, family);
  };
  // names are judged for the port as well, which a socket's lookup does not know: `checkHost` runs before it
  const trusted = new Set<string>();
  return {
    checkHost(rawHost, port) {
      const host = bareHost(rawHost);
      if (allowedNames.has(host) || allowedNames.has(`${host}:${port}`)) {
        trusted.add(host);
        return;
      }
      trusted.delete(host);
      if (isIP(host) !== 0 && isRefused(host)) throw errors.refused(host);
    },
    lookup: (hostname, options, callback) => {
      resolve(hostname, { ...options, all: true }, (error, addresses) => {
        if (error) return callback(error, '', 0);
        const usable = trusted.has(hostname) ? addresses : addresses.filter(({ address }) => !isRefused(address));
        const [first] = usable;
        if (first === undefined) return callback(errors.refused(`${hostname} (${addresses[0]?.address ?? 'no address'})`), '', 0);
        if (options.all) return callback(null, usable);
        return callback(null, first.address, first.family);
      });
    },
  };
}

const bareHost = (host: string): string => host.replace(/^\[|\]$/g, '').toLowerCase();

/** False when it is no exception that is understood. */
function addException(exception: string, allowed: BlockList, names: Set<string>): boolean {
  const text = exception.trim();
  if (text === '') return true;
  const [network = '', prefix] = text.split('/');
  const family = isIP(network);
  if (family === 0 && prefix === undefined) {
    names.add(text.toLowerCase());
    return true;
  }
  const bits = prefix === undefined ? (family === 6 ? 128 : 32) : Number(prefix);
  const isValid = family !== 0 && Number.isInteger(bits) && bits >= 0 && bits <= (family === 6 ? 128 : 32);
  if (isValid) allowed.addSubnet(network, bits, family === 6 ? 'ipv6' : 'ipv4');
  return isValid;
}
