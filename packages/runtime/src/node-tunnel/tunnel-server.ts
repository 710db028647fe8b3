import type { Duplex } from 'node:stream';
import { StatusError } from '@slipway/apimachinery';
import type { MessageStream } from '@slipway/client';
import type { AggregatedApi, RouteRequest, StreamAcceptor } from '../aggregated-api.ts';
import type { TimerClock } from '../clock.ts';
import type { Logger } from '../logger.ts';
import type { NodeCall, NodeConnector } from '../node-connector.ts';
import { duplexOf } from './message-duplex.ts';
import {
  decodeMessage,
  encodeMessage,
  nodeUser,
  PING_MS,
  SILENCE_MS,
  TUNNEL_GROUP,
  TUNNEL_PROTOCOL,
  TUNNEL_VERSION,
  type TunnelAnswer,
  type TunnelRequest,
} from './protocol.ts';

export interface TunnelServerDeps {
  readonly clock: TimerClock;
  readonly log: Logger;
  /** An unguessable text, new for every call. */
  readonly token: () => string;
}

export interface TunnelServer extends NodeConnector {
  readonly api: AggregatedApi;
  isConnected(node: string): boolean;
}

interface Pending {
  readonly node: string;
  readonly settle: (outcome: { readonly result: unknown } | { readonly error: Error }) => void;
}

interface Tunnel {
  readonly stream: MessageStream;
  heardMs: number;
}

/** How long an agent may take to dial back. */
const DIAL_BACK_MS = 15_000;

/** The API server's end of the node tunnels: the routes agents dial, and the connector that uses them. */
export function createTunnelServer(deps: TunnelServerDeps): TunnelServer {
  const tunnels = new Map<string, Tunnel>();
  const calls = new Map<string, Pending>();
  const opens = new Map<string, Pending>();

  const ask = (kind: 'call' | 'open', node: string, call: NodeCall, signal: AbortSignal): Promise<unknown> => {
    signal.throwIfAborted();
    const tunnel = tunnels.get(node);
    if (tunnel === undefined) throw notConnected(node);
    const pending = kind === 'call' ? calls : opens;
    const id = deps.token();
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        void tunnel.stream.send(encodeMessage({ type: 'cancel', id })).catch(() => {});
        settle({ error: asError(signal.reason) });
      };
      const cancelTimer =
        kind === 'open' ? deps.clock.setTimer(DIAL_BACK_MS, () => settle({ error: notConnected(node) })) : (): void => {};
      const settle: Pending['settle'] = (outcome) => {
        if (!pending.delete(id)) return;
        cancelTimer();
        signal.removeEventListener('abort', onAbort);
        if ('error' in outcome) reject(outcome.error);
        else resolve(outcome.result);
      };
      pending.set(id, { node, settle });
      signal.addEventListener('abort', onAbort, { once: true });
      const request: TunnelRequest = { type: kind, id, verb: call.verb, params: call.params };
      tunnel.stream.send(encodeMessage(request)).catch(() => settle({ error: notConnected(node) }));
    });
  };

  const onAnswer = (node: string, answer: TunnelAnswer | undefined): void => {
    if (answer === undefined || answer.type === 'pong') return;
    const pending = calls.get(answer.id) ?? opens.get(answer.id);
    // an agent may settle only what was asked of it
    if (pending?.node !== node) return;
    if (answer.type === 'error') pending.settle({ error: new StatusError(answer.status) });
    else if (answer.type === 'result' && calls.has(answer.id)) pending.settle({ result: answer.result });
  };

  const serveTunnel = async (node: string, stream: MessageStream): Promise<void> => {
    const tunnel: Tunnel = { stream, heardMs: deps.clock.now() };
    tunnels.get(node)?.stream.close(1000, 'replaced by a newer tunnel');
    tunnels.set(node, tunnel);
    deps.log.info({ node }, 'node connected');
    const stopPinging = keepAlive(deps.clock, tunnel);
    try {
      for await (const message of stream.messages) {
        tunnel.heardMs = deps.clock.now();
        onAnswer(node, decodeMessage<TunnelAnswer>(message));
      }
    } catch (error) {
      deps.log.debug({ node, error: String(error) }, 'tunnel broke');
    } finally {
      stopPinging();
      if (tunnels.get(node) === tunnel) {
        tunnels.delete(node);
        deps.log.info({ node }, 'node disconnected');
        for (const pending of [...calls.values(), ...opens.values()]) {
          if (pending.node === node) pending.settle({ error: notConnected(node) });
        }
      }
    }
  };

  const serveStream = (node: string, id: string): StreamAcceptor => {
    const pending = opens.get(id);
    if (pending?.node !== node) throw new StatusError({ code: 404, reason: 'NotFound', message: 'No such stream is awaited' });
    return {
      protocols: [TUNNEL_PROTOCOL],
      async run(stream) {
        if (opens.get(id) !== pending) {
          stream.close(1008, 'no longer awaited');
          return;
        }
        const duplex = duplexOf(stream);
        const closed = new Promise<void>((resolve) => duplex.once('close', resolve));
        // errors show as the end of the stream; without a listener one would end the process
        duplex.on('error', (error) => deps.log.debug({ node, error: error.message }, 'stream broke'));
        pending.settle({ result: duplex });
        await closed;
      },
    };
  };

  return {
    api: tunnelApi({
      tunnel: (node) => ({ protocols: [TUNNEL_PROTOCOL], run: (stream) => serveTunnel(node, stream) }),
      stream: serveStream,
    }),
    isConnected: (node) => tunnels.has(node),
    call: async (node, call, signal) => ask('call', node, call, signal),
    // `opens` are settled by serveStream, with the duplex it made
    open: async (node, call, signal) => (await ask('open', node, call, signal)) as Duplex,
  };
}

interface TunnelRoutes {
  tunnel(node: string): StreamAcceptor;
  stream(node: string, id: string): StreamAcceptor;
}

function tunnelApi(routes: TunnelRoutes): AggregatedApi {
  const base = { resource: 'nodes', namespaced: false, methods: {}, discoverable: false } as const;
  return {
    group: TUNNEL_GROUP,
    versions: [TUNNEL_VERSION],
    routes: [
      { ...base, subresource: 'tunnel', connect: async (request) => routes.tunnel(ownNode(request)) },
      {
        ...base,
        subresource: 'streams',
        allowsRest: true,
        connect: async (request) => routes.stream(ownNode(request), request.rest[0] ?? ''),
      },
    ],
  };
}

/** The node of the path, when the caller's certificate is that node's. Roles cannot give this away. */
function ownNode({ name, user }: RouteRequest): string {
  if (name !== '' && user.username === nodeUser(name)) return name;
  throw new StatusError({
    code: 403,
    reason: 'Forbidden',
    message: `nodes "${name}" is forbidden: User "${user.username}" is not the agent of this node`,
    details: { name, group: TUNNEL_GROUP, kind: 'nodes' },
  });
}

/** Pings, and closes a tunnel whose agent has fallen silent. Returns the function that stops it. */
function keepAlive(clock: TimerClock, tunnel: Tunnel): () => void {
  let cancel: () => void;
  const tick = (): void => {
    if (clock.now() - tunnel.heardMs > SILENCE_MS) {
      tunnel.stream.close(1001, 'silent');
      return;
    }
    void tunnel.stream.send(encodeMessage({ type: 'ping' })).catch(() => {});
    cancel = clock.setTimer(PING_MS, tick);
  };
  cancel = clock.setTimer(PING_MS, tick);
  return () => cancel();
}

const notConnected = (node: string): StatusError =>
  new StatusError({ code: 503, reason: 'ServiceUnavailable', message: `Node "${node}" is not connected` });

const asError = (reason: unknown): Error => (reason instanceof Error ? reason : new Error(String(reason)));
