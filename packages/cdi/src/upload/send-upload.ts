import type { Duplex } from 'node:stream';
import type { TimerClock } from '@slipway/runtime';
import { CutOffError, FrameReader, sendFrame, sendMessage, type UploadAnswer, type UploadQuestion } from './frames.ts';

/** How long a client may send nothing. */
const STALL_MS = 10 * 60_000;
const END = Buffer.alloc(0);

/** The client was silent for too long. */
export class StalledError extends Error {
  constructor() {
    super('no byte has come for ten minutes: upload again');
  }
}

export interface AskDeps {
  readonly clock: TimerClock;
  readonly signal: AbortSignal;
}

/**
 * Puts a question to a data mover, with the body that belongs to it, as fast as both sides can. Resolves with the answer,
 * which may come before the end of the body. A body that breaks off is never told as complete.
 */
export async function ask(
  stream: Duplex,
  question: UploadQuestion,
  body: AsyncIterator<Buffer> | undefined,
  { clock, signal }: AskDeps,
): Promise<UploadAnswer> {
  stream.on('error', () => {}); // shows as the end of what is read
  const source = stream.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  const answer = new FrameReader(source).message().then(readAnswer);
  const done = new AbortController();
  const sending = send(stream, question, body, { clock, signal: AbortSignal.any([signal, done.signal]) });
  answer.catch(() => {}); // awaited below, perhaps after the body
  try {
    const early = await Promise.race([answer, sending.then(() => undefined)]);
    return early ?? (await answer);
  } catch (error) {
    stream.destroy();
    throw error;
  } finally {
    done.abort();
    sending.catch(() => {});
  }
}

async function send(
  stream: Duplex,
  question: UploadQuestion,
  body: AsyncIterator<Buffer> | undefined,
  { clock, signal }: AskDeps,
): Promise<void> {
  await sendMessage(stream, question, signal);
  if (body === undefined) return;
  for await (const batch of batches(body, clock)) {
    signal.throwIfAborted();
    await sendFrame(stream, batch, signal);
  }
  signal.throwIfAborted();
  await sendFrame(stream, END, signal);
}

/** Of a body that comes in many small pieces: each frame is a message that is masked, sealed and passed on. */
const BATCH_BYTES = 128 * 1024;
const soon = (): Promise<undefined> => new Promise((resolve) => setImmediate(() => resolve(undefined)));

/** What has come in at a time, in one piece; nothing waits for more to come. */
async function* batches(body: AsyncIterator<Buffer>, clock: TimerClock): AsyncGenerator<Buffer> {
  const next = (): Promise<IteratorResult<Buffer>> => {
    const coming = body.next();
    coming.catch(() => {}); // nobody may want it any more
    return coming;
  };
  let coming = next();
  for (let isEnd = false; !isEnd; ) {
    const pieces: Buffer[] = [];
    let size = 0;
    let piece: IteratorResult<Buffer> | undefined = await unstalled(coming, clock);
    while (piece !== undefined) {
      isEnd = piece.done === true;
      if (isEnd) break;
      pieces.push(piece.value as Buffer); // it is not the end
      size += pieces.at(-1)?.length ?? 0;
      coming = next();
      piece = size < BATCH_BYTES ? await Promise.race([coming, soon()]) : undefined;
    }
    if (size > 0) yield pieces.length === 1 ? (pieces[0] ?? END) : Buffer.concat(pieces, size);
  }
}

function unstalled<T>(waiting: Promise<T>, clock: TimerClock): Promise<T> {
  let cancel = (): void => {};
  const stalled = new Promise<never>((_, reject) => {
    cancel = clock.setTimer(STALL_MS, () => reject(new StalledError()));
  });
  return Promise.race([waiting, stalled]).finally(() => cancel());
}

function readAnswer({ status, message, id, offset, totalBytes }: Record<string, unknown>): UploadAnswer {
  // the mover read what strangers sent: its words are checked like theirs
  if (typeof status !== 'number' || !Number.isInteger(status) || status < 200 || status > 599) throw new CutOffError();
  return {
    status,
    message: typeof message === 'string' ? message : '',
    ...(typeof id === 'string' && /^[\x21-\x7e]{1,128}$/.test(id) && { id }),
    ...(typeof offset === 'number' && Number.isSafeInteger(offset) && { offset }),
    ...(typeof totalBytes === 'number' && Number.isSafeInteger(totalBytes) && { totalBytes }),
  };
}
