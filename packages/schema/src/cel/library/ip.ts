import { isIPv4, isIPv6 } from 'node:net';

/** An address as a number of 32 or 128 bits. */
export class IpAddress {
  readonly family: 4 | 6;
  readonly bits: bigint;
  constructor(family: 4 | 6, bits: bigint) {
    this.family = family;
    this.bits = bits;
  }
  equals(other: unknown): boolean {
    return other instanceof IpAddress && this.family === other.family && this.bits === other.bits;
  }
  toString(): string {
    return this.family === 4 ? textOf4(this.bits) : textOf6(this.bits);
  }
}

/** A block of addresses; the address may have bits beyond the prefix. */
export class CidrBlock {
  readonly address: IpAddress;
  readonly length: number;
  constructor(address: IpAddress, length: number) {
    this.address = address;
    this.length = length;
  }
  get masked(): CidrBlock {
    return new CidrBlock(new IpAddress(this.address.family, this.network(this.address)), this.length);
  }
  contains(ip: IpAddress): boolean {
    return ip.family === this.address.family && this.network(ip) === this.network(this.address);
  }
  equals(other: unknown): boolean {
    return other instanceof CidrBlock && this.length === other.length && this.address.equals(other.address);
  }
  toString(): string {
    return `${this.address.toString()}/${this.length}`;
  }
  private network({ bits, family }: IpAddress): bigint {
    const rest = BigInt(widthOf(family) - this.length);
    return (bits >> rest) << rest;
  }
}

export const widthOf = (family: 4 | 6): number => (family === 4 ? 32 : 128);

/** Undefined for what is no address; zones and IPv4 in IPv6 form are none here. */
export function parseIp(text: string): IpAddress | undefined {
  if (isIPv4(text)) return new IpAddress(4, bitsOf4(text));
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const ip = new IpAddress(6, bitsOf6(text));
  return ip.bits >> 32n === 0xffffn ? undefined : ip;
}

/** Undefined for what is no block. */
export function parseCidr(text: string): CidrBlock | undefined {
  const [, address = '', length = ''] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const ip = parseIp(address);
  return ip === undefined || Number(length) > widthOf(ip.family) ? undefined : new CidrBlock(ip, Number(length));
}

const bitsOf4 = (text: string): bigint => text.split('.').reduce((bits, part) => (bits << 8n) | BigInt(Number(part)), 0n);

function bitsOf6(text: string): bigint {
  const tail = /[^:]*\.[^:]*$/.exec(text)?.[0];
  const plain = tail === undefined ? text : `${text.slice(0, -tail.length)}${groupsOf4(tail)}`;
  const [head = '', rest] = plain.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = rest === undefined || rest === '' ? [] : rest.split(':');
  const groups = [...before, ...new Array<string>(rest === undefined ? 0 : 8 - before.length - after.length).fill('0'), ...after];
  return groups.reduce((bits, group) => (bits << 16n) | BigInt(Number.parseInt(group, 16)), 0n);
}

function groupsOf4(text: string): string {
  const bits = bitsOf4(text);
  return `${(bits >> 16n).toString(16)}:${(bits & 0xffffn).toString(16)}`;
}

const textOf4 = (bits: bigint): string => [24n, 16n, 8n, 0n].map((by) => (bits >> by) & 0xffn).join('.');

/** RFC 5952: the longest run of zeros, of two or more, is left out. */
function textOf6(bits: bigint): string {
  const groups = Array.from({ length: 8 }, (_, index) => ((bits >> BigInt(112 - 16 * index)) & 0xffffn).toString(16));
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (groups[start + length] === '0') length++;
    if (length > best.length) best = { start, length };
  }
  if (best.start === -1) return groups.join(':');
  return `${groups.slice(0, best.start).join(':')}::${groups.slice(best.start + best.length).join(':')}`;
}
