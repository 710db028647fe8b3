import { addressBytes } from './cidr.ts';
import type { GuestConfig } from './guest-config.ts';

const SOLICIT = 1;
const ADVERTISE = 2;
const CONFIRM = 4;
const REPLY = 7;
/** Request, Confirm, Renew, Rebind, Release, Decline, Information-request: all are answered by a Reply. */
const ANSWERED = new Set([3, 4, 5, 6, 8, 9, 11]);
const WITHOUT_ADDRESS = new Set([8, 9, 11]);

const CLIENT_ID = 1;
const SERVER_ID = 2;
const IA_NA = 3;
const IA_ADDRESS = 5;
const STATUS = 13;
const RAPID_COMMIT = 14;
const DNS_SERVERS = 23;
const INFINITE = 0xffffffff;

/** The answer to a DHCPv6 message from UDP port 546, or undefined when silence is right. */
export function answerDhcp6(packet: Buffer, config: GuestConfig, serverMac: string): Buffer | undefined {
  const type = packet[0];
  if (type === undefined || packet.length < 4 || config.v6 === undefined) return undefined;
  const options = readOptions(packet.subarray(4));
  const rapid = type === SOLICIT && options.has(RAPID_COMMIT);
  const replyType = replyTypeOf(type, rapid);
  if (replyType === undefined) return undefined;
  const server = Buffer.concat([Buffer.from([0, 3, 0, 1]), Buffer.from(serverMac.replaceAll(':', ''), 'hex')]);
  const addressed = options.get(SERVER_ID);
  if (addressed && !addressed.equals(server)) return undefined;
  const client = options.get(CLIENT_ID);
  return Buffer.concat([
    Buffer.from([replyType]),
    packet.subarray(1, 4),
    option(SERVER_ID, server),
    ...(client ? [option(CLIENT_ID, client)] : []),
    ...(rapid ? [option(RAPID_COMMIT, Buffer.alloc(0))] : []),
    ...bodyOptions(type, options, { ...config, v6: config.v6 }),
  ]);
}

function replyTypeOf(type: number, rapid: boolean): number | undefined {
  if (type === SOLICIT) return rapid ? REPLY : ADVERTISE;
  return ANSWERED.has(type) ? REPLY : undefined;
}

/** A configuration that says something of IPv6. */
export type DualConfig = GuestConfig & { readonly v6: NonNullable<GuestConfig['v6']> };

function bodyOptions(type: number, options: ReadonlyMap<number, Buffer>, config: DualConfig): Buffer[] {
  const association = options.get(IA_NA)?.subarray(0, 4);
  const withAddress = association?.length === 4 && !WITHOUT_ADDRESS.has(type);
  const dns = config.resolver.nameservers.filter((address) => address.includes(':'));
  return [
    ...(withAddress ? [addressOption(association, config.v6.address)] : []),
    ...(WITHOUT_ADDRESS.has(type) || type === CONFIRM ? [option(STATUS, Buffer.from([0, 0]))] : []),
    ...(dns.length > 0 ? [option(DNS_SERVERS, Buffer.concat(dns.slice(0, 4).map(addressBytes)))] : []),
  ];
}

function addressOption(association: Buffer, address: string): Buffer {
  const times = Buffer.alloc(8);
  times.writeUInt32BE(INFINITE, 0);
  times.writeUInt32BE(INFINITE, 4);
  // Renewal times of the association, then preferred and valid lifetime of the address: all infinite.
  return option(IA_NA, Buffer.concat([association, times, option(IA_ADDRESS, Buffer.concat([addressBytes(address), times]))]));
}

function option(code: number, value: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt16BE(code, 0);
  header.writeUInt16BE(value.length, 2);
  return Buffer.concat([header, value]);
}

function readOptions(bytes: Buffer): Map<number, Buffer> {
  const options = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16BE(at + 2);
    if (at + 4 + length > bytes.length) break;
    options.set(bytes.readUInt16BE(at), bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return options;
}

const ROUTER_LIFETIME_SECONDS = 9000;

/** A router advertisement that says: this is the router, the address comes from DHCPv6. The kernel adds the checksum. */
export function routerAdvertisement(config: DualConfig, routerMac: string): Buffer {
  const message = Buffer.alloc(16 + 8 + 8 + 32);
  message[0] = 134;
  message[4] = 64; // hop limit
  message[5] = 0xc0; // managed address, other configuration
  message.writeUInt16BE(ROUTER_LIFETIME_SECONDS, 6);
  message.set([1, 1], 16); // source link-layer address
  Buffer.from(routerMac.replaceAll(':', ''), 'hex').copy(message, 18);
  message.set([5, 1], 24); // MTU
  message.writeUInt32BE(config.mtu, 28);
  // prefix: on link, but not for addresses of the guest's own making: only the one from DHCPv6 is translated
  message.set([3, 4, config.v6.prefix, 0x80], 32);
  message.writeUInt32BE(INFINITE, 36);
  message.writeUInt32BE(INFINITE, 40);
  addressBytes(config.v6.network).copy(message, 48);
  return message;
}
