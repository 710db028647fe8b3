import { createSocket } from 'node:dgram';
import { createServer, isIPv6, type Socket } from 'node:net';
import { type EndpointSlice, EndpointSliceKind, type Service, ServiceKind } from '@slipway/api';
import { type Informers, type Logger, sleep, type TimerClock } from '@slipway/runtime';
import { answerQuery, fitUdp } from './dns-answer.ts';
import { forwarder, framed, unframed } from './forward.ts';
import { clusterZone, type Zone } from './zone.ts';

export interface DnsServerDeps {
  readonly informers: Informers;
  readonly clock: TimerClock;
  readonly log: Logger;
  /** This node's addresses as gateway of its pods. */
  readonly addresses: readonly string[];
  readonly port?: number;
  /** Servers for every other name. */
  readonly upstreams: () => readonly string[];
}

const PORT = 53;
const RETRY_MS = 10_000;
const IDLE_MS = 10_000;
const MAX_CONNECTIONS = 256;

/** Answers the guests of this node by UDP and TCP until aborted; never rejects. */
export async function runDnsServer(deps: DnsServerDeps, signal: AbortSignal): Promise<void> {
  const zone = liveZone(deps.informers);
  await Promise.all(deps.addresses.map((address) => serveAt(address, zone, deps, signal)));
}

/** The zone is made again at the first question after a change. */
function liveZone(informers: Informers): Zone {
  const services = informers.for<Service>(ServiceKind);
  const slices = informers.for<EndpointSlice>(EndpointSliceKind);
  let zone: Zone | undefined;
  const changed = (): void => {
    zone = undefined;
  };
  services.addHandler(changed);
  slices.addHandler(changed);
  return {
    lookUp(name, type) {
      zone ??= clusterZone(services.lister.list(), slices.lister.list());
      return zone.lookUp(name, type);
    },
  };
}

async function serveAt(address: string, zone: Zone, deps: DnsServerDeps, signal: AbortSignal): Promise<void> {
  const { clock, log } = deps;
  while (!signal.aborted) {
    const attempt = new AbortController();
    const either = AbortSignal.any([signal, attempt.signal]);
    try {
      await Promise.race([serveUdp(address, zone, deps, either), serveTcp(address, zone, deps, either)]);
    } catch (error) {
      if (signal.aborted) return;
      // somebody else's server that answers on every address of this machine is the likely cause
      log.warn({ address, error: String(error) }, 'names are not served at this address; another program has its port 53');
    }
    attempt.abort();
    await sleep(clock, RETRY_MS, signal).catch(() => {});
  }
}

function serveUdp(address: string, zone: Zone, { upstreams, port = PORT }: DnsServerDeps, signal: AbortSignal): Promise<void> {
  const { udp } = forwarder(upstreams);
  return new Promise((resolve, reject) => {
    const socket = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4', signal });
    socket.on('close', resolve);
    socket.on('error', (error) => {
      socket.close();
      reject(error);
    });
    socket.on('message', (query, client) => {
      void answerQuery(query, zone, udp).then((answer) => {
        if (answer && !signal.aborted) socket.send(fitUdp(answer, query), client.port, client.address, () => {});
      });
    });
    socket.bind(port, address);
  });
}

function serveTcp(address: string, zone: Zone, { upstreams, port = PORT }: DnsServerDeps, signal: AbortSignal): Promise<void> {
  const { tcp } = forwarder(upstreams);
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => answerStream(socket, (query) => answerQuery(query, zone, tcp)));
    server.maxConnections = MAX_CONNECTIONS;
    server.on('close', resolve);
    server.on('error', reject);
    server.listen({ host: address, port, signal });
  });
}

function answerStream(socket: Socket, answer: (query: Buffer) => Promise<Buffer | undefined>): void {
  let received = Buffer.alloc(0);
  let isAnswering = false;
  const next = (): void => {
    const query = unframed(received);
    if (query === undefined || isAnswering) return;
    isAnswering = true;
    received = received.subarray(2 + query.length);
    void answer(query).then((message) => {
      isAnswering = false;
      if (socket.destroyed) return;
      if (message) socket.write(framed(message));
      next();
    });
  };
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    // one question is at most 64 KiB; who sends more without waiting is cut off
    if (received.length > 3 * 65_536) socket.destroy();
    next();
  });
}
