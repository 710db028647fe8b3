import { isIP } from 'node:net';

/** A range of addresses of one family. */
export interface IpRange {
  readonly family: 'IPv4' | 'IPv6';
  readonly text: string;
  /** Number of addresses, at most 2^20: more than that nobody hands out one by one. */
  readonly size: number;
  addressAt(offset: number): string;
  contains(address: string): boolean;
}

const MAX_SIZE = 2 ** 20;

/** Throws when the text is no network. */
export function ipRange(text: string): IpRange {
  const [address = '', prefix = ''] = text.split('/');
  const family = familyOf(address);
  const bits = family === 'IPv4' ? 32 : 128;
  const host = BigInt(bits - Number(prefix));
  if (family === undefined || prefix === '') throw new Error(`Service range ${text} is not a network`);
  const network = (numberOf(address) >> host) << host;
  return {
    family,
    text,
    size: host > 20n ? MAX_SIZE : 2 ** Number(host),
    addressAt: (offset) => textOf(network + BigInt(offset), family),
    contains: (other) => familyOf(other) === family && (numberOf(other) >> host) << host === network,
  };
}

export function familyOf(address: string): IpRange['family'] | undefined {
  const version = isIP(address);
  return version === 0 ? undefined : version === 4 ? 'IPv4' : 'IPv6';
}

/** As it is written everywhere: of IPv6 the short form. The address must be one. */
export const canonicalAddress = (address: string): string =>
  isIP(address) === 6 ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;

function numberOf(address: string): bigint {
  if (isIP(address) === 4) return address.split('.').reduce((value, part) => (value << 8n) | BigInt(part), 0n);
  const [head = '', tail] = canonicalAddress(address).split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [front, back] = [groups(head), groups(tail ?? '')];
  const zeros = tail === undefined ? [] : new Array<string>(8 - front.length - back.length).fill('0');
  return [...front, ...zeros, ...back].reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

function textOf(value: bigint, family: IpRange['family']): string {
  if (family === 'IPv4') return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(16 * (7 - index))) & 0xffffn).toString(16));
  return canonicalAddress(groups.join(':'));
}
