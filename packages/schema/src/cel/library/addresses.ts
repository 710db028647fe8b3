import { CidrBlock, IpAddress, parseCidr, parseIp } from './ip.ts';
import type { Registrar } from './register.ts';

const under =
  (...blocks: readonly string[]) =>
  (ip: IpAddress): boolean =>
    blocks.some((block) => parseCidr(block)?.contains(ip) === true);

const isUnspecified = ({ bits }: IpAddress): boolean => bits === 0n;
const isLoopback = under('127.0.0.0/8', '::1/128');
const isLinkLocalUnicast = under('169.254.0.0/16', 'fe80::/10');
const isLinkLocalMulticast = (ip: IpAddress): boolean =>
  ip.family === 4 ? under('224.0.0.0/24')(ip) : ((ip.bits >> 112n) & 0xff0fn) === 0xff02n;
const isMulticast = under('224.0.0.0/4', 'ff00::/8');
const isGlobalUnicast = (ip: IpAddress): boolean =>
  !isUnspecified(ip) && !isLoopback(ip) && !isMulticast(ip) && !isLinkLocalUnicast(ip) && ip.toString() !== '255.255.255.255';

function ipOf(text: string): IpAddress {
  const ip = parseIp(text);
  if (ip === undefined) throw new Error(`IP Address ${JSON.stringify(text)} parse error during conversion from string`);
  return ip;
}

function cidrOf(text: string): CidrBlock {
  const block = parseCidr(text);
  if (block === undefined) throw new Error(`network address parse error during conversion from string: ${JSON.stringify(text)}`);
  return block;
}

const containsBlock = (outer: CidrBlock, inner: CidrBlock): boolean =>
  inner.length >= outer.length && outer.contains(inner.address);

/** `ip('10.0.0.1')`, `cidr('10.0.0.0/8')` and what can be asked of them. */
export function registerAddresses({ on, type, namespace }: Registrar): void {
  type('net.IP', IpAddress, (a, b) => a.equals(b));
  type('net.CIDR', CidrBlock, (a, b) => a.equals(b));
  on('isIP(string): bool', (text: string) => parseIp(text) !== undefined);
  on('ip(string): net.IP', ipOf);
  on('string(net.IP): string', (ip: IpAddress) => ip.toString());
  on('net.IP.family(): int', ({ family }: IpAddress) => BigInt(family));
  for (const [name, holds] of Object.entries({
    isUnspecified,
    isLoopback,
    isLinkLocalMulticast,
    isLinkLocalUnicast,
    isGlobalUnicast,
  })) {
    on(`net.IP.${name}(): bool`, holds);
  }
  on(`${namespace('ip')}.isCanonical(string): bool`, (_ip: unknown, text: string) => ipOf(text).toString() === text);
  on('isCIDR(string): bool', (text: string) => parseCidr(text) !== undefined);
  on('cidr(string): net.CIDR', cidrOf);
  on('string(net.CIDR): string', (block: CidrBlock) => block.toString());
  on('net.CIDR.containsIP(string): bool', (block: CidrBlock, text: string) => block.contains(ipOf(text)));
  on('net.CIDR.containsIP(net.IP): bool', (block: CidrBlock, ip: IpAddress) => block.contains(ip));
  on('net.CIDR.containsCIDR(string): bool', (block: CidrBlock, text: string) => containsBlock(block, cidrOf(text)));
  on('net.CIDR.containsCIDR(net.CIDR): bool', containsBlock);
  on('net.CIDR.ip(): net.IP', ({ address }: CidrBlock) => address);
  on('net.CIDR.masked(): net.CIDR', ({ masked }: CidrBlock) => masked);
  on('net.CIDR.prefixLength(): int', ({ length }: CidrBlock) => BigInt(length));
}
