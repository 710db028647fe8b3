import type { Duplex } from 'node:stream';
import type { SpdyAcceptor } from '../subresources/streams.ts';
import type { SpdyTransport } from '../spdy/session.ts';

export const isSpdyUpgrade = (upgrade: string | undefined): boolean => upgrade?.toLowerCase() === 'spdy/3.1';

const HIGH_WATER = 256 * 1024;

/** Answers 101 and hands the connection over. */
export function acceptSpdy(acceptor: SpdyAcceptor, socket: Duplex, head: Buffer): Promise<void> {
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${acceptor.protocol}\r\n\r\n`,
  );
  return acceptor.run(socketTransport(socket, head));
}

function socketTransport(socket: Duplex, head: Buffer): SpdyTransport {
  return {
    messages: bytesOf(socket, head),
    send(bytes) {
      if (!socket.writable) return Promise.reject(new Error('The connection is closed'));
      socket.write(bytes);
      return socket.writableLength > HIGH_WATER ? drained(socket) : Promise.resolve();
    },
    close() {
      socket.end(() => socket.destroy());
    },
  };
}

async function* bytesOf(socket: Duplex, head: Buffer): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  for await (const chunk of socket) yield chunk as Buffer;
}

function drained(socket: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    const onDrain = (): void => {
      socket.off('close', onClose);
      resolve();
    };
    const onClose = (): void => {
      socket.off('drain', onDrain);
      reject(new Error('The connection is closed'));
    };
    socket.once('drain', onDrain).once('close', onClose);
  });
}
