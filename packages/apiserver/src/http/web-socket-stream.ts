import type { MessageStream } from '@slipway/client';
import type { RawData, WebSocket } from 'ws';

const PAUSE_FROM_MESSAGES = 64;

/** A WebSocket as a stream of messages, binary or `isText`: reading pauses the socket when nobody takes the messages. */
export function messageStream(socket: WebSocket, isText = false): MessageStream {
  const queue: Uint8Array[] = [];
  let failure: Error | undefined;
  let hasEnded = false;
  let wake: () => void = () => undefined;
  socket.binaryType = 'nodebuffer';
  socket.on('message', (data: RawData) => {
    queue.push(bytesOf(data));
    if (queue.length >= PAUSE_FROM_MESSAGES) socket.pause();
    wake();
  });
  socket.on('error', (error) => {
    failure = error;
    wake();
  });
  socket.on('close', () => {
    hasEnded = true;
    wake();
  });
  async function* messages(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const data = queue.shift();
      if (data !== undefined) {
        if (queue.length < PAUSE_FROM_MESSAGES && socket.isPaused) socket.resume();
        yield data;
      } else if (failure !== undefined) throw failure;
      else if (hasEnded) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }
  return {
    protocol: socket.protocol,
    messages: messages(),
    send: (data) =>
      new Promise((resolve, reject) => {
        socket.send(data, { binary: !isText }, (error) => (error ? reject(error) : resolve()));
      }),
    close(code = 1000, reason = '') {
      if (socket.isPaused) socket.resume(); // a paused socket never sees the peer's close
      socket.close(code, reason);
    },
  };
}

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}
