import { type Duplex, pipeline } from 'node:stream';
import type { Client, MessageStream } from '@slipway/client';
import { backOffDelay } from '../back-off.ts';
import { sleep, type TimerClock } from '../clock.ts';
import type { Logger } from '../logger.ts';
import type { NodeCall } from '../node-connector.ts';
import { duplexOf } from './message-duplex.ts';
import {
  decodeMessage,
  encodeMessage,
  SILENCE_MS,
  statusOf,
  streamPath,
  TUNNEL_PROTOCOL,
  type TunnelAnswer,
  tunnelPath,
  type TunnelRequest,
} from './protocol.ts';

/** What a node agent answers. Both may throw StatusError; the signal ends when the asker lost interest. */
export interface NodeHandlers {
  call(call: NodeCall, signal: AbortSignal): Promise<unknown>;
  open(call: NodeCall, signal: AbortSignal): Promise<Duplex>;
}

export interface TunnelAgentDeps {
  readonly client: Client;
  readonly nodeName: string;
  readonly handlers: NodeHandlers;
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
  /** Called each time the tunnel stands. */
  readonly onConnected?: () => void;
}

const RECONNECT = { baseMs: 100, maxMs: 1_500, jitter: 0.5 };

/** Keeps the tunnel of this node up and answers what comes through it, until aborted. Never rejects. */
export async function serveTunnel(deps: TunnelAgentDeps, signal: AbortSignal): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    try {
      const path = tunnelPath(deps.nodeName);
      const stream = await deps.client.connect({ path, protocols: [TUNNEL_PROTOCOL], signal });
      failures = 0;
      deps.log.info({ node: deps.nodeName }, 'tunnel connected');
      deps.onConnected?.();
      await serveConnection(deps, stream, signal);
    } catch (error) {
      if (!signal.aborted) deps.log.debug({ error: String(error), failures }, 'tunnel failed');
    }
    failures++;
    await sleep(deps.clock, backOffDelay(failures, RECONNECT, deps.random), signal).catch(() => {});
  }
}

async function serveConnection(deps: TunnelAgentDeps, stream: MessageStream, parent: AbortSignal): Promise<void> {
  const running = new Map<string, AbortController>();
  const onAbort = (): void => stream.close();
  parent.addEventListener('abort', onAbort, { once: true });
  let cancelWatchdog = (): void => {};
  const heard = (): void => {
    cancelWatchdog();
    cancelWatchdog = deps.clock.setTimer(SILENCE_MS, () => stream.close(1001, 'silent'));
  };
  heard();
  try {
    for await (const message of stream.messages) {
      heard();
      onRequest(deps, stream, running, decodeMessage<TunnelRequest>(message));
    }
  } finally {
    cancelWatchdog();
    parent.removeEventListener('abort', onAbort);
    for (const controller of running.values()) controller.abort(new Error('The tunnel was lost'));
  }
}

function onRequest(
  deps: TunnelAgentDeps,
  stream: MessageStream,
  running: Map<string, AbortController>,
  request: TunnelRequest | undefined,
): void {
  const reply = (answer: TunnelAnswer): void => void stream.send(encodeMessage(answer)).catch(() => {});
  switch (request?.type) {
    case 'ping':
      reply({ type: 'pong' });
      return;
    case 'cancel':
      running.get(request.id)?.abort(new Error('No longer wanted'));
      return;
    case 'call':
    case 'open': {
      const { id } = request;
      const controller = new AbortController();
      running.set(id, controller);
      const work = request.type === 'call' ? call(deps, request, controller.signal) : open(deps, request, controller.signal);
      work
        .then((answer) => answer && reply(answer))
        .catch((error: unknown) => reply({ type: 'error', id, status: statusOf(error) }))
        .finally(() => running.delete(id));
      return;
    }
    default:
  }
}

type Asked = Extract<TunnelRequest, { type: 'call' | 'open' }>;

async function call({ handlers }: TunnelAgentDeps, { id, verb, params }: Asked, signal: AbortSignal): Promise<TunnelAnswer> {
  return { type: 'result', id, result: (await handlers.call({ verb, params }, signal)) ?? null };
}

/** Opens first, so that a refusal reaches the asker, then dials back and connects the two. */
async function open(deps: TunnelAgentDeps, { id, verb, params }: Asked, signal: AbortSignal): Promise<undefined> {
  const { client, nodeName, handlers, log } = deps;
  const local = await handlers.open({ verb, params }, signal);
  // a guest may break the stream off before it is connected; without a listener that would end the agent
  const onEnd = (error: unknown): void => {
    if (error instanceof Error) log.debug({ verb, error: error.message }, 'stream broke');
  };
  local.on('error', onEnd);
  let remote: Duplex;
  try {
    signal.throwIfAborted();
    remote = duplexOf(await client.connect({ path: streamPath(nodeName, id), protocols: [TUNNEL_PROTOCOL], signal }));
  } catch (error) {
    local.destroy();
    throw error;
  }
  pipeline(local, remote, onEnd);
  pipeline(remote, local, onEnd);
  return undefined;
}
