import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import type { Logger } from '@slipway/runtime';
import { pino } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type DaemonLog = pino.Logger;

const MAX_BYTES = 16 * 1024 * 1024;

/** A JSON line log of one process; the file is renamed to `<file>.1` at 16 MiB, so a component keeps 32 MiB at most. */
export function createLog(file: string, component: string, level: LogLevel): DaemonLog {
  const destination = rotatingFile(file);
  return pino(
    {
      level,
      base: { component },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
}

/** Appends to a file that is renamed to `<file>.1` when it is full. */
export function rotatingFile(file: string): pino.DestinationStream {
  let descriptor = openSync(file, 'a', 0o640);
  let size = fstatSync(descriptor).size;
  return {
    write(line: string) {
      if (size > MAX_BYTES) {
        closeSync(descriptor);
        renameSync(file, `${file}.1`);
        descriptor = openSync(file, 'a', 0o640);
        size = 0;
      }
      size += writeSync(descriptor, line);
    },
  };
}

/** The logger interface of the components on pino. */
export function loggerOf(log: DaemonLog): Logger {
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
    child: (fields) => loggerOf(log.child(fields)),
  };
}
