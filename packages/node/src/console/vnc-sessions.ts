import { createConnection, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { StatusError } from '@slipway/apimachinery';

/**
 * VNC sessions of one guest. KubeVirt-compat: a new session displaces the running one, unless it asks to preserve it,
 * in which case it is refused.
 */
export class VncSessions {
  private readonly connect: () => Socket;
  private current: Duplex | undefined;

  /** A socket path, or a way to connect that follows no links. */
  constructor(socket: string | (() => Socket)) {
    this.connect = typeof socket === 'string' ? () => createConnection({ path: socket, allowHalfOpen: false }) : socket;
  }

  /** Connects to QEMU; the stream carries RFB both ways. */
  open(options: { preserveSession?: boolean } = {}): Promise<Duplex> {
    if (this.current !== undefined && !this.current.destroyed) {
      if (options.preserveSession)
        return Promise.reject(
          new StatusError({ code: 409, reason: 'Conflict', message: 'Active VNC connection. Request denied.' }),
        );
      this.current.destroy();
    }
    return new Promise((resolve, reject) => {
      let socket: Socket;
      try {
        socket = this.connect();
      } catch (error) {
        reject(
          unavailable('The display of the guest cannot be reached', error instanceof Error ? error : new Error(String(error))),
        );
        return;
      }
      socket.once('error', (cause) => reject(unavailable('The display of the guest cannot be reached', cause)));
      socket.once('connect', () => {
        socket.removeAllListeners('error').on('error', () => {}); // 'close' follows
        this.current?.destroy(); // another may have connected meanwhile
        this.current = socket;
        resolve(socket);
      });
    });
  }

  close(): void {
    this.current?.destroy();
  }
}

const unavailable = (message: string, cause: Error): StatusError =>
  new StatusError({ code: 503, reason: 'ServiceUnavailable', message: `${message}: ${cause.message}` }, cause);
