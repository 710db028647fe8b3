import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { createConnection } from 'node:net';
import { Duplex } from 'node:stream';
import { badRequest, StatusError } from '@slipway/apimachinery';

export interface ForwardTarget {
  /** Address of the VM as the host reaches it. */
  readonly address: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
}

const CONNECT_TIMEOUT_MS = 10_000;
const MAX_WAITING_DATAGRAMS = 64;

/** Checks what a client asked for. */
export function parseForward(params: Readonly<Record<string, unknown>>): Omit<ForwardTarget, 'address'> {
  const port = Number(params['port']);
  const protocol = params['protocol'] ?? 'tcp';
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw badRequest(`${String(params['port'])} is no port between 1 and 65535`);
  if (protocol !== 'tcp' && protocol !== 'udp') throw badRequest(`${JSON.stringify(protocol)} is neither tcp nor udp`);
  return { port, protocol };
}

/** Connects to a port of the guest. A udp stream frames each datagram with its length as two bytes, big-endian. */
export function openForward(target: ForwardTarget): Promise<Duplex> {
  return target.protocol === 'tcp' ? openTcp(target) : openUdp(target);
}

function openTcp({ address, port }: ForwardTarget): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: address, port, timeout: CONNECT_TIMEOUT_MS, allowHalfOpen: true });
    const fail = (text: string, cause?: Error) => {
      socket.destroy();
      const message = `Cannot connect to port ${port} of the guest: ${text}`;
      reject(new StatusError({ code: 500, reason: 'InternalError', message }, cause));
    };
    socket.once('error', (error) => fail(error.message, error));
    socket.once('timeout', () => fail('no answer'));
    socket.once('connect', () => {
      // a guest may break off at once; whoever carries the stream sees that by its end
      socket.removeAllListeners('error').on('error', () => {});
      socket.removeAllListeners('timeout').setTimeout(0).setNoDelay(true);
      resolve(socket);
    });
  });
}

/** Datagrams come and go as the network pleases: those that nobody reads in time are lost, as in any queue of UDP. */
async function openUdp({ address, port }: ForwardTarget): Promise<Duplex> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    // connected: what others send to this port is not the guest's
    socket.connect(port, address, () => {
      socket.off('error', reject);
      resolve();
    });
  });
  const waiting: Buffer[] = [];
  let isWanted = false;
  let received: Buffer = Buffer.alloc(0);
  const stream = new Duplex({
    read() {
      const next = waiting.shift();
      isWanted = next === undefined;
      if (next !== undefined) this.push(next);
    },
    write(chunk: Buffer, _encoding, done) {
      received = Buffer.concat([received, chunk]);
      const { datagrams, rest } = splitFrames(received);
      received = Buffer.from(rest);
      for (const datagram of datagrams) socket.send(datagram, ignoreRefusal);
      done();
    },
    final(done) {
      closeSocket(socket);
      this.push(null);
      done();
    },
    destroy(error, done) {
      closeSocket(socket);
      done(error);
    },
  });
  socket.on('message', (datagram) => {
    if (stream.destroyed || stream.readableEnded) return;
    const frame = frameOf(datagram);
    if (isWanted) {
      isWanted = false;
      stream.push(frame);
    } else if (waiting.length < MAX_WAITING_DATAGRAMS) waiting.push(frame);
  });
  socket.on('error', ignoreRefusal);
  return stream;
}

/** A guest says that nobody listens there, or a datagram is too long: it is lost, others may arrive. */
const ignoreRefusal = (): void => {};

function closeSocket(socket: DatagramSocket): void {
  try {
    socket.close();
  } catch {
    // closed before
  }
}

export function frameOf(datagram: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(datagram.length);
  return Buffer.concat([length, datagram]);
}

/** Whole frames at the start of the bytes, and what follows them. */
export function splitFrames(bytes: Buffer): { datagrams: Buffer[]; rest: Buffer } {
  const datagrams: Buffer[] = [];
  let offset = 0;
  while (bytes.length - offset >= 2) {
    const end = offset + 2 + bytes.readUInt16BE(offset);
    if (end > bytes.length) break;
    datagrams.push(bytes.subarray(offset + 2, end));
    offset = end;
  }
  return { datagrams, rest: bytes.subarray(offset) };
}
