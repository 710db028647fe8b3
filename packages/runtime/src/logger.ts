/** Values of one log line; the message stays constant, variables are fields. Never secrets or whole objects. */
export type LogFields = Readonly<Record<string, unknown>>;

/** What components log through; the daemon backs it with pino. */
export interface Logger {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  /** Degraded but handled. */
  warn(fields: LogFields, message: string): void;
  /** A person must look. */
  error(fields: LogFields, message: string): void;
  /** A logger that adds these fields to every line. */
  child(fields: LogFields): Logger;
}

/** Drops everything; for tests and for code that runs before logging is set up. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};
