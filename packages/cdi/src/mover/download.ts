import { Agent } from 'node:http';
import { Agent as TlsAgent } from 'node:https';
import { backOffDelay, sleep, type TimerClock } from '@slipway/runtime';
import { MAX_CONNECTIONS, nextPace, type Pace, SAMPLE_MS } from './connection-pace.ts';
import {
  explainConnectError,
  explainStatus,
  type HttpAnswer,
  httpGet,
  type HttpOptions,
  isTransient,
  type SourceName,
} from './http-client.ts';
import { ImportError } from './import-error.ts';
import { PART_BYTES, partWindow } from './part-window.ts';

/** What identifies one state of a file on a server. */
export interface FileVersion {
  /** Absent: the server does not say. */
  readonly totalBytes?: number;
  readonly etag?: string;
  readonly lastModified?: string;
}

export interface RetryPolicy {
  readonly baseMs: number;
  readonly maxMs: number;
  /** Attempts in a row that bring no byte, before the transfer is given up. */
  readonly attempts: number;
}

export interface DownloadDeps {
  readonly http: HttpOptions;
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly retry: RetryPolicy;
  readonly log: (line: string) => void;
  /** Told what the transfer waits for. */
  readonly onPause?: (problem: string) => void;
  /** A fixed number of connections; absent: as many as pay. */
  readonly connections?: number;
}

const ATTEMPTS_WITHOUT_DATA = 3;
const RETRIED_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);

const SINGLE: Pace = { connections: 1, isSettled: true };

/** The bytes of one file, in order, over as many connections as it takes. */
export class Download {
  /** Known after the first answer. */
  version: FileVersion | undefined;

  private readonly url: URL;
  private readonly deps: DownloadDeps;
  private pace: Pace;
  private takesRanges = false;
  private sample = { bytes: 0, sinceMs: 0, waitedMs: 0 };

  /** `expected`: the version that bytes before the first offset belong to. */
  constructor(url: URL, deps: DownloadDeps, expected?: FileVersion) {
    this.url = url;
    this.deps = deps;
    this.version = expected;
    const { connections } = deps;
    this.pace = connections === undefined ? { connections: 1, isSettled: false } : { connections, isSettled: true };
  }

  /**
   * Yields everything from `offset` on. A connection that breaks is continued where it broke. Throws `SourceChanged` when
   * the server now has another file, so that the caller can start again from the beginning.
   */
  async *chunks(offset: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    let position = offset;
    let failures = 0;
    for (;;) {
      const before = position;
      const isSplit = this.isSplit(position);
      let isChanged = false;
      try {
        for await (const chunk of this.metered(isSplit ? this.parts(position, signal) : this.connection(position, signal))) {
          position += chunk.length;
          yield chunk;
          isChanged = this.changesPace(position) || (!isSplit && this.isSplit(position));
          if (isChanged) break;
        }
        const total = this.version?.totalBytes;
        if (total === undefined || position >= total) return;
        if (isChanged) continue;
        throw new Error(`the connection ended after ${position} of ${total} bytes`);
      } catch (error) {
        signal.throwIfAborted();
        if (!isTransient(error)) throw explainConnectError(error, this.url, this.deps.http.source);
        if (isSplit) this.pace = SINGLE; // some servers give one connection to each client
        failures = position > before ? 1 : failures + 1;
        await this.pause(error, failures, position, signal);
      }
    }
  }

  /** Several requests at a time are possible, and wanted. */
  private isSplit(position: number): boolean {
    return this.canSplit && this.pace.connections > 1 && (this.version?.totalBytes ?? 0) - position > PART_BYTES;
  }

  private get canSplit(): boolean {
    return this.takesRanges && isResumable(this.version) && this.version?.totalBytes !== undefined;
  }

  /** Passes the bytes on and notes how long they let wait. */
  private async *metered(source: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
    const { clock } = this.deps;
    this.sample = { bytes: 0, sinceMs: clock.now(), waitedMs: 0 };
    try {
      for (;;) {
        const askedMs = clock.now();
        const next = await source.next();
        this.sample.waitedMs += clock.now() - askedMs;
        if (next.done) return;
        this.sample.bytes += next.value.length;
        yield next.value;
      }
    } finally {
      await source.return(undefined);
    }
  }

  /** True when the rest is to be fetched over another number of connections. */
  private changesPace(position: number): boolean {
    const { clock, log } = this.deps;
    const now = clock.now();
    const { bytes, sinceMs, waitedMs } = this.sample;
    const elapsedMs = now - sinceMs;
    if (this.pace.isSettled || !this.canSplit || elapsedMs < SAMPLE_MS) return false;
    const before = this.pace.connections;
    const leftBytes = (this.version?.totalBytes ?? 0) - position;
    this.pace = nextPace(this.pace, { bytes, elapsedMs, waitedMs, leftBytes });
    this.sample = { bytes: 0, sinceMs: now, waitedMs: 0 };
    if (this.pace.connections === before) return false;
    log(`the download goes on over ${this.pace.connections} connections from byte ${position}`);
    return true;
  }

  private async *parts(position: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    const { connections } = this.pace;
    const options = { keepAlive: true, maxSockets: MAX_CONNECTIONS };
    const agents = { http: new Agent(options), https: new TlsAgent(options) };
    const fetch = (start: number, end: number, either: AbortSignal) => this.part({ start, end }, agents, either);
    try {
      yield* partWindow(position, this.version?.totalBytes ?? 0, { connections, fetch }, signal);
    } finally {
      agents.http.destroy();
      agents.https.destroy();
    }
  }

  private async part(
    { start, end }: { readonly start: number; readonly end: number },
    agents: NonNullable<HttpOptions['agents']>,
    signal: AbortSignal,
  ): Promise<Buffer> {
    const headers = rangeHeaders(start, this.version, end);
    const answer = await httpGet(this.url, { ...this.deps.http, agents }, headers, signal);
    try {
      if (this.accept(answer, start) > 0) throw new Error('the server sends no parts any more');
      const part = Buffer.allocUnsafe(end - start);
      let filled = 0;
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        if (filled + chunk.length > part.length) throw new Error('the server sent more than was asked for');
        filled += chunk.copy(part, filled);
      }
      if (filled < part.length) throw new Error(`the connection ended after ${start + filled} bytes`);
      return part;
    } finally {
      answer.body.destroy();
    }
  }

  private async pause(error: unknown, failures: number, position: number, signal: AbortSignal): Promise<void> {
    const { retry, clock, random, log } = this.deps;
    // a server that never gave a byte is waited for by the pod's restarts, which say why
    if (failures >= (position === 0 ? Math.min(retry.attempts, ATTEMPTS_WITHOUT_DATA) : retry.attempts))
      throw error instanceof RetriedStatus ? error.final : explainConnectError(error, this.url, this.deps.http.source);
    const delayMs = Math.max(backOffDelay(failures, { ...retry, jitter: 0.3 }, random), retryAfterMs(error));
    const cause = error instanceof Error ? error.message : String(error);
    log(`download interrupted at byte ${position} (${cause}); continuing in ${Math.round(delayMs)} ms`);
    this.deps.onPause?.(`Interrupted: ${cause}; trying again in ${Math.ceil(delayMs / 1000)} s (attempt ${failures})`);
    await sleep(clock, delayMs, signal);
  }

  private async *connection(position: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    const known = this.version;
    if (known?.totalBytes !== undefined && position >= known.totalBytes && position > 0) return;
    const answer = await httpGet(this.url, this.deps.http, rangeHeaders(position, known), signal);
    try {
      let skip = this.accept(answer, position);
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        if (skip >= chunk.length) {
          skip -= chunk.length;
          continue;
        }
        yield skip > 0 ? chunk.subarray(skip) : chunk;
        skip = 0;
      }
    } finally {
      answer.body.destroy();
    }
  }

  /** Checks an answer against what is known of the file; returns how many bytes of the body are known already. */
  private accept(answer: HttpAnswer, position: number): number {
    const { status } = answer;
    if (RETRIED_STATUS.has(status)) throw new RetriedStatus(answer, this.url, this.deps.http.source);
    // asked for a part that is not there any more
    if (status === 416 && position > 0) throw sourceChanged(this.url);
    if (status !== 200 && status !== 206) throw explainStatus(answer, this.url, this.deps.http.source);
    const isPartial = status === 206;
    const found = versionOf(answer, isPartial);
    if (isPartial && rangeStart(answer) !== position)
      throw new ImportError('SourceUnreachable', `${this.url.host} answered another range than was asked for`);
    if (position > 0 && !isSameVersion(this.version, found, isPartial)) throw sourceChanged(this.url);
    this.version = found;
    this.takesRanges = isPartial || answer.headers['accept-ranges'] === 'bytes';
    return isPartial ? 0 : position;
  }
}

/** Keeps the answer's own wording until the attempts are used up. */
class RetriedStatus extends Error {
  readonly final: ImportError;
  readonly retryAfterMs: number;

  constructor(answer: HttpAnswer, url: URL, source: SourceName) {
    super(`the server answered ${answer.status} ${answer.statusText}`);
    this.final = explainStatus(answer, url, source);
    this.retryAfterMs = Math.min(Number(answer.headers['retry-after'] ?? 0) * 1000 || 0, 60_000);
  }
}

const retryAfterMs = (error: unknown): number => (error instanceof RetriedStatus ? error.retryAfterMs : 0);

const sourceChanged = (url: URL): ImportError =>
  new ImportError(
    'SourceChanged',
    `The file on ${url.host} changed during the download; it is downloaded again from the beginning`,
  );

/** For everything from `position` on, or up to before `end`. */
function rangeHeaders(position: number, version: FileVersion | undefined, end?: number): Record<string, string> {
  if (position === 0 && end === undefined) return {};
  const strong = version?.etag?.startsWith('W/') ? undefined : version?.etag;
  const validator = strong ?? version?.lastModified;
  const range = `bytes=${position}-${end === undefined ? '' : end - 1}`;
  return { Range: range, ...(validator !== undefined && { 'If-Range': validator }) };
}

function versionOf({ headers }: HttpAnswer, isPartial: boolean): FileVersion {
  const total = isPartial ? headers['content-range']?.match(/\/(\d+)$/)?.[1] : headers['content-length'];
  const etag = headers.etag;
  const lastModified = headers['last-modified'];
  return {
    ...(total !== undefined && { totalBytes: Number(total) }),
    ...(etag !== undefined && { etag }),
    ...(lastModified !== undefined && { lastModified }),
  };
}

const rangeStart = ({ headers }: HttpAnswer): number => Number(headers['content-range']?.match(/^bytes (\d+)-/)?.[1] ?? -1);

/** Without ETag and date, only the size speaks, and only for a server that continued the range it was asked for. */
function isSameVersion(known: FileVersion | undefined, found: FileVersion, isPartial: boolean): boolean {
  if (known === undefined) return false;
  if (known.totalBytes !== undefined && found.totalBytes !== undefined && known.totalBytes !== found.totalBytes) return false;
  if (known.etag !== undefined || found.etag !== undefined) return known.etag === found.etag;
  if (known.lastModified !== undefined || found.lastModified !== undefined) return known.lastModified === found.lastModified;
  return isPartial && known.totalBytes !== undefined;
}

/** True when a later process may trust bytes of this version that are on disk already. */
export const isResumable = (version: FileVersion | undefined): boolean =>
  version?.etag !== undefined || version?.lastModified !== undefined;
