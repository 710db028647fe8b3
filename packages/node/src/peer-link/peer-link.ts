import { NodeKind, PEER_CERTIFICATES } from '@slipway/api';
import type { Client } from '@slipway/client';
import { backOffDelay, type Logger, sleep, type TimerClock } from '@slipway/runtime';
import type { Duplex } from 'node:stream';
import { dialPeer } from './dial-peer.ts';
import { createPeerIdentity, type PeerIdentity } from './peer-certificate.ts';
import { type ExpectedPeer, PeerServer, type PeerStream } from './peer-server.ts';

export interface PeerLinkDeps {
  readonly client: Client;
  readonly nodeName: string;
  /** By which other agents reach this one. */
  readonly address: string;
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
}

/** Where a migration's other agent is. */
export interface PeerAddress {
  readonly node: string;
  readonly host: string;
  readonly port: number;
}

const RETRY = { baseMs: 200, maxMs: 10_000, jitter: 0.2 };
const RENEWAL_MS = 24 * 60 * 60 * 1000;

type Direction = 'serve' | 'dial';
/** One certificate for each direction. */
type Identities = Readonly<Record<Direction, PeerIdentity>>;

const createIdentities = (nodeName: string): Identities => ({
  serve: createPeerIdentity(nodeName),
  dial: createPeerIdentity(nodeName),
});

/** This agent among the others: an identity that it renews, a port, and streams to peers. */
export class PeerLink {
  private readonly deps: PeerLinkDeps;
  private readonly server: PeerServer;
  private identities: Identities;

  private constructor(deps: PeerLinkDeps, identities: Identities, server: PeerServer) {
    this.deps = deps;
    this.identities = identities;
    this.server = server;
  }

  static async open(deps: PeerLinkDeps): Promise<PeerLink> {
    const identities = createIdentities(deps.nodeName);
    return new PeerLink(deps, identities, await PeerServer.listen(identities.serve, deps.address, deps.log));
  }

  get address(): { readonly host: string; readonly port: number } {
    return { host: this.deps.address, port: this.server.port };
  }

  /** Tells other agents by which certificates they know this one. Retries until the server takes it. */
  publish(signal: AbortSignal): Promise<void> {
    return this.show([this.identities], signal);
  }

  /** Publishes, and takes new certificates every day, until aborted. */
  async keepPublished(signal: AbortSignal): Promise<void> {
    await this.publish(signal);
    for (;;) {
      await sleep(this.deps.clock, RENEWAL_MS, signal);
      await this.renew(signal);
    }
  }

  /** Takes new certificates; those before are still known, to agents that read just before the change. */
  async renew(signal: AbortSignal): Promise<void> {
    const next = createIdentities(this.deps.nodeName);
    await this.show([next, this.identities], signal);
    this.server.use(next.serve);
    this.identities = next;
  }

  private async show(identities: readonly Identities[], signal: AbortSignal): Promise<void> {
    const { client, nodeName, clock, random, log } = this.deps;
    const shown = identities.flatMap(({ serve, dial }) => [`serve ${serve.fingerprint}`, `dial ${dial.fingerprint}`]);
    const patch = { metadata: { annotations: { [PEER_CERTIFICATES]: shown.join(',') } } };
    for (let failures = 1; ; failures++) {
      try {
        await client.patch(NodeKind, { namespace: '', name: nodeName }, patch, { type: 'merge', signal });
        return;
      } catch (error) {
        signal.throwIfAborted();
        log.debug({ error: String(error) }, 'peer certificate not published yet');
        await sleep(clock, backOffDelay(failures, RETRY, random), signal);
      }
    }
  }

  /** Takes streams of a migration that comes from this node, until the function that it returns is called. */
  expect(migration: string, sourceNode: string, onStream: ExpectedPeer['onStream']): () => void {
    return this.server.expect(migration, { fingerprints: (signal) => this.fingerprintsOf(sourceNode, 'dial', signal), onStream });
  }

  async dial(migration: string, peer: PeerAddress, stream: PeerStream, signal: AbortSignal): Promise<Duplex> {
    const fingerprints = await this.fingerprintsOf(peer.node, 'serve', signal);
    const { dial: identity } = this.identities;
    return dialPeer({ identity, host: peer.host, port: peer.port, fingerprints, migration, stream }, signal);
  }

  close(): void {
    this.server.close();
  }

  /** Read anew: an agent that was started again has others. */
  private async fingerprintsOf(node: string, direction: Direction, signal: AbortSignal): Promise<readonly string[]> {
    const { metadata } = await this.deps.client.get(NodeKind, { namespace: '', name: node }, { signal });
    const shown = (metadata.annotations?.[PEER_CERTIFICATES] ?? '').split(',').map((entry) => entry.split(' '));
    return shown.flatMap(([use, fingerprint]) => (use === direction && fingerprint ? [fingerprint] : []));
  }
}
