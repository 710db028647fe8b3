/** A failure whose message tells the user everything; no stack is shown. */
export class UserError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.name = 'UserError';
    this.exitCode = exitCode;
  }
}

/** What to do about it: when the caller may not do it, and when nobody answers. Pure. */
export function remedyOf(error: unknown, uid: number | undefined): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const code = 'code' in cause ? cause.code : undefined;
    if (uid !== 0 && (code === 'EACCES' || code === 'EPERM')) return 'run it with sudo';
    if (code === 'ECONNREFUSED') return '`slipway status` says what runs, `slipway up` starts it';
  }
  return undefined;
}

/** Prints an error for people, causes included, and returns the exit status. */
export function reportFailure(error: unknown): number {
  if (error instanceof UserError) {
    console.error(`slipway: ${error.message}`);
    return error.exitCode;
  }
  if (!(error instanceof Error)) throw error;
  console.error(`slipway: ${error.message}`);
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) console.error(`  because: ${cause.message}`);
  const remedy = remedyOf(error, process.getuid?.());
  if (remedy !== undefined) console.error(`  ${remedy}`);
  if (process.env['SLIPWAY_DEBUG']) console.error(error.stack);
  return 1;
}
