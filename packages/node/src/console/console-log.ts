import { closeSync, fstatSync, openSync, readSync, renameSync, writeSync } from 'node:fs';

/** What a guest writes to its serial port, kept for `kubectl logs`: two files, so never more than twice the limit. */
export interface ConsoleLog {
  append(chunk: Uint8Array): void;
  close(): void;
}

const DEFAULT_LIMIT = 1024 * 1024;

/** Opens for appending; a file that is full becomes `<file>.1`. The directory must be one that no tenant can write. */
export function openConsoleLog(file: string, limitBytes = DEFAULT_LIMIT): ConsoleLog {
  let descriptor = openSync(file, 'a', 0o600);
  let size = fstatSync(descriptor).size;
  return {
    append(chunk) {
      if (size > 0 && size + chunk.length > limitBytes) {
        closeSync(descriptor);
        renameSync(file, `${file}.1`);
        descriptor = openSync(file, 'a', 0o600);
        size = 0;
      }
      size += writeSync(descriptor, chunk.subarray(-limitBytes));
    },
    close: () => closeSync(descriptor),
  };
}

/** The last bytes of a log, the rotated part included; empty when there is none. */
export function readConsoleLog(file: string, maxBytes = 2 * DEFAULT_LIMIT): Buffer {
  const current = readTail(file, maxBytes);
  const before = current.length < maxBytes ? readTail(`${file}.1`, maxBytes - current.length) : Buffer.alloc(0);
  return Buffer.concat([before, current]);
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
