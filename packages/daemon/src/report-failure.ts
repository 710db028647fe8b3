/** A failure whose message tells the user everything; no stack is shown. */
export class UserError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.name = 'UserError';
    this.exitCode = exitCode;
  }
}

/** What to do about it when the caller may not do it. Pure. */
export function remedyOf(error: unknown, uid: number | undefined): string | undefined {
  if (uid === 0) return undefined;
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if ('code' in cause && (cause.code === 'EACCES' || cause.code === 'EPERM')) return 'run it with sudo';
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
