/** What a command may touch outside of itself; tests put their own in place. */
export interface VirtctlIo {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean; setRawMode?(on: boolean): unknown };
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** How this program was called, for commands that start it again (ssh's ProxyCommand): `virtctl` or `slipway virt`. */
  readonly self: readonly string[];
  /** Runs a program on the caller's terminal, with these variables more; resolves with its exit status. */
  readonly runProgram: (argv: readonly [string, ...string[]], env?: Readonly<Record<string, string>>) => Promise<number>;
  /** Whether a program of this name is in the search path. */
  readonly hasProgram: (name: string) => Promise<boolean>;
  /** Resolves after this long, rejects when aborted. */
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  readonly now: () => number;
  /** Tells the size of the terminal now and whenever it changes; the returned function ends that. */
  readonly onResize: (tell: (columns: number, rows: number) => void) => () => void;
  /** Resolves when the user presses Ctrl+C; from the first call on that no longer ends the program. */
  readonly interrupted: () => Promise<void>;
  /** Lower-case letters and digits that nobody can guess, for names of objects and tokens. */
  readonly randomName: (length: number) => string;
  /** One HTTP exchange, redirects not followed. Rejects when there is no answer. */
  readonly exchange: (request: ExchangeRequest) => Promise<Exchange>;
  readonly version: ClientVersion;
}

export interface ExchangeRequest {
  readonly method: 'GET' | 'HEAD' | 'PATCH' | 'POST';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: AsyncIterable<Uint8Array>;
  /** PEM of the authority the server must have its certificate from; undefined: those of the machine. */
  readonly ca: string | undefined;
  readonly insecure: boolean;
}

export interface Exchange {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Rejects when the connection breaks before the end. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface ClientVersion {
  readonly gitVersion: string;
  readonly gitCommit: string;
  readonly buildDate: string;
}

/** A failure whose text is the whole message for the user; the command ends with status 1. */
export class CommandFailure extends Error {}

export function print(io: VirtctlIo, line: string): void {
  io.stdout.write(`${line}\n`);
}

export function warn(io: VirtctlIo, line: string): void {
  io.stderr.write(`${line}\n`);
}
