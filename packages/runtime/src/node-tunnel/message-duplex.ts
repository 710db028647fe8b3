import { Duplex } from 'node:stream';
import type { MessageStream } from '@slipway/client';

/** WebSockets cannot close one direction; an empty message says that its sender will write no more. */
const END = new Uint8Array(0);
/** How long what a peer has sent is kept for a reader after the peer is gone. */
const LINGER_MS = 30_000;

/**
 * A byte stream over messages, with back-pressure both ways and half-close. When the peer goes away the stream just
 * ends: consoles and port forwards know no other end.
 */
export function duplexOf(stream: MessageStream): Duplex {
  let wanted: (() => void) | undefined;
  const whenWanted = (): Promise<void> =>
    new Promise((resolve) => {
      wanted = resolve;
    });
  let isOpen = true;
  const duplex = new Duplex({
    read() {
      wanted?.();
      wanted = undefined;
    },
    write(chunk: Buffer, _encoding, callback) {
      if (chunk.length === 0) callback();
      else stream.send(chunk).then(() => callback(), callback);
    },
    final(callback) {
      const finish = (): void => callback();
      if (isOpen) stream.send(END).then(finish, finish);
      else finish();
    },
    destroy(error, callback) {
      wanted?.();
      stream.close(error ? 1011 : 1000);
      callback(error);
    },
  });
  const pump = async (): Promise<void> => {
    for await (const message of stream.messages) {
      if (message.length === 0) {
        duplex.push(null);
        continue;
      }
      if (duplex.destroyed) return;
      if (!duplex.push(message)) await whenWanted();
    }
  };
  const ended = (): void => {
    isOpen = false;
    if (duplex.destroyed) return;
    if (!duplex.readableEnded) duplex.push(null);
    duplex.end();
    // nobody may be reading any more, and then neither side would end by itself
    if (duplex.readableLength === 0) duplex.resume();
  };
  pump().then(ended, ended);
  // the reader may never read again, and then what it holds on to must not stay for ever
  const linger = (): void => {
    if (duplex.destroyed) return;
    const timer = setTimeout(() => duplex.destroy(), LINGER_MS).unref();
    duplex.once('close', () => clearTimeout(timer));
  };
  stream.closed?.then(linger, linger);
  return duplex;
}
