/** A failure whose message tells the user everything; no stack is shown. */
export class UserError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.name = 'UserError';
    this.exitCode = exitCode;
  }
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
  if (process.env['SLIPWAY_DEBUG']) console.error(error.stack);
  return 1;
}
