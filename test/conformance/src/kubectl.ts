import { execFile, execFileSync, spawn } from 'node:child_process';
import { createConnection } from 'node:net';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cluster } from './cluster.ts';

export interface Kubectl {
  readonly minor: number;
  run(args: readonly string[], options?: { input?: string; env?: Record<string, string> }): Promise<Result>;
  /** Runs until `use` has ended; gives the local port that is forwarded. */
  forward(target: string, port: number, use: (localPort: number) => Promise<void>, env?: Record<string, string>): Promise<void>;
}

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The kubectl on the path; undefined when there is none. */
export function installedKubectl(): string | undefined {
  try {
    return execFileSync('sh', ['-c', 'command -v kubectl'], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

/** The kubectl of the distribution, unpacked into a directory of its own and not installed; undefined where there is none. */
export function debianKubectl(): { readonly path: string; remove(): void } | undefined {
  const directory = mkdtempSync(join(tmpdir(), 'slipway-kubectl-'));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  try {
    execFileSync('apt-get', ['download', 'kubernetes-client'], { cwd: directory, stdio: 'ignore', timeout: 60_000 });
    const archive = readdirSync(directory).find((name) => name.endsWith('.deb')) ?? '';
    const root = join(directory, 'root');
    mkdirSync(root);
    execFileSync('dpkg-deb', ['-x', join(directory, archive), root], { stdio: 'ignore' });
    return { path: join(root, 'usr/bin/kubectl'), remove };
  } catch {
    remove();
    return undefined;
  }
}

export function minorVersion(path: string): number {
  const text = execFileSync(path, ['version', '--client', '-o', 'json'], { encoding: 'utf8' });
  const { clientVersion } = JSON.parse(text) as { clientVersion: { minor: string } }; // kubectl wrote it
  return Number.parseInt(clientVersion.minor, 10);
}

/** kubectl with the credentials of a cluster and caches of its own. */
export function kubectlOf(path: string, cluster: Cluster, home: string): Kubectl {
  const environment = (env: Record<string, string> = {}) => ({
    ...{ PATH: process.env['PATH'], HOME: home, KUBECONFIG: cluster.kubeconfig, KUBECACHEDIR: join(home, 'cache') },
    ...env,
  });
  return {
    minor: minorVersion(path),
    run: (args, { input, env } = {}) =>
      new Promise((resolve) => {
        const child = execFile(path, [...args], { env: environment(env), timeout: 60_000 }, (error, stdout, stderr) =>
          resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, stdout, stderr }),
        );
        child.stdin?.on('error', () => undefined);
        child.stdin?.end(input ?? '');
      }),
    async forward(target, port, use, env) {
      const child = spawn(path, ['port-forward', target, `:${port}`], {
        env: environment(env),
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let text = '';
      try {
        const local = await new Promise<number>((resolve, reject) => {
          const onText = (chunk: Buffer): void => {
            text += chunk.toString();
            const match = /Forwarding from 127\.0\.0\.1:(\d+)/.exec(text);
            if (match !== null) resolve(Number(match[1]));
          };
          child.stdout.on('data', onText);
          child.stderr.on('data', onText);
          child.once('exit', () => reject(new Error(`port-forward ended: ${text}`)));
        });
        await use(local);
      } finally {
        child.kill();
      }
    },
  };
}

/** Sends text to a port, closes that direction and reads until the end. */
export function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: '127.0.0.1', port, allowHalfOpen: true }, () => socket.end(text));
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('end', () => resolve(Buffer.concat(chunks).toString()));
  });
}
