import { createServer, type Socket } from 'node:net';
import { rmSync } from 'node:fs';
import { systemClock } from '@slipway/runtime';
import { CutOffError, type UploadAnswer, type UploadOffer } from '../../upload/frames.ts';
import { ask } from '../../upload/send-upload.ts';

export interface UploadPeer {
  readonly path: string;
  /** Bytes that were given to the mover. */
  sentBytes: number;
  status(): Promise<UploadAnswer>;
  /** Rejects when the connection breaks, and when `cutOffAt` is reached. */
  upload(body: Buffer, offer?: Partial<UploadOffer>, options?: SendOptions): Promise<UploadAnswer>;
  close(): Promise<void>;
}

export interface SendOptions {
  readonly cutOffAt?: number;
  /** Called before each piece. */
  readonly before?: (sent: number) => Promise<void> | void;
}

const PIECE = 256 * 1024;

/** Stands in for the node agent and the upload proxy behind it. */
export async function startUploadPeer(path: string): Promise<UploadPeer> {
  const idle: Socket[] = [];
  const waiting: ((socket: Socket) => void)[] = [];
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      open.delete(socket);
      if (idle.includes(socket)) idle.splice(idle.indexOf(socket), 1);
    });
    const next = waiting.shift();
    if (next) next(socket);
    else idle.push(socket.on('end', hangUp).resume());
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const take = async (): Promise<Socket> =>
    idle.shift()?.pause().off('end', hangUp) ?? new Promise((resolve) => waiting.push(resolve));
  const signal = new AbortController().signal;
  const peer: UploadPeer = {
    path,
    sentBytes: 0,
    async status() {
      for (;;) {
        const socket = await take();
        try {
          return await ask(socket, { kind: 'status' }, undefined, { clock: systemClock, signal });
        } catch (error) {
          if (!(error instanceof CutOffError)) throw error; // of a mover that was killed a moment ago
        } finally {
          leave(socket);
        }
      }
    },
    async upload(body, offer = {}, { cutOffAt, before } = {}) {
      async function* pieces(): AsyncGenerator<Buffer> {
        const end = cutOffAt ?? body.length;
        for (let sent = 0; sent < end; sent += PIECE) {
          await before?.(sent);
          const piece = body.subarray(sent, Math.min(end, sent + PIECE));
          peer.sentBytes += piece.length;
          yield piece;
        }
        if (cutOffAt !== undefined) throw new Error('the client is gone');
      }
      const { offset = 0, isAsync = false } = offer;
      const question = { kind: 'upload', totalBytes: offset + body.length, ...offer, offset, isAsync } as const;
      const socket = await take();
      try {
        return await ask(socket, question, pieces(), { clock: systemClock, signal });
      } finally {
        leave(socket);
      }
    },
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      rmSync(path, { force: true });
    },
  };
  return peer;
}

/** Of a connection that nobody uses yet. */
function hangUp(this: Socket): void {
  this.destroy();
}

function leave(socket: Socket): void {
  socket.end();
  socket.resume();
}
