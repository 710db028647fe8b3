import type { Duplex } from 'node:stream';

const NEWLINE = 10;

/** The first line of a stream, which keeps what comes after it. Rejects when it is longer than this or does not come. */
export function readLine(stream: Duplex, maxBytes: number, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const settle = (act: () => void): void => {
      for (const name of ['error', 'close', 'end']) stream.off(name, onEnd);
      stream.off('readable', onReadable);
      signal.removeEventListener('abort', onEnd);
      act();
    };
    const onEnd = (): void => settle(() => reject(new Error('The peer said nothing')));
    const onReadable = (): void => {
      for (let chunk: unknown = stream.read(); Buffer.isBuffer(chunk); chunk = stream.read()) {
        received = Buffer.concat([received, chunk]);
        const end = received.indexOf(NEWLINE);
        if (end > maxBytes || (end < 0 && received.length > maxBytes))
          return settle(() => reject(new Error(`The peer's line is longer than ${maxBytes} bytes`)));
        if (end < 0) continue;
        const rest = received.subarray(end + 1);
        return settle(() => {
          if (rest.length > 0) stream.unshift(rest);
          resolve(received.toString('utf8', 0, end));
        });
      }
    };
    for (const name of ['error', 'close', 'end']) stream.on(name, onEnd);
    stream.on('readable', onReadable);
    signal.addEventListener('abort', onEnd, { once: true });
    if (signal.aborted || stream.destroyed) onEnd();
    else onReadable();
  });
}
