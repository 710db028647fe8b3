import type { Duplex } from 'node:stream';
import { badRequest } from '@slipway/apimachinery';
import { type MessageStream, MessageQueue } from '@slipway/client';
import { SpdySession, type SpdyStream, type SpdyTransport } from '../spdy/session.ts';

export const SPDY_PORT_FORWARD = 'portforward.k8s.io';
/** Offered by kubectl from 1.30 on: the frames of SPDY in the messages of a WebSocket. */
export const TUNNELLED_PORT_FORWARD = 'SPDY/3.1+portforward.k8s.io';
/** Two channels per port of the query. */
export const PORT_FORWARD_PROTOCOLS = [TUNNELLED_PORT_FORWARD, 'v4.channel.k8s.io'];

/** Connects to a port of the pod. */
export type OpenPort = (port: number) => Promise<Duplex>;

const MAX_PORTS = 64;
/** What may wait for a port that does not read before the whole connection is held back. */
const MAX_UNREAD_BYTES = 1024 * 1024;

interface Side {
  readonly data: AsyncIterable<Uint8Array>;
  write(bytes: Uint8Array): Promise<void>;
  end(): Promise<void>;
}

/** A number from 1 to 65535, else undefined. */
export function parsePort(text: string | undefined): number | undefined {
  const port = /^[0-9]{1,5}$/.test(text ?? '') ? Number(text) : 0;
  return port >= 1 && port <= 65535 ? port : undefined;
}

/** Ports of the query of a WebSocket request. Throws StatusError 400. */
export function portsOf(query: URLSearchParams): number[] {
  const texts = query.getAll('ports').flatMap((value) => value.split(','));
  if (texts.length > MAX_PORTS) throw badRequest(`more than ${MAX_PORTS} ports`);
  return texts.map((text) => {
    const port = parsePort(text.trim());
    if (port === undefined) throw badRequest(`${JSON.stringify(text)} is no port between 1 and 65535`);
    return port;
  });
}

/** Serves port-forward on a SPDY connection: a data and an error stream per connection. Never rejects. */
export async function serveSpdyPortForward(transport: SpdyTransport, open: OpenPort): Promise<void> {
  const waiting = new Map<string, SpdyStream>();
  const running = new Set<Duplex>();
  const session = new SpdySession(transport, (stream) => {
    const { streamtype = '', requestid = '', port = '' } = stream.headers;
    const other = streamtype === 'data' ? 'error' : 'data';
    if (streamtype !== 'data' && streamtype !== 'error') return void stream.reset();
    const key = `${requestid || port}`;
    const partner = waiting.get(`${other} ${key}`);
    if (partner === undefined) {
      waiting.set(`${streamtype} ${key}`, stream);
      return undefined;
    }
    waiting.delete(`${other} ${key}`);
    const pair = streamtype === 'data' ? { data: stream, error: partner } : { data: partner, error: stream };
    void forward(pair, open, running);
    return undefined;
  });
  await session.run();
  for (const duplex of running) duplex.destroy();
}

async function forward(
  { data, error }: { readonly data: SpdyStream; readonly error: SpdyStream },
  open: OpenPort,
  running: Set<Duplex>,
): Promise<void> {
  const port = parsePort(data.headers['port']);
  try {
    if (port === undefined) throw new Error(`${JSON.stringify(data.headers['port'])} is no port between 1 and 65535`);
    const duplex = await open(port);
    running.add(duplex);
    duplex.once('close', () => running.delete(duplex));
    await splice(data, duplex);
    await error.end();
  } catch (failure) {
    await error.write(Buffer.from(textOf(failure)));
    await error.end();
    await data.reset();
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Carries bytes both ways until both directions have ended. Rejects when the connection breaks. */
async function splice(side: Side, duplex: Duplex): Promise<void> {
  let failure: Error | undefined;
  duplex.on('error', (error) => (failure = error));
  const up = async (): Promise<void> => {
    for await (const bytes of side.data) {
      if (duplex.destroyed) return;
      if (!duplex.write(bytes)) await drained(duplex);
    }
    duplex.end();
  };
  const goingUp = up();
  goingUp.catch(() => undefined);
  try {
    for await (const chunk of duplex) await side.write(chunk as Buffer);
  } catch (error) {
    throw failure ?? error;
  }
  await side.end();
}

function drained(duplex: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      duplex.off('drain', settle).off('close', settle);
      resolve();
    };
    duplex.once('drain', settle).once('close', settle);
  });
}

/** Serves port-forward on a WebSocket: channel 2n carries the data of port n, channel 2n+1 what went wrong. */
export async function serveWebSocketPortForward(stream: MessageStream, ports: readonly number[], open: OpenPort): Promise<void> {
  const send = (channel: number, bytes: Uint8Array): Promise<void> => stream.send(Buffer.concat([Buffer.from([channel]), bytes]));
  const duplexes: Duplex[] = [];
  const inputs = ports.map((port, index) => {
    const { queue: input, room, release } = inputQueue();
    const portBytes = Buffer.from([port & 0xff, port >> 8]);
    const run = async (): Promise<void> => {
      await send(2 * index, portBytes);
      await send(2 * index + 1, portBytes);
      try {
        const duplex = await open(port);
        duplexes.push(duplex);
        await splice({ data: input, write: (bytes) => send(2 * index, bytes), end: async () => undefined }, duplex);
      } catch (error) {
        await send(2 * index + 1, Buffer.from(textOf(error)));
      }
    };
    return { input, room, release, ended: run().then(release, release) };
  });
  const reading = (async () => {
    for await (const message of stream.messages) {
      const port = inputs[(message[0] ?? 0) >> 1];
      if (port === undefined || message.length < 2 || (message[0] ?? 1) % 2 !== 0) continue;
      port.input.push(message.subarray(1));
      await port.room();
    }
  })().catch(() => undefined);
  stream.closed?.then(() => inputs.forEach(({ release }) => release())).catch(() => undefined);
  await Promise.race([reading, Promise.all(inputs.map(({ ended }) => ended))]);
  for (const { input } of inputs) input.end();
  for (const duplex of duplexes) duplex.destroy();
}

interface InputQueue {
  readonly queue: MessageQueue;
  /** Resolves when there is room for more. */
  readonly room: () => Promise<void>;
  /** Nobody waits for room any more. */
  readonly release: () => void;
}

/** What a client sends to one port. */
function inputQueue(): InputQueue {
  let room = Promise.resolve();
  let proceed = (): void => {};
  let isReleased = false;
  const pause = (): void => {
    if (isReleased) return;
    room = new Promise((resolve) => {
      proceed = resolve;
    });
  };
  return {
    queue: new MessageQueue({ maxBytes: MAX_UNREAD_BYTES, pause, resume: () => proceed() }),
    room: () => room,
    release() {
      isReleased = true;
      proceed();
    },
  };
}
