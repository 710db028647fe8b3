import { connect, createServer, type Socket } from 'node:net';
import { type Logger, sleep, type TimerClock } from '@slipway/runtime';

export interface ApiRelayDeps {
  readonly clock: TimerClock;
  readonly log: Logger;
  /** Where pods reach this node: their router. */
  readonly addresses: readonly string[];
  readonly port: number;
  /** Where the API server listens, which pods have no way to. */
  readonly server: { readonly host: string; readonly port: number };
}

const RETRY_MS = 2_000;
const MAX_CONNECTIONS = 512;
const CONNECT_MS = 10_000;

/**
 * The way of pods to the API server, until aborted: behind the Service `kubernetes`, at the router of this node's pods. Bytes
 * are passed on as they are; TLS and rights are between client and server.
 */
export async function runApiRelay(deps: ApiRelayDeps, signal: AbortSignal): Promise<void> {
  await Promise.all(deps.addresses.map((address) => relayAt(address, deps, signal)));
}

async function relayAt(address: string, deps: ApiRelayDeps, signal: AbortSignal): Promise<void> {
  const { clock, log, port } = deps;
  while (!signal.aborted) {
    try {
      await listen(address, deps, signal);
    } catch (error) {
      if (signal.aborted) return;
      log.warn({ address, port, error: String(error) }, 'pods do not reach the API server at this address');
    }
    await sleep(clock, RETRY_MS, signal).catch(() => {});
  }
}

/** Resolves when nothing is listened at any more. */
function listen(host: string, { port, server: to }: ApiRelayDeps, signal: AbortSignal): Promise<void> {
  const open = new Set<Socket>();
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true }, (client) => {
      const upstream = connect({ ...to, allowHalfOpen: true });
      const destroy = (): void => {
        client.destroy();
        upstream.destroy();
      };
      for (const [socket, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        open.add(socket);
        socket.on('error', destroy);
        socket.on('close', () => {
          open.delete(socket);
          // what was passed on to the end is still on its way out
          if (!other.writableEnded) other.destroy();
        });
      }
      upstream.setTimeout(CONNECT_MS, destroy);
      upstream.once('connect', () => upstream.setTimeout(0));
      client.pipe(upstream);
      upstream.pipe(client);
    });
    server.maxConnections = MAX_CONNECTIONS;
    server.on('error', reject);
    server.on('close', resolve);
    signal.addEventListener(
      'abort',
      () => {
        for (const socket of open) socket.destroy();
      },
      { once: true },
    );
    server.listen({ host, port, signal });
  });
}
