import { type Duplex, PassThrough, Readable, Transform } from 'node:stream';
import { badRequest, notFound } from '@slipway/apimachinery';
import { type Pod, PodVerb } from '@slipway/api';
import { type NodeCall, type NodeHandlers, sleep, type TimerClock } from '@slipway/runtime';
import type { TimedLog } from '../console/index.ts';
import { imageName } from './pod-dispatcher.ts';

export interface PodLogSources {
  /** What the guest of a launcher pod printed on its serial console. */
  readonly consoleLog: (podUid: string) => TimedLog;
  readonly moverLog: (podUid: string) => Promise<string>;
  /** Follows the console of a running guest from now on; undefined when there is none. */
  readonly followConsole: (podUid: string) => Duplex | undefined;
  /** Output of a data mover from its start, until it ends. */
  readonly followMover: (podUid: string, signal: AbortSignal) => Readable;
  readonly podOf: (uid: string) => Pod | undefined;
  readonly clock: TimerClock;
}

const MAX_BYTES = 4 * 1024 * 1024;

/** The end of a log as `tailLines` and `limitBytes` ask for it. */
export function cutLog(text: Buffer, { tailLines, limitBytes }: { tailLines?: number; limitBytes?: number }): Buffer {
  let start = 0;
  if (tailLines !== undefined) {
    start = text.length;
    // a last line without its end counts as one
    let position = text.length - 1;
    for (let lines = 0; lines < tailLines && start > 0; lines++) {
      position = position <= 0 ? -1 : text.lastIndexOf(0x0a, position - 1);
      start = position + 1;
    }
  }
  const end = limitBytes === undefined ? text.length : Math.min(text.length, start + limitBytes);
  return text.subarray(start, end);
}

export interface LogSelection {
  readonly tailLines?: number;
  readonly limitBytes?: number;
  /** Only lines that began then or later. */
  readonly sinceMs?: number;
  /** Each line begins with its time. */
  readonly timestamps?: boolean;
}

/** What is asked for of a log whose lines have times. */
export function selectLog(log: TimedLog, { tailLines, limitBytes, sinceMs, timestamps = false }: LogSelection): Buffer {
  const since =
    sinceMs === undefined ? log : from(log, log.marks.find(({ timeMs }) => timeMs >= sinceMs)?.offset ?? log.text.length);
  const tail = tailLines === undefined ? since : from(since, since.text.length - cutLog(since.text, { tailLines }).length);
  if (timestamps) return withTimes(tail, limitBytes ?? MAX_BYTES);
  return cutLog(tail.text, limitBytes === undefined ? {} : { limitBytes });
}

/** The log from an offset on; a mark before it goes on to count for what follows. */
function from({ text, marks }: TimedLog, start: number): TimedLog {
  return {
    text: text.subarray(start),
    marks: marks
      .map(({ offset, timeMs }) => ({ offset: Math.max(0, offset - start), timeMs }))
      .filter(({ offset }, index, all) => offset > 0 || (all[index + 1]?.offset ?? 1) > 0),
  };
}

const stamp = (timeMs: number): Buffer => Buffer.from(`${new Date(timeMs).toISOString()} `);
const STAMP_BYTES = stamp(0).length;
/** A line of one byte grows by its time. */
const STAMPED_MAX = 1 + STAMP_BYTES;

/** The start of the text with times, at most this many bytes: a guest may write lines of one byte. */
function withTimes({ text, marks }: TimedLog, maxBytes: number): Buffer {
  const out = Buffer.allocUnsafe(Math.min(maxBytes, text.length + linesOf(text, maxBytes / STAMP_BYTES) * STAMP_BYTES));
  let length = 0;
  let mark = 0;
  let time = stamp(marks[0]?.timeMs ?? 0);
  for (let start = 0; start < text.length && length < out.length; ) {
    const before = mark;
    while ((marks[mark + 1]?.offset ?? Number.POSITIVE_INFINITY) <= start) mark++;
    if (mark !== before) time = stamp(marks[mark]?.timeMs ?? 0);
    const newline = text.indexOf(0x0a, start);
    const end = newline < 0 ? text.length : newline + 1;
    length += time.copy(out, length);
    length += text.copy(out, length, start, end);
    start = end;
  }
  return out.subarray(0, length);
}

/** Lines of a text, a last one without its end included; not counted much further than a limit. */
function linesOf(text: Buffer, limit: number): number {
  let lines = 1;
  for (let at = text.indexOf(0x0a); at >= 0 && lines <= limit; at = text.indexOf(0x0a, at + 1)) lines++;
  return lines;
}

/** Puts the time before each line that passes; the first may be the rest of one that began before. */
function stamping(clock: TimerClock, isLineStart: boolean): Transform {
  let isStart = isLineStart;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const marks = chunk.length > 0 ? [{ offset: 0, timeMs: clock.now() }] : [];
      const rest = isStart ? 0 : chunk.indexOf(0x0a) + 1 || chunk.length;
      isStart = chunk.at(-1) === 0x0a;
      done(
        null,
        Buffer.concat([chunk.subarray(0, rest), withTimes({ text: chunk.subarray(rest), marks }, STAMPED_MAX * chunk.length)]),
      );
    },
  });
}

function selectionOf({ params }: NodeCall, nowMs: number): LogSelection {
  const [tailLines, seconds] = [numberOf(params['tailLines']), numberOf(params['sinceSeconds'])];
  const { sinceTime } = params;
  const time = typeof sinceTime === 'string' ? Date.parse(sinceTime) : Number.NaN;
  const sinceMs = seconds !== undefined ? nowMs - seconds * 1000 : Number.isNaN(time) ? undefined : time;
  return {
    limitBytes: numberOf(params['limitBytes']) ?? MAX_BYTES,
    timestamps: params['timestamps'] === true,
    ...(tailLines !== undefined && { tailLines }),
    ...(sinceMs !== undefined && { sinceMs }),
  };
}

const numberOf = (value: unknown): number | undefined => (typeof value === 'number' && value >= 0 ? value : undefined);

/** Adds `kubectl logs` of the platform's pods to the calls that a node answers. */
export function withPodLogs(handlers: NodeHandlers, sources: PodLogSources): NodeHandlers {
  return {
    call: (call, signal) => handlers.call(call, signal),
    async open(call, signal) {
      if (call.verb !== PodVerb.log) return handlers.open(call, signal);
      const podUid = String(call.params['podUid']);
      const pod = sources.podOf(podUid);
      if (pod === undefined) throw notFound({ group: '', resource: 'pods' }, String(call.params['pod']));
      if (call.params['previous'] === true)
        throw badRequest(
          `previous terminated container ${JSON.stringify(call.params['container'])} in pod ${JSON.stringify(pod.metadata.name)} not found`,
        );
      const isLauncher = imageName(pod.spec?.containers[0]?.image ?? '') === 'slipway/virt-launcher';
      const selection = selectionOf(call, sources.clock.now());
      const isFollowed = call.params['follow'] === true;
      if (isLauncher) return openConsoleLog(sources, podUid, selection, isFollowed);
      if (isFollowed) {
        const stop = new AbortController();
        const followed = sources.followMover(podUid, stop.signal).pipe(new PassThrough());
        followed.once('close', () => stop.abort());
        return followed;
      }
      const stream = new PassThrough();
      stream.end(cutLog(Buffer.from(await sources.moverLog(podUid)), selection));
      return stream;
    },
  };
}

/** What the guest has printed, then what it prints: read and joined in one turn, so that nothing is lost or shown twice. */
function openConsoleLog(
  { consoleLog, followConsole, clock }: PodLogSources,
  podUid: string,
  selection: LogSelection,
  isFollowed: boolean,
): Duplex {
  const log = consoleLog(podUid);
  const live = isFollowed ? followConsole(podUid) : undefined;
  const stream = new PassThrough();
  stream.write(selectLog(log, selection));
  if (live === undefined) {
    stream.end();
    return stream;
  }
  const isLineStart = log.text.length === 0 || log.text.at(-1) === 0x0a;
  (selection.timestamps === true ? live.pipe(stamping(clock, isLineStart)) : live).pipe(stream);
  stream.once('close', () => live.destroy());
  return stream;
}

const FOLLOW_POLL_MS = 500;

/** A text that grows until its writer is done; what was read before is not shown again. */
export function followText(
  deps: { readonly read: () => Promise<string>; readonly isDone: () => boolean; readonly clock: TimerClock },
  signal: AbortSignal,
): Readable {
  async function* pieces(): AsyncGenerator<string> {
    let shown = '';
    while (!signal.aborted) {
      const isLast = deps.isDone();
      const text = await deps.read();
      // the start is cut off when the text grows beyond what is kept: go on after the last line that was shown
      const tail = shown.slice(-1024);
      const kept = text.lastIndexOf(tail);
      const from = text.startsWith(shown) ? shown.length : kept < 0 ? 0 : kept + tail.length;
      if (text.length > from) yield text.slice(from);
      shown = text;
      if (isLast) return;
      await sleep(deps.clock, FOLLOW_POLL_MS, signal).catch(() => undefined);
    }
  }
  return Readable.from(pieces(), { objectMode: false });
}
