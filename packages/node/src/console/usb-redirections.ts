import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { StatusError } from '@slipway/apimachinery';

/** How many USB devices of clients one guest can have. */
const SLOTS = 4;

/** USB devices that clients give to one guest: each stream carries the usbredir protocol to a port of its own. */
export class UsbRedirections {
  private readonly connect: (slot: number) => Socket;
  private readonly taken = new Map<number, Socket>();

  /** `connect` begins a connection to QEMU's socket of that number. */
  constructor(connect: (slot: number) => Socket) {
    this.connect = connect;
  }

  /** Connects to the first port that is free. Throws StatusError 409 when none is. */
  open(): Promise<Duplex> {
    const slot = Array.from({ length: SLOTS }, (_, index) => index).find((index) => !this.taken.has(index));
    if (slot === undefined)
      throw new StatusError({ code: 409, reason: 'Conflict', message: `All ${SLOTS} USB redirections of the guest are in use` });
    return new Promise((resolve, reject) => {
      let socket: Socket;
      try {
        socket = this.connect(slot);
      } catch (error) {
        return reject(unreachable(error)); // a guest that was started without such ports
      }
      this.taken.set(slot, socket);
      socket.once('close', () => this.taken.delete(slot));
      socket.once('error', (error) => reject(unreachable(error)));
      socket.once('connect', () => {
        socket.removeAllListeners('error').on('error', () => {}); // 'close' follows
        resolve(socket);
      });
    });
  }

  close(): void {
    for (const socket of this.taken.values()) socket.destroy();
  }
}

function unreachable(error: unknown): StatusError {
  const cause = error instanceof Error ? error : new Error(String(error));
  const message = `The USB port of the guest cannot be reached: ${cause.message}`;
  return new StatusError({ code: 503, reason: 'ServiceUnavailable', message }, cause);
}
