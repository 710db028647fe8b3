import { connect, type TLSSocket } from 'node:tls';
import type { PeerIdentity } from './peer-certificate.ts';
import type { PeerStream } from './peer-server.ts';

export interface DialOptions {
  readonly identity: PeerIdentity;
  readonly host: string;
  readonly port: number;
  /** Fingerprints that the peer's node shows now. */
  readonly fingerprints: readonly string[];
  readonly migration: string;
  readonly stream: PeerStream;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** A stream of a migration to another agent. Rejects when that is not the one it should be. */
export function dialPeer(options: DialOptions, signal: AbortSignal): Promise<TLSSocket> {
  const { identity, host, port, fingerprints, migration, stream } = options;
  return new Promise((resolve, reject) => {
    const { key, cert } = identity;
    // no authority has signed the peer's certificate: its fingerprint is compared before anything is said
    const socket = connect({ host, port, key, cert, minVersion: 'TLSv1.3', rejectUnauthorized: false });
    const limit = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_TIMEOUT_MS)]);
    const giveUp = (): void => void socket.destroy(new Error(`The agent at ${host}:${port} does not answer`));
    const fail = (error: Error): void => {
      limit.removeEventListener('abort', giveUp);
      reject(error);
    };
    limit.addEventListener('abort', giveUp, { once: true });
    if (limit.aborted) giveUp();
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      const shown = socket.getPeerX509Certificate()?.fingerprint256;
      if (shown === undefined || !fingerprints.includes(shown)) {
        socket.destroy(new Error(`The agent at ${host}:${port} is not that of the node it should be`));
        return;
      }
      limit.removeEventListener('abort', giveUp);
      socket.off('error', fail);
      socket.on('error', () => {}); // whoever reads or writes learns it from the close
      socket.setNoDelay(true);
      socket.write(`${JSON.stringify({ migration, stream })}\n`);
      resolve(socket);
    });
  });
}
