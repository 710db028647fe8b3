import { backOffDelay, sleep, type TimerClock } from '@slipway/runtime';
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
}

const ATTEMPTS_WITHOUT_DATA = 3;
const RETRIED_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);

/** The bytes of one file, in order, over as many connections as it takes. */
export class Download {
  /** Known after the first answer. */
  version: FileVersion | undefined;
  /** Bytes that came over the wire in this process. */
  fetchedBytes = 0;

  private readonly url: URL;
  private readonly deps: DownloadDeps;

  /** `expected`: the version that bytes before the first offset belong to. */
  constructor(url: URL, deps: DownloadDeps, expected?: FileVersion) {
    this.url = url;
    this.deps = deps;
    this.version = expected;
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
      try {
        for await (const chunk of this.connection(position, signal)) {
          position += chunk.length;
          this.fetchedBytes += chunk.length;
          yield chunk;
        }
        const total = this.version?.totalBytes;
        if (total === undefined || position >= total) return;
        throw new Error(`the connection ended after ${position} of ${total} bytes`);
      } catch (error) {
        signal.throwIfAborted();
        if (!isTransient(error)) throw explainConnectError(error, this.url, this.deps.http.source);
        failures = position > before ? 1 : failures + 1;
        await this.pause(error, failures, position, signal);
      }
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

function rangeHeaders(position: number, version: FileVersion | undefined): Record<string, string> {
  if (position === 0) return {};
  const strong = version?.etag?.startsWith('W/') ? undefined : version?.etag;
  const validator = strong ?? version?.lastModified;
  return { Range: `bytes=${position}-`, ...(validator !== undefined && { 'If-Range': validator }) };
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
