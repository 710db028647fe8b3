import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { isObject } from '@slipway/apimachinery';
import type { Logger } from '@slipway/runtime';
import type { PeerIdentity } from './peer-certificate.ts';
import { readLine } from './read-line.ts';

/** What the streams of a migration are for. */
export const PEER_STREAMS = ['agent', 'control', 'memory', 'disks'] as const;
export type PeerStream = (typeof PEER_STREAMS)[number];

/** A migration whose source may dial in. */
export interface ExpectedPeer {
  /** Fingerprints that the source's node shows now. */
  fingerprints(signal: AbortSignal): Promise<readonly string[]>;
  /** A stream of the source; whoever gets it owns it. */
  onStream(kind: PeerStream, stream: Duplex): void;
}

/** Those who have not shown yet who they are. */
const MAX_STRANGERS = 64;
const MAX_HEADER_BYTES = 1024;
const HEADER_TIMEOUT_MS = 15_000;
const MAX_STREAMS = 16;

interface Expected extends ExpectedPeer {
  streams: number;
}

/** Where other agents reach this one: one port, TLS both ways, one migration and purpose a stream. */
export class PeerServer {
  private readonly server: Server;
  private readonly log: Logger;
  private readonly expected = new Map<string, Expected>();
  private readonly open = new Set<TLSSocket>();
  private strangers = 0;

  private constructor(identity: PeerIdentity, log: Logger) {
    this.log = log;
    const { key, cert } = identity;
    this.server = createServer({
      ...{ key, cert, minVersion: 'TLSv1.3', requestCert: true, handshakeTimeout: HEADER_TIMEOUT_MS },
      // no authority has signed it: its fingerprint is compared
      rejectUnauthorized: false,
    });
    this.server.maxConnections = 1024;
    this.server.on('tlsClientError', () => {});
    this.server.on('secureConnection', (socket) => {
      this.open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.open.delete(socket));
      this.greet(socket).catch((error: unknown) => {
        socket.destroy();
        log.debug({ error: String(error), peer: socket.remoteAddress }, 'agent turned away');
      });
    });
  }

  /** Listens on a port of its own choice. */
  static async listen(identity: PeerIdentity, address: string, log: Logger): Promise<PeerServer> {
    const peers = new PeerServer(identity, log);
    await new Promise<void>((resolve, reject) => {
      peers.server.once('error', reject);
      peers.server.listen({ host: address, port: 0 }, () => {
        peers.server.off('error', reject);
        resolve();
      });
    });
    peers.server.on('error', (error) => log.warn({ error: String(error) }, 'other agents cannot reach this one'));
    return peers;
  }

  get port(): number {
    // listens on TCP since `listen`
    return (this.server.address() as AddressInfo).port;
  }

  /** Shows this certificate from now on. */
  use({ key, cert }: PeerIdentity): void {
    this.server.setSecureContext({ key, cert, minVersion: 'TLSv1.3' });
  }

  /** Takes streams of this migration until the function that it returns is called. */
  expect(migration: string, peer: ExpectedPeer): () => void {
    const entry = { fingerprints: peer.fingerprints.bind(peer), onStream: peer.onStream.bind(peer), streams: 0 };
    this.expected.set(migration, entry);
    return () => {
      if (this.expected.get(migration) === entry) this.expected.delete(migration);
    };
  }

  close(): void {
    this.server.close();
    for (const socket of this.open) socket.destroy();
  }

  private async greet(socket: TLSSocket): Promise<void> {
    if (this.strangers >= MAX_STRANGERS) throw new Error('Too many agents are introducing themselves');
    this.strangers++;
    try {
      await this.introduce(socket);
    } finally {
      this.strangers--;
    }
  }

  private async introduce(socket: TLSSocket): Promise<void> {
    const signal = AbortSignal.timeout(HEADER_TIMEOUT_MS);
    const header = parseHeader(await readLine(socket, MAX_HEADER_BYTES, signal));
    const peer = this.expected.get(header.migration);
    if (peer === undefined) throw new Error(`No migration ${header.migration} is expected`);
    const shown = socket.getPeerX509Certificate()?.fingerprint256;
    if (shown === undefined || !(await peer.fingerprints(signal)).includes(shown))
      throw new Error('Its certificate is not that of the source of the migration');
    if (peer.streams >= MAX_STREAMS) throw new Error('The migration has too many streams');
    peer.streams++;
    socket.once('close', () => peer.streams--);
    if (!socket.destroyed) peer.onStream(header.stream, socket);
    this.log.debug(header, 'agent came');
  }
}

function parseHeader(line: string): { readonly migration: string; readonly stream: PeerStream } {
  const value: unknown = JSON.parse(line);
  if (!isObject(value) || typeof value['migration'] !== 'string') throw new Error('Not the header of a stream');
  const stream = PEER_STREAMS.find((kind) => kind === value['stream']);
  if (stream === undefined) throw new Error('Not a kind of stream');
  return { migration: value['migration'], stream };
}
