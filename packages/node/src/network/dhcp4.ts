import { addressBytes, parseCidr } from './cidr.ts';
import type { GuestConfig } from './guest-config.ts';

/** The fields of a DHCPv4 request that decide the answer. */
export interface Dhcp4Request {
  readonly xid: Buffer;
  readonly flags: Buffer;
  readonly mac: string;
  readonly chaddr: Buffer;
  readonly messageType: number;
  readonly requestedIp: string | undefined;
  readonly serverId: string | undefined;
  readonly clientAddress: string;
}

const DISCOVER = 1;
const OFFER = 2;
const REQUEST = 3;
const ACK = 5;
const NAK = 6;
const INFORM = 8;
const MAGIC = Buffer.from([99, 130, 83, 99]);
const OPTIONS_AT = 240;
/** 999 days: the address never changes, so nobody needs to ask again. */
const LEASE_SECONDS = 86_313_600;
const MAX_REPLY = 1400;

/** Understands a packet from UDP port 68; undefined when it is not a well-formed Ethernet request. */
export function parseDhcp4(packet: Buffer): Dhcp4Request | undefined {
  if (packet.length < OPTIONS_AT || packet[0] !== 1 || packet[1] !== 1 || packet[2] !== 6) return undefined;
  if (!packet.subarray(236, 240).equals(MAGIC)) return undefined;
  const options = readOptions(packet.subarray(OPTIONS_AT));
  const messageType = options.get(53)?.[0];
  if (messageType === undefined) return undefined;
  const chaddr = packet.subarray(28, 44);
  return {
    xid: packet.subarray(4, 8),
    flags: packet.subarray(10, 12),
    chaddr,
    mac: [...chaddr.subarray(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
    messageType,
    requestedIp: dotted(options.get(50)),
    serverId: dotted(options.get(54)),
    clientAddress: dotted(packet.subarray(12, 16)) ?? '0.0.0.0',
  };
}

function dotted(bytes: Buffer | undefined): string | undefined {
  return bytes?.length === 4 ? bytes.join('.') : undefined;
}

function readOptions(bytes: Buffer): Map<number, Buffer> {
  const options = new Map<number, Buffer>();
  for (let at = 0; at < bytes.length; ) {
    const code = bytes[at] ?? 255;
    if (code === 255) break;
    if (code === 0) {
      at += 1;
      continue;
    }
    const length = bytes[at + 1];
    if (length === undefined || at + 2 + length > bytes.length) break;
    options.set(code, bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
}

/** The answer to a request, or undefined when silence is right: another client, another server, a release. */
export function answerDhcp4(request: Dhcp4Request, config: GuestConfig): Buffer | undefined {
  if (request.mac !== config.mac) return undefined;
  const type = replyType(request, config);
  if (type === undefined) return undefined;
  const reply = Buffer.alloc(OPTIONS_AT);
  reply.set([2, 1, 6, 0]);
  request.xid.copy(reply, 4);
  request.flags.copy(reply, 10);
  if (request.messageType === INFORM) addressBytes(request.clientAddress).copy(reply, 12);
  if (type !== NAK && request.messageType !== INFORM) addressBytes(config.v4.address).copy(reply, 16);
  addressBytes(config.v4.server).copy(reply, 20);
  request.chaddr.copy(reply, 28);
  MAGIC.copy(reply, 236);
  return assemble(reply, [
    option(53, [type]),
    option(54, addressBytes(config.v4.server)),
    ...(type === NAK ? [] : offeredOptions(config, request.messageType !== INFORM)),
  ]);
}

/** Options are added as long as they fit, the necessary ones come first. */
function assemble(header: Buffer, options: readonly Buffer[]): Buffer {
  const parts = [header];
  let length = header.length;
  for (const part of options) {
    if (length + part.length >= MAX_REPLY) continue;
    parts.push(part);
    length += part.length;
  }
  // BOOTP relays and some clients drop anything shorter than 300 bytes.
  return Buffer.concat([...parts, Buffer.from([255]), Buffer.alloc(Math.max(0, 299 - length))]);
}

function replyType(request: Dhcp4Request, config: GuestConfig): number | undefined {
  switch (request.messageType) {
    case DISCOVER:
      return OFFER;
    case INFORM:
      return ACK;
    case REQUEST: {
      if (request.serverId !== undefined && request.serverId !== config.v4.server) return undefined;
      const wanted = request.requestedIp ?? request.clientAddress;
      // A guest that remembers another network must hear that it moved, else it waits for minutes.
      return wanted === config.v4.address ? ACK : NAK;
    }
    default:
      return undefined;
  }
}

function offeredOptions(config: GuestConfig, withLease: boolean): Buffer[] {
  const { v4, resolver, mtu, hostname, dhcpOptions } = config;
  const servers = resolver.nameservers.filter((server) => server.includes('.') && !server.includes(':'));
  const domain = [...resolver.searches].sort((a, b) => b.length - a.length)[0];
  const lease = Buffer.alloc(4);
  lease.writeUInt32BE(LEASE_SECONDS);
  const search = searchList(resolver.searches);
  return [
    ...(withLease ? [option(51, lease)] : []),
    option(1, netmask(v4.prefix)),
    ...(v4.gateway === undefined ? [] : [option(3, addressBytes(v4.gateway))]),
    ...(servers.length > 0 ? [option(6, Buffer.concat(servers.slice(0, 8).map(addressBytes)))] : []),
    option(12, Buffer.from(hostname.slice(0, 63))),
    option(26, [mtu >> 8, mtu & 255]),
    option(28, broadcast(v4.address, v4.prefix)),
    ...(domain === undefined ? [] : [option(15, Buffer.from(domain))]),
    ...(search ? [option(119, search)] : []),
    ...(v4.routes.length > 0 ? [option(121, classlessRoutes(config))] : []),
    ...askedOptions(dhcpOptions),
  ];
}

/** What the VM asks to be told beside. */
function askedOptions(asked: GuestConfig['dhcpOptions'] = {}): Buffer[] {
  const { ntpServers = [], tftpServerName, bootFileName, privateOptions = [] } = asked;
  const ntp = ntpServers.filter((server) => /^[\d.]+$/.test(server));
  return [
    ...(ntp.length > 0 ? [option(42, Buffer.concat(ntp.map(addressBytes)))] : []),
    ...(tftpServerName ? [option(66, Buffer.from(tftpServerName))] : []),
    ...(bootFileName ? [option(67, Buffer.from(bootFileName))] : []),
    ...privateOptions.map((entry) => option(entry.option, Buffer.from(entry.value))),
  ];
}

function option(code: number, value: Uint8Array | readonly number[]): Buffer {
  const bytes = Buffer.from(value).subarray(0, 255);
  return Buffer.concat([Buffer.from([code, bytes.length]), bytes]);
}

function netmask(prefix: number): Buffer {
  const mask = Buffer.alloc(4);
  mask.writeUInt32BE(prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0);
  return mask;
}

function broadcast(address: string, prefix: number): Buffer {
  const cidr = parseCidr(`${address}/${prefix}`);
  return addressBytes(cidr.addressAt(cidr.size - 1));
}

/** Domain names as DNS writes them, uncompressed; undefined when there are none or they do not fit into one option. */
function searchList(searches: readonly string[]): Buffer | undefined {
  const names = searches.map((search) => {
    const labels = search.split('.').filter((label) => label !== '' && label.length < 64);
    return Buffer.concat([...labels.map((label) => Buffer.from([label.length, ...Buffer.from(label)])), Buffer.from([0])]);
  });
  const all = Buffer.concat(names);
  return all.length > 0 && all.length <= 255 ? all : undefined;
}

/** A client that understands this option ignores the router option, so the default route is in it too. */
function classlessRoutes({ v4 }: GuestConfig): Buffer {
  const all = [...v4.routes, ...(v4.gateway === undefined ? [] : [{ destination: '0.0.0.0/0', gateway: v4.gateway }])];
  return Buffer.concat(
    all.map(({ destination, gateway }) => {
      const network = parseCidr(destination);
      const significant = addressBytes(network.addressAt(0)).subarray(0, Math.ceil(network.prefix / 8));
      return Buffer.concat([Buffer.from([network.prefix]), significant, addressBytes(gateway)]);
    }),
  );
}
