import { randomUUID } from 'node:crypto';
import { sleep, type TimerClock } from '@slipway/runtime';
import { CutOffError, sendMessage, type UploadAnswer, type UploadOffer } from '../../upload/frames.ts';
import { type Checksum, parseChecksum } from '../checksum.ts';
import { explainWriteError, ImportError } from '../import-error.ts';
import type { IngestDeps, IngestResult } from '../ingest.ts';
import { readJournal, removeJournal } from '../journal.ts';
import { receive } from '../receive.ts';
import { type Lane, serveLanes } from './lanes.ts';
import { readOffer } from './read-offer.ts';
import { readRequest, UploadSession } from './upload-session.ts';

export interface UploadServerDeps extends IngestDeps {
  readonly clock: TimerClock;
  readonly log: (line: string) => void;
  /** Empties the destination and gives its space back. */
  readonly discard: () => Promise<void>;
}

/** How long the last answers may take to leave. */
const FLUSH_MS = 5_000;
const ENDING: UploadAnswer = { status: 503, message: 'the upload server starts again after a failed upload: try again' };
const BUSY: UploadAnswer = { status: 503, message: 'an upload is already running for this claim: wait until it ends' };
const DONE: UploadAnswer = { status: 409, message: 'the claim has been uploaded already' };

/**
 * Receives one file from whom the node agent lets through. Resolves when the destination is complete; rejects when what was
 * sent is no image for it. A broken connection is neither: the next upload may come.
 */
export async function receiveUploads(intake: string, deps: UploadServerDeps, signal: AbortSignal): Promise<IngestResult> {
  const stop = new AbortController();
  const server = new UploadServer(deps, signal);
  await server.resume();
  const answers = new Set<Promise<void>>();
  const serve = (lane: Lane): Promise<void> => {
    const answered = server
      .answer(lane)
      .then((answer) => reply(lane, answer, deps.clock, signal))
      .catch((error: unknown) => deps.log(`an upload was cut off: ${String(error)}`))
      .finally(() => {
        lane.socket.destroy();
        answers.delete(answered);
      });
    answers.add(answered);
    return answered;
  };
  const serving = serveLanes(intake, deps.clock, serve, AbortSignal.any([signal, stop.signal]));
  try {
    return await server.outcome;
  } finally {
    await Promise.race([Promise.allSettled(answers), sleep(deps.clock, FLUSH_MS, signal).catch(() => {})]);
    stop.abort();
    await serving;
  }
}

async function reply(lane: Lane, answer: UploadAnswer, clock: TimerClock, signal: AbortSignal): Promise<void> {
  await sendMessage(lane.socket, answer, signal);
  lane.socket.end();
  await Promise.race([lane.drain(), sleep(clock, FLUSH_MS, signal)]);
}

interface Running {
  readonly session: UploadSession;
  /** Resolves when the whole file is here and passed the checks, or it failed. */
  readonly validated: Promise<UploadAnswer>;
  readonly done: Promise<UploadAnswer>;
  readonly abort: AbortController;
}

class UploadServer {
  readonly outcome: Promise<IngestResult>;
  private readonly settle: { resolve: (result: IngestResult) => void; reject: (error: unknown) => void };
  private readonly deps: UploadServerDeps;
  private readonly signal: AbortSignal;
  private running: Running | undefined;
  private isStarting = false;
  /** The answer to everything, once the one upload of this process is over. */
  private over: UploadAnswer | undefined;

  constructor(deps: UploadServerDeps, signal: AbortSignal) {
    this.deps = deps;
    this.signal = signal;
    let settle: UploadServer['settle'] | undefined;
    this.outcome = new Promise((resolve, reject) => {
      settle = { resolve, reject };
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
    this.settle = settle as UploadServer['settle']; // set by the executor, which runs at once
    this.outcome.catch(() => {}); // awaited later
  }

  /** Goes on with what a killed run has left: a complete file is used, a part is kept for its client. */
  async resume(): Promise<void> {
    const journal = await readJournal(this.deps.workDir, this.deps.bootId);
    // without a journal nothing has begun: whatever the claim holds stays until something comes
    if (journal === undefined) return;
    const { totalBytes, etag = '' } = journal.version;
    const { isResumable, checksum } = readRequest(journal.request);
    if (!isResumable && journal.bytes !== totalBytes) return this.clear();
    const offer = {
      ...(isResumable && { id: etag }),
      ...(totalBytes !== undefined && { totalBytes }),
      ...(checksum !== undefined && { checksum }),
    };
    this.run(new UploadSession(offer, etag, journal.bytes), parseWritten(checksum));
  }

  async answer({ question, body }: Lane): Promise<UploadAnswer> {
    if (question['kind'] === 'status') return this.over ?? { status: 200, message: '', ...this.running?.session.state };
    const offer = readOffer(question);
    if (typeof offer === 'string') return { status: 400, message: offer };
    const checksum = offer.checksum === undefined ? undefined : parseChecksum(offer.checksum);
    if (typeof checksum === 'string') return { status: 400, message: checksum };
    const busy = this.over ?? this.busy();
    if (busy !== undefined) return busy;
    const running = offer.offset > 0 ? this.continued(offer) : await this.begin(offer, checksum);
    if ('status' in running) return running;
    const partial = await Promise.race([running.session.take(body), running.done.then(() => undefined)]);
    if (partial !== undefined) return partial;
    return offer.isAsync ? running.validated : running.done;
  }

  private busy(): UploadAnswer | undefined {
    return this.isStarting || this.running?.session.isWaiting === false ? BUSY : undefined;
  }

  private continued({ id, offset }: UploadOffer): Running | UploadAnswer {
    const session = this.running?.session;
    if (this.running !== undefined && id !== undefined && session?.id === id && session.received === offset) return this.running;
    return { status: 409, message: `this upload does not stand at byte ${offset}`, ...session?.state };
  }

  /** A file from its first byte; what another client has left unfinished is given up. */
  private async begin(offer: UploadOffer, checksum: Checksum | undefined): Promise<Running> {
    this.isStarting = true;
    const before = this.running;
    before?.abort.abort(new CutOffError());
    await before?.done;
    const running = this.run(new UploadSession(offer, offer.id ?? randomUUID()), checksum);
    // this very turn hands it its first bytes
    queueMicrotask(() => (this.isStarting = false));
    return running;
  }

  private run(session: UploadSession, checksum: Checksum | undefined): Running {
    const abort = new AbortController();
    let onValidated = (): void => {};
    const checked = new Promise<UploadAnswer>((resolve) => {
      onValidated = () => resolve({ status: 200, message: '' });
    });
    const reception = {
      request: session.request,
      ...(checksum && { checksum }),
      keepsAll: true,
      open: () => session,
    };
    const done = receive(reception, { ...this.deps, onValidated }, AbortSignal.any([this.signal, abort.signal])).then(
      (result) => this.succeeded(result),
      (error: unknown) => this.failed(error),
    );
    const running = { session, abort, done, validated: Promise.race([checked, done]) };
    this.running = running;
    return running;
  }

  private succeeded(result: IngestResult): UploadAnswer {
    this.over = DONE;
    this.settle.resolve(result);
    return { status: 200, message: '' };
  }

  private async failed(error: unknown): Promise<UploadAnswer> {
    if (error instanceof CutOffError) {
      this.deps.log('the connection broke in the middle of an upload; waiting for the next one');
      const uncleared = await this.clear().catch((cause: unknown) => cause ?? new Error('not cleared'));
      // until now the session counted as running: what begins must not be cleared away
      this.running = undefined;
      if (uncleared === undefined) return { status: 400, message: error.message };
      return this.end(uncleared);
    }
    return this.end(error);
  }

  private end(error: unknown): UploadAnswer {
    const explained = explainWriteError(error);
    this.over = ENDING; // the process ends, and the next one begins with an empty disk
    this.settle.reject(explained);
    return answerFor(explained);
  }

  private async clear(): Promise<void> {
    await removeJournal(this.deps.workDir);
    await this.deps.discard();
  }
}

/** A checksum that was checked when it came. */
function parseWritten(text: string | undefined): Checksum | undefined {
  const checksum = text === undefined ? undefined : parseChecksum(text);
  return typeof checksum === 'string' ? undefined : checksum;
}

const STATUS: Readonly<Record<string, number>> = {
  ImageTooLarge: 400,
  InvalidImage: 400,
  ChecksumError: 400,
  InvalidRequest: 400,
};

function answerFor(error: unknown): UploadAnswer {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof ImportError)) return { status: 500, message: 'Saving stream failed: the upload server failed' };
  const tooLarge = error.reason === 'ImageTooLarge' ? 'effective image size is larger than the reported available storage. ' : '';
  return { status: STATUS[error.reason] ?? 500, message: `Saving stream failed: ${tooLarge}${message}` };
}
