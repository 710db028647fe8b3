import { open } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { sleep, type TimerClock } from '@slipway/runtime';
import { diskWrites, RequestReader } from './metrics-document.ts';

const REFRESH_MS = 5_000;
const RECONNECT_MS = 1_000;

export interface MetricsFeedDeps {
  readonly clock: TimerClock;
  /** The document as it is now. */
  readonly document: () => Promise<string>;
  /** The metrics disk, in a directory that the guest's user cannot change. */
  readonly diskPath: string | undefined;
  /** Opens the guest's metrics port. */
  readonly connect: (() => Socket) | undefined;
}

/** Keeps the disk fresh and answers the port until aborted. */
export async function feedMetrics(deps: MetricsFeedDeps, signal: AbortSignal): Promise<void> {
  const { diskPath, connect } = deps;
  await Promise.all([
    diskPath === undefined ? undefined : refreshDisk(deps, diskPath, signal),
    connect === undefined ? undefined : servePort(deps, connect, signal),
  ]);
}

async function refreshDisk({ clock, document }: MetricsFeedDeps, path: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const file = await open(path, 'r+');
    try {
      for (const { position, data } of diskWrites(await document())) await file.write(data, 0, data.length, position);
    } finally {
      await file.close();
    }
    await sleep(clock, REFRESH_MS, signal).catch(() => {});
  }
}

async function servePort({ clock, document }: MetricsFeedDeps, connect: () => Socket, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await answerPort(connect, document, signal).catch(() => {}); // QEMU is gone, or not there yet
    await sleep(clock, RECONNECT_MS, signal).catch(() => {});
  }
}

async function answerPort(connect: () => Socket, document: () => Promise<string>, signal: AbortSignal): Promise<void> {
  const socket = connect();
  const end = (): void => void socket.destroy();
  signal.addEventListener('abort', end, { once: true });
  const reader = new RequestReader();
  try {
    // one request at a time: a guest that floods the port waits
    for await (const chunk of socket) {
      for (const request of reader.read(String(chunk)))
        socket.write(request === 'metrics' ? `${await document()}\n` : 'INVALID REQUEST\n\n');
    }
  } finally {
    signal.removeEventListener('abort', end);
    socket.destroy();
  }
}
