import type { MessageStream } from '@slipway/client';
import type { WatchFrame, WatchSession } from '../pipeline/request.ts';
import type { Answer } from '../pipeline/server-context.ts';
import type { TextStreamAcceptor } from './text-stream.ts';

/** What a client leaves unread before it is cut off. */
const MAX_BACKLOG_BYTES = 16 * 1024 * 1024;
const BASE64 = 'base64.binary.k8s.io';
const LOG_PROTOCOLS = ['binary.k8s.io', BASE64];
/** Before the event, where events are not framed by the transport. */
const LENGTH_BYTES = 4;

/** A watch over WebSocket: one event per message, text for JSON. */
export function watchAcceptor(watch: WatchSession, isProtobuf: boolean): TextStreamAcceptor {
  const bytesOf = ({ line }: WatchFrame): Buffer => (isProtobuf ? line.subarray(LENGTH_BYTES) : line);
  return { protocols: LOG_PROTOCOLS, isText: () => !isProtobuf, run: (stream) => sendEvents(watch, stream, bytesOf) };
}

/** Sends until the watch ends or the client goes. */
function sendEvents(watch: WatchSession, stream: MessageStream, bytesOf: (frame: WatchFrame) => Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    let backlog = 0;
    let sent = Promise.resolve();
    let stop = (): void => undefined;
    let isOver = false;
    const finish = (done: () => void): void => {
      if (isOver) return;
      isOver = true;
      stop();
      done();
    };
    const send = async (bytes: Buffer): Promise<void> => {
      await stream.send(bytes);
      backlog -= bytes.length;
    };
    const onFrame = (frame: WatchFrame): void => {
      if (isOver) return;
      const bytes = bytesOf(frame);
      backlog += bytes.length;
      if (backlog > MAX_BACKLOG_BYTES) return finish(() => reject(new Error('The client reads too slowly')));
      sent = sent.then(() => send(bytes));
      sent.catch(() => finish(resolve)); // it is gone
    };
    stop = watch.start(onFrame, () => void sent.then(() => finish(resolve)));
    if (isOver) stop();
    void untilClosed(stream).then(() => finish(resolve));
  });
}

/** What a reader of events or of a log says does not matter, only that it is still there. */
async function untilClosed({ messages }: MessageStream): Promise<void> {
  try {
    for await (const _ of messages) {
      // see above
    }
  } catch {
    // broken off
  }
}

/** A log over WebSocket: raw, or in base64 for readers of text. */
export function logAcceptor(answer: Answer): TextStreamAcceptor {
  return {
    protocols: LOG_PROTOCOLS,
    isText: (protocol) => protocol === BASE64,
    async run(stream) {
      let isOpen = true;
      void untilClosed(stream).then(() => (isOpen = false));
      for await (const chunk of answer.stream ?? []) {
        if (!isOpen) return;
        const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
        await stream.send(stream.protocol === BASE64 ? Buffer.from(Buffer.from(bytes).toString('base64')) : bytes);
      }
    },
  };
}
