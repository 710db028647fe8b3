export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** What building an image needs from the machine. */
export interface BuildHost {
  /** Runs a program and returns its standard output; throws when it fails. */
  run(argv: readonly [string, ...string[]], options: RunOptions): Promise<string>;
  /** Says what is being done now, for people. */
  progress(message: string): void;
}
