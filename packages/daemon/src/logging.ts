import { closeSync, existsSync, fstatSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import type { Logger } from '@slipway/runtime';
import { pino } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type DaemonLog = pino.Logger;

/** How a file that grows is kept small: `<file>.1` is the youngest of the older ones. */
export interface Rotation {
  readonly maxBytes: number;
  readonly backups: number;
}

const DEFAULT_ROTATION: Rotation = { maxBytes: 16 * 1024 * 1024, backups: 1 };

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

/** Appends to a file that is renamed when it is full; older ones move up by one, and the oldest goes. */
export function rotatingFile(file: string, { maxBytes, backups }: Rotation = DEFAULT_ROTATION): pino.DestinationStream {
  let descriptor = openSync(file, 'a', 0o640);
  let size = fstatSync(descriptor).size;
  return {
    write(line: string) {
      if (size > maxBytes) {
        closeSync(descriptor);
        moveUp(file, backups);
        descriptor = openSync(file, 'a', 0o640);
        size = 0;
      }
      size += writeSync(descriptor, line);
    },
  };
}

function moveUp(file: string, backups: number): void {
  if (backups === 0) return rmSync(file);
  for (let index = backups - 1; index > 0; index -= 1) {
    if (existsSync(`${file}.${index}`)) renameSync(`${file}.${index}`, `${file}.${index + 1}`);
  }
  renameSync(file, `${file}.1`);
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
