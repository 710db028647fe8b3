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

/** This agent among the others: an identity for as long as it runs, a port, and streams to peers. */
export class PeerLink {
  private readonly deps: PeerLinkDeps;
  private readonly identity: PeerIdentity;
  private readonly server: PeerServer;

  private constructor(deps: PeerLinkDeps, identity: PeerIdentity, server: PeerServer) {
    this.deps = deps;
    this.identity = identity;
    this.server = server;
  }

  static async open(deps: PeerLinkDeps): Promise<PeerLink> {
    const identity = createPeerIdentity(deps.nodeName);
    return new PeerLink(deps, identity, await PeerServer.listen(identity, deps.address, deps.log));
  }

  get address(): { readonly host: string; readonly port: number } {
    return { host: this.deps.address, port: this.server.port };
  }

  /** Tells other agents by which certificate they know this one. Retries until the server takes it. */
  async publish(signal: AbortSignal): Promise<void> {
    const { client, nodeName, clock, random, log } = this.deps;
    const patch = { metadata: { annotations: { [PEER_CERTIFICATES]: this.identity.fingerprint } } };
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
    return this.server.expect(migration, { fingerprints: (signal) => this.fingerprintsOf(sourceNode, signal), onStream });
  }

  async dial(migration: string, peer: PeerAddress, stream: PeerStream, signal: AbortSignal): Promise<Duplex> {
    const fingerprints = await this.fingerprintsOf(peer.node, signal);
    const { identity } = this;
    return dialPeer({ identity, host: peer.host, port: peer.port, fingerprints, migration, stream }, signal);
  }

  close(): void {
    this.server.close();
  }

  /** Read anew: an agent that was started again has others. */
  private async fingerprintsOf(node: string, signal: AbortSignal): Promise<readonly string[]> {
    const { metadata } = await this.deps.client.get(NodeKind, { namespace: '', name: node }, { signal });
    return (metadata.annotations?.[PEER_CERTIFICATES] ?? '').split(',').filter((entry) => entry !== '');
  }
}
