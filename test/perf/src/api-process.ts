import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureCredentials, type InstancePaths, instancePaths, planInstance, saveInstance, serverArgv } from '@slipway/daemon';
import { freePort, ROOT } from '../../e2e/src/platform.ts';
import type { WireTls } from './api-wire.ts';

/** The server process as `slipway up` starts it, with a data directory of its own and no node agent. */
export interface ServerProcess {
  readonly port: number;
  readonly tls: WireTls;
  readonly pid: number;
  readonly paths: InstancePaths;
  /** Bytes of RAM, shared pages counted in part. */
  pssBytes(): number;
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Starts the process again on the same data. */
  restart(): Promise<void>;
  /** Ends it and removes its data. */
  destroy(): Promise<void>;
}

/** Starts a server on a data directory below `/tmp`; `nodeFlags` go before the program (a profiler). */
export async function startServerProcess(
  nodeFlags: readonly string[] = [],
  bundles: string = join(ROOT, 'dist'),
): Promise<ServerProcess> {
  const dataDir = mkdtempSync('/tmp/sw-api-');
  const port = await freePort();
  const planned = planInstance({
    dataDir,
    listenHost: '127.0.0.1',
    listenPort: port,
    nodeCount: 1,
    hostname: 'bench',
    routedNetworks: [],
    createdAt: new Date().toISOString(),
  });
  // it runs as the caller: there is no agent here from which its files would have to be kept
  const config = { ...planned, serverUid: process.getuid?.() ?? 0, nodes: [] };
  const paths = instancePaths(dataDir);
  saveInstance(config, paths);
  await ensureCredentials(config, paths);
  const argv = serverArgv(paths, { node: process.execPath, bundles });
  const start = (): Promise<ChildProcess> => launch([argv[0] ?? '', ...nodeFlags, ...argv.slice(1)], paths);
  let child = await start();
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  };
  return {
    port,
    tls: adminTls(paths),
    paths,
    get pid() {
      return child.pid ?? 0;
    },
    pssBytes: () => pssOf(child.pid ?? 0),
    kill,
    async restart() {
      await kill('SIGTERM');
      child = await start();
    },
    async destroy() {
      await kill('SIGTERM');
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** Resolves when the process says that it is ready. */
async function launch([program = '', ...args]: readonly string[], paths: InstancePaths): Promise<ChildProcess> {
  const child = spawn(program, args, { cwd: paths.server, stdio: ['ignore', 'ignore', 'inherit', 'pipe'] });
  const ready = child.stdio[3];
  if (ready === undefined || ready === null) throw new Error('The ready pipe is missing');
  const [first] = (await Promise.race([once(ready, 'data'), once(child, 'exit').then(() => [''])])) as [string | Buffer];
  if (first.length > 0) return child;
  const log = join(paths.server, 'server.log');
  throw new Error(`The server did not start:\n${existsSync(log) ? readFileSync(log, 'utf8').slice(-2000) : ''}`);
}

function adminTls(paths: InstancePaths): WireTls {
  const text = readFileSync(paths.adminKubeconfig, 'utf8');
  const field = (name: string): string => Buffer.from(new RegExp(`${name}: (\\S+)`).exec(text)?.[1] ?? '', 'base64').toString();
  return { ca: field('certificate-authority-data'), cert: field('client-certificate-data'), key: field('client-key-data') };
}

function pssOf(pid: number): number {
  const kilobytes = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}
