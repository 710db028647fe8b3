import { chmod, chown, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { UploadVerb } from '@slipway/api';
import { StatusError } from '@slipway/apimachinery';
import type { NodeHandlers } from '@slipway/runtime';

interface Intake {
  readonly server: Server;
  /** Connections of the mover that nobody uses yet. */
  readonly idle: Socket[];
  readonly waiting: ((socket: Socket) => void)[];
}

/** How long a mover may take to open its next connection. */
const TAKE_MS = 5_000;
const SOCKET_NAME = 'intake';
/** A mover that opens more is up to no good. */
const MAX_IDLE = 4;

/**
 * Sockets through which data movers take uploads. The agent listens and the mover connects, so that root never follows a
 * path that a mover could have changed; the next user of a connection is whoever the server lets through.
 */
export class UploadIntakes {
  private readonly intakes = new Map<string, Intake>();

  /** Where the mover of a pod connects. */
  path(directory: string): string {
    return join(directory, SOCKET_NAME);
  }

  /** Listens in a directory that root alone can change. `onReady` is called whenever the mover has connected. */
  async open(podUid: string, directory: string, uid: number, onReady: () => void): Promise<void> {
    await this.close(podUid);
    const intake: Intake = {
      server: createServer({ allowHalfOpen: true }, (socket) => {
        this.accept(intake, socket);
        onReady();
      }),
      idle: [],
      waiting: [],
    };
    const path = this.path(directory);
    await rm(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      intake.server.once('error', reject);
      intake.server.listen(path, () => resolve());
    });
    await chown(path, 0, uid);
    await chmod(path, 0o660);
    intake.server.unref();
    this.intakes.set(podUid, intake);
  }

  async close(podUid: string): Promise<void> {
    const intake = this.intakes.get(podUid);
    if (intake === undefined) return;
    this.intakes.delete(podUid);
    for (const socket of intake.idle.splice(0)) socket.destroy();
    intake.server.close();
  }

  /** A connection to the mover of a pod. Throws StatusError 503 when it is not there. */
  async take(podUid: string, signal: AbortSignal): Promise<Duplex> {
    const intake = this.intakes.get(podUid);
    if (intake === undefined) throw notReady();
    const idle = intake.idle.shift();
    if (idle !== undefined) return idle.pause().off('end', hangUp);
    return new Promise((resolve, reject) => {
      const give = (socket: Socket): void => {
        stop();
        resolve(socket);
      };
      const giveUp = (): void => {
        stop();
        reject(notReady());
      };
      const timer = setTimeout(giveUp, TAKE_MS);
      const stop = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', giveUp);
        const index = intake.waiting.indexOf(give);
        if (index >= 0) intake.waiting.splice(index, 1);
      };
      signal.addEventListener('abort', giveUp, { once: true });
      intake.waiting.push(give);
    });
  }

  private accept(intake: Intake, socket: Socket): void {
    socket.on('error', () => socket.destroy()); // its user sees the end
    const next = intake.waiting.shift();
    if (next !== undefined) return next(socket);
    if (intake.idle.length >= MAX_IDLE) return void socket.destroy();
    intake.idle.push(socket);
    // nothing comes before a question; reading shows when the mover goes away
    socket.on('end', hangUp).resume();
    socket.once('close', () => {
      const index = intake.idle.indexOf(socket);
      if (index >= 0) intake.idle.splice(index, 1);
    });
  }
}

/** Of a connection that nobody uses yet. */
function hangUp(this: Socket): void {
  this.destroy();
}

const notReady = (): StatusError =>
  new StatusError({ code: 503, reason: 'ServiceUnavailable', message: 'The upload server of the claim is not ready: try again' });

/** Adds the streams to upload servers to what a node answers. */
export function withUploads(handlers: NodeHandlers, uploads: Pick<UploadIntakes, 'take'>): NodeHandlers {
  return {
    call: (call, signal) => handlers.call(call, signal),
    async open(call, signal) {
      if (call.verb !== UploadVerb.stream) return handlers.open(call, signal);
      const { podUid } = call.params;
      return uploads.take(typeof podUid === 'string' ? podUid : '', signal);
    },
  };
}
