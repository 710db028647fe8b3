import type { MessageStream } from '@slipway/client';

/** What a program has on this side of a stream: a terminal, a socket, a pair of pipes. */
export interface LocalEnd {
  readonly input: AsyncIterable<Uint8Array | string>;
  readonly write: (data: Uint8Array) => Promise<void>;
}

/**
 * Copies both ways until one side ends. `onInput` sees every piece of input first and may end the session by returning
 * undefined.
 */
export async function pump(
  stream: MessageStream,
  { input, write }: LocalEnd,
  onInput: (data: Uint8Array) => Uint8Array | undefined = (data) => data,
): Promise<void> {
  const outgoing = async (): Promise<void> => {
    try {
      for await (const piece of input) {
        const data = onInput(typeof piece === 'string' ? Buffer.from(piece) : piece);
        if (data === undefined) break;
        if (data.length > 0) await stream.send(data);
      }
    } finally {
      stream.close(1000); // also when a viewer has gone without a word
    }
  };
  const incoming = async (): Promise<void> => {
    for await (const message of stream.messages) await write(message);
  };
  const sending = outgoing();
  sending.catch(() => {}); // an error here also ends the incoming side, which is waited for
  await incoming();
}

/** Writes with back-pressure. */
export function writeTo(target: NodeJS.WritableStream, data: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    target.write(Buffer.from(data), (error) => (error ? reject(error) : resolve()));
  });
}
