import type { CommandRunner, IpCommand } from '@slipway/hostapi';
import { addressBytes } from './cidr.ts';

const BROADCAST = Buffer.alloc(6, 0xff);
const ALL_NODES_MAC = Buffer.from('333300000001', 'hex');
const ALL_NODES = addressBytes('ff02::1');
/** Sends frames, one a line in hexadecimal, from the link of the given index. */
const SEND_FRAMES = `use strict; use Socket;
socket(my $socket, 17, SOCK_RAW, 0) or die "packet socket: $!\\n";
while (my $hex = <STDIN>) {
  chomp $hex;
  send($socket, pack('H*', $hex), 0, pack('S n i S C C x8', 17, 0, $ARGV[0], 0, 0, 0)) or die "send: $!\\n";
}`;

/**
 * An Ethernet frame that tells everybody on the link that this MAC address answers for the IP address: gratuitous ARP, or an
 * unsolicited neighbour advertisement that overrides what is known.
 */
export function announcement(address: string, mac: string): Buffer {
  const source = Buffer.from(mac.replaceAll(':', ''), 'hex');
  return address.includes(':')
    ? neighbourAdvertisement(addressBytes(address), source)
    : gratuitousArp(addressBytes(address), source);
}

function gratuitousArp(address: Buffer, source: Buffer): Buffer {
  // Ethernet and IPv4, a request for the sender's own address
  const header = Buffer.from('0001080006040001', 'hex');
  return Buffer.concat([BROADCAST, source, Buffer.from('0806', 'hex'), header, source, address, Buffer.alloc(6), address]);
}

function neighbourAdvertisement(address: Buffer, source: Buffer): Buffer {
  // from a router, overriding; then the option with the link-layer address
  const message = Buffer.concat([Buffer.from('88000000a0000000', 'hex'), address, Buffer.from('0201', 'hex'), source]);
  message.writeUInt16BE(
    checksum(Buffer.concat([address, ALL_NODES, Buffer.from([0, 0, 0, message.length, 0, 0, 0, 58]), message])),
    2,
  );
  const header = Buffer.from([0x60, 0, 0, 0, 0, message.length, 58, 255]);
  return Buffer.concat([ALL_NODES_MAC, source, Buffer.from('86dd', 'hex'), header, address, ALL_NODES, message]);
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let index = 0; index < bytes.length; index += 2) sum += bytes.readUInt16BE(index);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** A network device as announcements need it. */
export interface AnnouncingLink {
  readonly ifindex: number;
  readonly address: string;
}

/** Undefined when there is no such device. */
export async function announcingLink(ip: IpCommand, device: string, signal: AbortSignal): Promise<AnnouncingLink | undefined> {
  const text = await ip.exec(['-j', 'link', 'show', 'dev', device], signal);
  return (JSON.parse(text) as readonly AnnouncingLink[])[0]; // as `ip -j` prints it
}

/** Sends announcements of the addresses from a network device. */
export async function announceAddresses(
  runner: CommandRunner,
  link: AnnouncingLink,
  addresses: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const frames = addresses.map((address) => `${announcement(address, link.address).toString('hex')}\n`);
  await runner.run(['perl', '-e', SEND_FRAMES, String(link.ifindex)], { stdin: frames.join('') }, signal);
}
