import { randomInt } from 'node:crypto';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { delimiter, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { ClientVersion, Exchange, ExchangeRequest, VirtctlIo } from './io.ts';

export interface TerminalOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** The command line that starts this program again. */
  readonly self: readonly string[];
  readonly version: ClientVersion;
  readonly runProgram: VirtctlIo['runProgram'];
}

/** The caller's terminal, for `runVirtctl`. */
export function terminalIo(options: TerminalOptions): VirtctlIo {
  const { env } = options;
  return {
    ...options,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    hasProgram: (name) => isInPath(name, env['PATH'] ?? ''),
    sleep: (ms, signal) => delay(ms, undefined, signal === undefined ? {} : { signal }),
    now: () => Date.now(),
    interrupted: () => new Promise((resolve) => void process.once('SIGINT', () => resolve())),
    onResize,
    exchange,
    randomName: (length) => Array.from({ length }, () => LETTERS.charAt(randomInt(LETTERS.length))).join(''),
  };
}

/** Without vowels and look-alikes, as Kubernetes names things. */
const LETTERS = 'bcdfghjklmnpqrstvwxz2456789';

async function isInPath(name: string, path: string): Promise<boolean> {
  for (const directory of path.split(delimiter)) {
    if (directory === '') continue;
    try {
      await access(join(directory, name), constants.X_OK);
      return true;
    } catch {
      // not here: the next directory may have it
    }
  }
  return false;
}

function onResize(tell: (columns: number, rows: number) => void): () => void {
  const { stdout } = process;
  if (!stdout.isTTY) return () => {};
  const now = (): void => tell(stdout.columns, stdout.rows);
  now();
  stdout.on('resize', now);
  return () => void stdout.off('resize', now);
}

/** How long a server may say nothing. */
const SILENCE_MS = 60_000;

function exchange({ method, url, headers, body, ca, insecure }: ExchangeRequest): Promise<Exchange> {
  return new Promise((resolve, reject) => {
    const options = { method, headers };
    const tls = { ...options, rejectUnauthorized: !insecure, ...(ca !== undefined && { ca }) };
    const request = url.startsWith('http:') ? requestHttp(url, options) : requestHttps(url, tls);
    // an upload may be answered long after its last byte: the server converts the image first
    if (body === undefined)
      request.setTimeout(SILENCE_MS, () => request.destroy(new Error(`${url} has said nothing for a minute`)));
    request.once('error', reject);
    request.once('response', (response) =>
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: response }),
    );
    if (body === undefined) request.end();
    else pipeline(body, request).catch(reject);
  });
}
