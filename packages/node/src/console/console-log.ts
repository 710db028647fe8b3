import { closeSync, fstatSync, openSync, readFileSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';

/** What a guest writes to its serial port, kept for `kubectl logs`: two files, so never more than twice the limit. */
export interface ConsoleLog {
  append(chunk: Uint8Array): void;
  close(): void;
}

export interface ConsoleLogOptions {
  readonly limitBytes?: number;
  /** Milliseconds since 1970, for the times of lines. */
  readonly now?: () => number;
}

/** A log with the times at which its lines began, oldest first. */
export interface TimedLog {
  readonly text: Buffer;
  /** From `offset` on, lines began at `timeMs` or later. */
  readonly marks: readonly TimeMark[];
}

export interface TimeMark {
  readonly offset: number;
  readonly timeMs: number;
}

const DEFAULT_LIMIT = 1024 * 1024;
/** Lines that begin within this time share a mark. */
const MARK_EVERY_MS = 10;
const MAX_MARKS = 50_000;
const NEWLINE = 0x0a;

const timesOf = (file: string): string => `${file}.times`;

/**
 * Opens for appending; a file that is full becomes `<file>.1`. The times of its lines stand beside it in `<file>.times`.
 * The directory must be one that no tenant can write.
 */
export function openConsoleLog(file: string, { limitBytes = DEFAULT_LIMIT, now = Date.now }: ConsoleLogOptions = {}): ConsoleLog {
  let text = openSync(file, 'a+', 0o600);
  let times = openSync(timesOf(file), 'a', 0o600);
  let size = fstatSync(text).size;
  let marks = readMarks(timesOf(file)).length;
  let lastMarkMs = Number.NEGATIVE_INFINITY;
  let isLineStart = size === 0 || byteAt(text, size - 1) === NEWLINE;
  const close = (): void => {
    closeSync(text);
    closeSync(times);
  };
  const rotate = (): void => {
    close();
    renameSync(file, `${file}.1`);
    renameSync(timesOf(file), timesOf(`${file}.1`));
    text = openSync(file, 'a', 0o600);
    times = openSync(timesOf(file), 'a', 0o600);
    [size, marks, lastMarkMs] = [0, 0, Number.NEGATIVE_INFINITY];
  };
  return {
    append(chunk) {
      if (chunk.length === 0) return;
      if (size > 0 && (size + chunk.length > limitBytes || marks >= MAX_MARKS)) rotate();
      const kept = chunk.subarray(-limitBytes);
      const nowMs = now();
      const start = isLineStart || size === 0 ? 0 : kept.indexOf(NEWLINE) + 1 || kept.length;
      if (start < kept.length && nowMs - lastMarkMs >= MARK_EVERY_MS) {
        writeSync(times, `${size + start} ${nowMs}\n`);
        lastMarkMs = nowMs;
        marks++;
      }
      isLineStart = kept.at(-1) === NEWLINE;
      size += writeSync(text, kept);
    },
    close,
  };
}

/** The last bytes of a log, the rotated part included; empty when there is none. */
export function readConsoleLog(file: string, maxBytes = 2 * DEFAULT_LIMIT): Buffer {
  const current = readTail(file, maxBytes);
  const before = current.length < maxBytes ? readTail(`${file}.1`, maxBytes - current.length) : Buffer.alloc(0);
  return Buffer.concat([before, current]);
}

/** The whole log, the rotated part included, with the times of its lines. */
export function readTimedLog(file: string): TimedLog {
  const before = readTail(`${file}.1`, DEFAULT_LIMIT);
  const marks = [
    ...readMarks(timesOf(`${file}.1`)),
    ...readMarks(timesOf(file)).map(({ offset, timeMs }) => ({ offset: offset + before.length, timeMs })),
  ];
  return { text: Buffer.concat([before, readTail(file, DEFAULT_LIMIT)]), marks };
}

/** Removes a log with everything that belongs to it. */
export function removeConsoleLog(file: string): void {
  for (const part of [file, `${file}.1`, timesOf(file), timesOf(`${file}.1`)]) rmSync(part, { force: true });
}

/** A mark that was cut short by a crash is left out. */
function readMarks(file: string): TimeMark[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return []; // nothing was written yet
  }
  return [...text.matchAll(/^(\d+) (\d+)\n/gm)].map(([, offset, timeMs]) => ({ offset: Number(offset), timeMs: Number(timeMs) }));
}

function byteAt(descriptor: number, position: number): number | undefined {
  const byte = Buffer.alloc(1);
  return readSync(descriptor, byte, 0, 1, position) === 1 ? byte[0] : undefined;
}

function readTail(file: string, maxBytes: number): Buffer {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch {
    return Buffer.alloc(0); // nothing was written yet
  }
  try {
    const { size } = fstatSync(descriptor);
    const tail = Buffer.alloc(Math.min(size, maxBytes));
    readSync(descriptor, tail, 0, tail.length, size - tail.length);
    return tail;
  } finally {
    closeSync(descriptor);
  }
}
