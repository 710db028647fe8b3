import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import type { Forward } from './dns-answer.ts';

const WAIT_MS = 2000;
/** More questions at a time are not answered: a guest may ask without end. */
const MAX_AT_ONCE = 512;

/** Asks the servers in their order, each for two seconds. */
export function forwarder(servers: () => readonly string[]): { readonly udp: Forward; readonly tcp: Forward } {
  let running = 0;
  const asking =
    (ask: (server: string, query: Buffer) => Promise<Buffer | undefined>): Forward =>
    async (query) => {
      if (running >= MAX_AT_ONCE) return undefined;
      running++;
      try {
        for (const server of servers()) {
          const answer = await ask(server, query);
          if (answer !== undefined) return answer;
        }
        return undefined;
      } finally {
        running--;
      }
    };
  return { udp: asking(askByUdp), tcp: asking(askByTcp) };
}

function askByUdp(server: string, query: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(server) ? 'udp6' : 'udp4');
    const end = (answer?: Buffer): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => end(), WAIT_MS);
    socket.once('error', () => end());
    socket.on('message', (message) => {
      if (message.length >= 2 && message.readUInt16BE(0) === query.readUInt16BE(0)) end(message);
    });
    // connected: answers of others are not heard
    socket.connect(53, server, () => socket.send(query));
  });
}

function askByTcp(server: string, query: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    let received = Buffer.alloc(0);
    const socket = connect({ host: server, port: 53, timeout: WAIT_MS });
    const end = (answer?: Buffer): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('connect', () => socket.write(framed(query)));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const message = unframed(received);
      if (message) end(message);
    });
    for (const event of ['timeout', 'error', 'close'] as const) socket.on(event, () => end());
  });
}

/** A message as TCP carries it: its length first. */
export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** The first whole message of what has come; undefined as long as there is none. */
export function unframed(received: Buffer): Buffer | undefined {
  if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return undefined;
  return received.subarray(2, 2 + received.readUInt16BE(0));
}
