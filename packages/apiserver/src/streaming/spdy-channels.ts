import type { Status } from '@slipway/apimachinery';
import { MessageQueue } from '@slipway/client';
import { Channel, type ChannelFrame } from '@slipway/runtime';
import { SpdySession, type SpdyStream, type SpdyTransport } from '../spdy/session.ts';
import type { ExecOptions } from './exec-options.ts';
import type { ClientChannels } from './relay.ts';

/** Versions of exec and attach over SPDY: one stream for each of error, stdin, stdout, stderr and resize. Newest first. */
export const SPDY_EXEC_PROTOCOLS = ['v4.channel.k8s.io', 'v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'];

const STREAMS_TIMEOUT_MS = 30_000;

/** Streams a client opens for what it asked. */
function wantedStreams({ stdin, stdout, stderr, tty }: ExecOptions, protocol: string): string[] {
  const isResizable = protocol.startsWith('v3.') || protocol.startsWith('v4.');
  return [
    'error',
    ...(stdin ? ['stdin'] : []),
    ...(stdout ? ['stdout'] : []),
    ...(stderr && !tty ? ['stderr'] : []),
    ...(tty && isResizable ? ['resize'] : []),
  ];
}

/** Serves exec or attach on a SPDY connection: waits for the streams, then hands the channels over. Never rejects. */
export async function serveSpdyExec(
  transport: SpdyTransport,
  { options, protocol }: { readonly options: ExecOptions; readonly protocol: string },
  serve: (client: ClientChannels) => Promise<void>,
): Promise<void> {
  const streams = new Map<string, SpdyStream>();
  const wanted = wantedStreams(options, protocol);
  let onComplete: (isComplete: boolean) => void = () => undefined;
  const complete = new Promise<boolean>((resolve) => (onComplete = resolve));
  const session = new SpdySession(transport, (stream) => {
    const kind = stream.headers['streamtype'] ?? '';
    if (!wanted.includes(kind) || streams.has(kind)) {
      void stream.reset();
      return;
    }
    streams.set(kind, stream);
    if (wanted.every((name) => streams.has(name))) onComplete(true);
  });
  const timer = setTimeout(() => onComplete(false), STREAMS_TIMEOUT_MS);
  const running = session.run().then(() => onComplete(false));
  const isComplete = await complete;
  clearTimeout(timer);
  if (isComplete) await serve(channelsOf(streams, protocol, running));
  session.close();
  await running;
}

function channelsOf(streams: ReadonlyMap<string, SpdyStream>, protocol: string, ended: Promise<void>): ClientChannels {
  return {
    input: inputOf(streams, ended),
    async send(channel, data) {
      await streams.get(channel === Channel.stderr ? 'stderr' : 'stdout')?.write(data);
    },
    async finish(status) {
      for (const name of ['stdout', 'stderr']) await streams.get(name)?.end();
      const text = statusText(protocol, status);
      if (text !== undefined) await streams.get('error')?.write(Buffer.from(text));
      await streams.get('error')?.end();
    },
  };
}

function statusText(protocol: string, status: Status): string | undefined {
  if (protocol.startsWith('v4.')) return JSON.stringify(status);
  return status.status === 'Success' ? undefined : (status.message ?? 'the command failed');
}

/** Standard input and sizes merged, until the connection ends. */
function inputOf(streams: ReadonlyMap<string, SpdyStream>, ended: Promise<void>): AsyncIterable<ChannelFrame> {
  const waiting: (() => void)[] = [];
  // one frame at a time: what is not taken stays in the stream's own queue, which holds the connection back
  const resume = (): void => waiting.splice(0).forEach((proceed) => proceed());
  const queue = new MessageQueue({ maxBytes: 0, pause: () => undefined, resume });
  const pump = async (name: string, channel: number): Promise<void> => {
    const stream = streams.get(name);
    if (stream === undefined) return;
    for await (const data of stream.data) {
      const taken = new Promise<void>((resolve) => waiting.push(resolve));
      queue.push(Buffer.concat([Buffer.from([channel]), data]));
      await Promise.race([taken, ended]);
    }
    if (channel === Channel.stdin) queue.push(Buffer.from([channel]));
  };
  for (const name of ['stdout', 'stderr', 'error']) void discard(streams.get(name));
  void pump('stdin', Channel.stdin);
  void pump('resize', Channel.resize);
  void ended.then(() => queue.end());
  return (async function* () {
    for await (const message of queue) yield { channel: message[0] ?? 0, data: message.subarray(1) };
  })();
}

async function discard(stream: SpdyStream | undefined): Promise<void> {
  for await (const _ of stream?.data ?? []) {
    // the client has nothing to say here
  }
}
