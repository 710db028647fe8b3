import { chown, mkdir, open, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { connectBeneath } from '@slipway/hostapi';
import type { Sandbox } from '../contracts.ts';
import type { PeerStream } from '../peer-link/index.ts';
import { INSIDE } from '../sandbox/index.ts';
import { bridgeStreams } from './bridge-streams.ts';

/** Streams that libvirt and QEMU of the source open, and the agents pass on. */
export const JOB_STREAMS = ['control', 'memory', 'disks'] as const;
export type JobStream = (typeof JOB_STREAMS)[number];

const UID_DIGITS = 8;
/** Connections of one job that are open at a time; libvirt needs one of each. */
const MAX_CONNECTIONS = 12;

/** Name of the directory of a migration's sockets: the same on both sides, since libvirt names them once for both. */
const directoryName = (migration: string): string => `m-${migration.replaceAll(/[^\w-]/g, '').slice(0, UID_DIGITS)}`;

/** The socket of a stream as the sandbox sees it. */
export const socketInside = (migration: string, stream: JobStream): string => `${INSIDE}/${directoryName(migration)}/${stream}`;

/** At the target: a directory in which QEMU makes its sockets. */
export async function makeTargetDirectory({ dir, uid }: Sandbox, migration: string): Promise<void> {
  const path = join(dir, directoryName(migration));
  await mkdir(path, { recursive: true, mode: 0o700 });
  await chown(path, uid, uid);
}

/** At the target: passes a stream of the source on to the daemon or the QEMU that it is for. */
export function passOn(
  { sandbox, migration, daemonSocket }: { readonly sandbox: Sandbox; readonly migration: string; readonly daemonSocket: string },
  stream: PeerStream,
  from: Duplex,
): void {
  const name = stream === 'control' ? daemonSocket : `${directoryName(migration)}/${stream}`;
  try {
    bridgeStreams(from, connectBeneath(sandbox.dir, name));
  } catch {
    from.destroy(); // nobody listens there (any more)
  }
}

/** At the source: sockets that lead to the target. Their directory is root's, so nobody can exchange them. */
export async function openSourceSockets(
  { dir, uid }: Sandbox,
  migration: string,
  dial: (stream: JobStream) => Promise<Duplex>,
): Promise<() => Promise<void>> {
  const path = join(dir, directoryName(migration));
  await mkdir(path, { recursive: true, mode: 0o755 });
  const directory = await open(path, 'r');
  // free of the limit of 107 bytes
  const short = `/proc/self/fd/${directory.fd}`;
  const open_ = new Set<Duplex>();
  const servers: Server[] = [];
  const close = async (): Promise<void> => {
    for (const stream of open_) stream.destroy();
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    await directory.close();
  };
  try {
    for (const stream of JOB_STREAMS) {
      const socketPath = `${short}/${stream}`;
      await rm(socketPath, { force: true });
      const server = createServer({ allowHalfOpen: true }, (local) => {
        open_.add(local);
        local.on('error', () => {});
        local.once('close', () => open_.delete(local));
        dial(stream).then(
          (remote) => bridgeStreams(local, remote),
          () => local.destroy(),
        );
      });
      server.maxConnections = MAX_CONNECTIONS;
      servers.push(server);
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(socketPath, resolve));
      await chown(socketPath, uid, uid);
    }
    return close;
  } catch (error) {
    await close();
    throw error;
  }
}
