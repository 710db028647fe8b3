import { isIPv4, isIPv6 } from 'node:net';

/** A network in CIDR notation. */
export interface Cidr {
  readonly text: string;
  readonly family: 4 | 6;
  readonly prefix: number;
  /** Number of addresses, at most 2^32. */
  readonly size: number;
  /** The address this far from the network address. */
  addressAt(offset: number): string;
  /** Whether the address, of either family, is in it. */
  contains(address: string): boolean;
}

/** Throws when the text is not an IPv4 or IPv6 network. */
export function parseCidr(text: string): Cidr {
  const [address = '', length = ''] = text.split('/');
  const prefix = Number(length);
  const family = isIPv4(address) ? 4 : isIPv6(address) ? 6 : undefined;
  const bits = family === 4 ? 32 : 128;
  if (family === undefined || length === '' || !Number.isInteger(prefix) || prefix < 0 || prefix > bits) {
    throw new Error(`"${text}" is not a network like 10.0.2.0/24 or fd10:0:2::/120`);
  }
  const host = BigInt(bits - prefix);
  const network = (addressToBigInt(address) >> host) << host;
  return {
    text,
    family,
    prefix,
    size: host > 32n ? 2 ** 32 : 2 ** Number(host),
    addressAt: (offset) => bigIntToAddress(network + BigInt(offset), family),
    contains: (other) => isIPv4(other) === (family === 4) && (addressToBigInt(other) >> host) << host === network,
  };
}

/** The 4 or 16 bytes of an address in network order. */
export function addressBytes(address: string): Buffer {
  const bytes = isIPv4(address) ? 4 : 16;
  return Buffer.from(
    addressToBigInt(address)
      .toString(16)
      .padStart(bytes * 2, '0'),
    'hex',
  );
}

function addressToBigInt(address: string): bigint {
  if (isIPv4(address)) return address.split('.').reduce((value, part) => (value << 8n) | BigInt(part), 0n);
  const [head = '', tail] = address.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const front = groups(head);
  const back = groups(tail ?? '');
  const middle = tail === undefined ? [] : new Array<string>(8 - front.length - back.length).fill('0');
  return [...front, ...middle, ...back].reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

function bigIntToAddress(value: bigint, family: 4 | 6): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(16 * (7 - index))) & 0xffffn).toString(16));
  return compressZeros(groups);
}

/** RFC 5952: the longest run of zero groups, at least two, becomes "::". */
function compressZeros(groups: readonly string[]): string {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start += 1) {
    let length = 0;
    while (groups[start + length] === '0') length += 1;
    if (length > best.length) best = { start, length };
  }
  if (best.length < 2) return groups.join(':');
  return `${groups.slice(0, best.start).join(':')}::${groups.slice(best.start + best.length).join(':')}`;
}
