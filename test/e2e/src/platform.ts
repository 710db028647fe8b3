import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** The checkout: tests run in it, and the command line exports it to what it starts. */
export const ROOT = process.env['SLIPWAY_ROOT'] ?? process.cwd();
const SLIPWAY = join(ROOT, 'slipway');

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One installation of its own in a temporary directory, driven as a user drives it: by the commands. */
export interface Platform {
  readonly dataDir: string;
  readonly kubeconfig: string;
  readonly port: number;
  slipway(...args: string[]): Promise<CommandResult>;
  /** Fails the test when kubectl fails. */
  kubectl(...args: string[]): Promise<string>;
  /** kubectl whatever its exit status. */
  tryKubectl(...args: string[]): Promise<CommandResult>;
  apply(manifest: string | object, ...args: string[]): Promise<string>;
  /**
   * What `kubectl diff` prints once nobody writes the objects meanwhile: nothing when the cluster holds what the manifest
   * says.
   */
  diff(manifest: object): Promise<string>;
  /** Polls a JSON object until the predicate holds; throws with the last state at the deadline. */
  until<T = Record<string, unknown>>(resource: string, predicate: (object: T) => boolean, timeoutMs?: number): Promise<T>;
  destroy(): Promise<void>;
}

const FIRST_PAUSE_MS = 80;
const LONGEST_PAUSE_MS = 400;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('No port');
  return address.port;
}

async function attempt(file: string, args: readonly string[], env: NodeJS.ProcessEnv, input?: string): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? -1, stdout, stderr }));
    child.stdin.on('error', () => {}); // the command may end without reading its input
    child.stdin.end(input ?? '');
  });
}

export interface PlatformOptions {
  readonly nodes?: number;
  /** Further arguments of `slipway up`. */
  readonly up?: readonly string[];
}

/** Starts a platform; call `destroy` in `afterAll`, also when the start failed. */
export async function startPlatform(options: PlatformOptions = {}): Promise<Platform> {
  const dataDir = mkdtempSync('/tmp/sw-e2e-');
  const port = await freePort();
  const platform = platformAt(dataDir, port);
  const extra = [...(options.nodes ? ['--nodes', String(options.nodes)] : []), ...(options.up ?? [])];
  const up = await platform.slipway('up', '--yes', '--listen', `127.0.0.1:${port}`, '--allow-loopback-imports', ...extra);
  if (up.code !== 0) {
    const logs = await platform.slipway('logs', '--tail', '40');
    await platform.destroy();
    throw new Error(`slipway up failed (${up.code}):\n${up.stderr}\n${logs.stdout}`);
  }
  return platform;
}

const DIFF_ATTEMPTS = 10;

export function platformAt(dataDir: string, port: number): Platform {
  const kubeconfig = join(dataDir, 'admin.kubeconfig');
  const env = { ...process.env, KUBECONFIG: kubeconfig, SLIPWAY_DATA_DIR: dataDir };
  const tryKubectl = (...args: string[]) => attempt('kubectl', args, env);
  const kubectl = async (...args: string[]) => checked(['kubectl', ...args], await tryKubectl(...args));
  return {
    dataDir,
    kubeconfig,
    port,
    slipway: (...args) => attempt(SLIPWAY, args, env),
    kubectl,
    tryKubectl,
    async apply(manifest, ...args) {
      const text = typeof manifest === 'string' ? manifest : JSON.stringify(manifest);
      return checked(['kubectl', 'apply', ...args], await attempt('kubectl', ['apply', '-f', '-', ...args], env, text));
    },
    async diff(manifest) {
      // kubectl reads twice: a status that is written in between looks like a difference
      for (let attempts = 1; ; attempts++) {
        const { code, stdout, stderr } = await attempt('kubectl', ['diff', '-f', '-'], env, JSON.stringify(manifest));
        if (code > 1) throw new Error(`kubectl diff failed (${code}): ${stderr}`);
        if (code === 0 || attempts === DIFF_ATTEMPTS) return stdout;
      }
    },
    async until(resource, predicate, timeoutMs = 60_000) {
      const words = resource.split(' ');
      const deadline = Date.now() + timeoutMs;
      // each look costs kubectl a tenth of a second of a processor, which guests that boot need more
      for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 1.2, LONGEST_PAUSE_MS)) {
        let last: string;
        const result = await tryKubectl('get', ...words, '-o', 'json');
        if (result.code === 0) {
          last = result.stdout;
          const object = JSON.parse(last);
          if (predicate(object)) return object;
        } else last = result.stderr;
        if (Date.now() > deadline) throw new Error(`${resource} did not get there in ${timeoutMs} ms; last state:\n${last}`);
        await pause(pauseMs);
      }
    },
    async destroy() {
      const result = await attempt(SLIPWAY, ['reset', '--yes'], env);
      rmSync(dataDir, { recursive: true, force: true });
      if (result.code !== 0) throw new Error(`slipway reset failed: ${result.stderr}`);
    },
  };
}

function checked(argv: readonly string[], result: CommandResult): string {
  if (result.code !== 0) throw new Error(`${argv.join(' ')} failed (${result.code}): ${result.stderr}`);
  return result.stdout;
}

/** Builds a guest image through the product's own command and returns its files. */
export async function guestImage(kind: 'tiny' | 'tiny-generic' | 'debian'): Promise<{ rawPath: string; qcow2Path: string }> {
  const { stdout } = await run(SLIPWAY, ['dev', 'guest-image', kind], { maxBuffer: 1 << 20 });
  return JSON.parse(stdout);
}
