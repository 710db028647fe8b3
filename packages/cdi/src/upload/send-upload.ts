import type { Duplex } from 'node:stream';
import type { TimerClock } from '@slipway/runtime';
import { CutOffError, FrameReader, sendFrame, sendMessage, type UploadAnswer, type UploadQuestion } from './frames.ts';

/** How long a client may send nothing. */
const STALL_MS = 10 * 60_000;
const END = new Uint8Array(0);

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
  for (;;) {
    const next = await unstalled(body.next(), clock);
    signal.throwIfAborted();
    if (next.done) break;
    if (next.value.length > 0) await sendFrame(stream, next.value, signal);
  }
  await sendFrame(stream, END, signal);
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
