import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { get } from 'node:https';
import { bundledCustomResourceDefinitions, HyperConvergedKind } from '@slipway/api';
import { type Client, createHttpClient, parseKubeconfig, resolveKubeconfig } from '@slipway/client';
import { freePort, platformAt, ROOT } from '../../e2e/src/platform.ts';

/** What one start of a fresh installation showed; seconds count from the start of the command. */
export interface StartUp {
  /** `/readyz` answers and discovery lists every kind of the platform. */
  readonly apiReady: number;
  readonly hyperConvergedAvailable: number;
  /** The command has returned: the node agent is registered and takes pods. */
  readonly upReturned: number;
  /** `Warning` events until half a second after all of that. */
  readonly warnings: readonly string[];
  /** Conditions of the HyperConverged that were seen bad at any time. */
  readonly badConditions: readonly string[];
}

const POLL_MS = 10;
const DEADLINE_MS = 120_000;
const SETTLE_MS = 500;
/** Conditions that are good when they are False. */
const NEGATIVE = ['Progressing', 'Degraded'];

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** Does not keep the benchmark from ending. */
const overdue = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, DEADLINE_MS).unref());

/** Runs `slipway up` on a fresh data directory, watches from outside, and removes everything again. */
export async function measureStartUp(): Promise<StartUp> {
  const dataDir = mkdtempSync('/tmp/sw-bench-');
  const port = await freePort();
  const platform = platformAt(dataDir, port);
  const startedAt = performance.now();
  const seconds = (): number => (performance.now() - startedAt) / 1000;
  const upReturned = runUp(dataDir, port).then(seconds);
  upReturned.catch(() => {});
  try {
    await Promise.race([untilReady(port), upReturned.then(overdue)]);
    const client = await adminClient(platform.kubeconfig);
    try {
      await untilEveryKindIsServed(client);
      const apiReady = seconds();
      const badConditions = await watchUntilAvailable(client);
      const hyperConvergedAvailable = seconds();
      const returned = await upReturned;
      await pause(SETTLE_MS);
      return { apiReady, hyperConvergedAvailable, upReturned: returned, badConditions, warnings: await warningsOf(client) };
    } finally {
      await client.close();
    }
  } finally {
    await upReturned.catch(() => {});
    await platform.destroy();
  }
}

/** Seconds of a Node.js that does nothing: how fast this machine is at this moment. */
export async function measureBareStart(): Promise<number> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' });
  await new Promise((resolve, reject) => child.once('close', resolve).once('error', reject));
  return (performance.now() - startedAt) / 1000;
}

function runUp(dataDir: string, port: number): Promise<void> {
  const argv = ['up', '--yes', '--data-dir', dataDir, '--listen', `127.0.0.1:${port}`];
  const child = spawn(`${ROOT}/slipway`, argv, { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`slipway up failed (${code}): ${stderr}`))));
  });
}

/** Nobody's credentials are needed for this path, and nothing secret is sent: the certificate is not checked. */
async function untilReady(port: number): Promise<void> {
  const isReady = (): Promise<boolean> =>
    new Promise((resolve) => {
      const request = get({ host: '127.0.0.1', port, path: '/readyz', rejectUnauthorized: false, agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode === 200);
      });
      request.on('error', () => resolve(false));
    });
  for (const deadline = Date.now() + DEADLINE_MS; !(await isReady()); await pause(POLL_MS))
    if (Date.now() > deadline) throw new Error('The API was not ready in time');
}

async function adminClient(kubeconfig: string): Promise<ReturnType<typeof createHttpClient>> {
  while (!existsSync(kubeconfig)) await pause(POLL_MS);
  return createHttpClient((await resolveKubeconfig(parseKubeconfig(readFileSync(kubeconfig, 'utf8'), '/'))).client);
}

/**
 * Asks for the platform's own groups alone, over one connection: who asks much while the platform starts measures his own
 * questions.
 */
async function untilEveryKindIsServed(client: Client): Promise<void> {
  const wanted = new Map<string, string[]>();
  for (const { spec } of bundledCustomResourceDefinitions())
    for (const { name, served } of spec.versions) {
      const path = `/apis/${spec.group}/${name}`;
      if (served) wanted.set(path, [...(wanted.get(path) ?? []), spec.names.plural]);
    }
  const missingAt = async ([path, plurals]: readonly [string, readonly string[]]): Promise<string[]> => {
    const { body } = await client.raw({ method: 'GET', path }).catch(() => ({ body: {} })); // the group is not there yet
    const served = new Set(((body as ResourceList).resources ?? []).map(({ name }) => name));
    return plurals.filter((plural) => !served.has(plural)).map((plural) => `${path}/${plural}`);
  };
  for (const deadline = Date.now() + DEADLINE_MS; ; await pause(POLL_MS)) {
    const missing: string[] = [];
    for (const group of wanted) missing.push(...(await missingAt(group)));
    if (missing.length === 0) return;
    if (Date.now() > deadline) throw new Error(`These kinds are not served: ${missing.join(', ')}`);
  }
}

interface ResourceList {
  readonly resources?: readonly { readonly name: string }[];
}

interface HyperConvergedState {
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason?: string }[];
  };
}

/** Watches from the first version on; answers every bad condition that was shown on the way to Available. */
async function watchUntilAvailable(client: Client): Promise<string[]> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const bad = new Set<string>();
  for await (const { type, object } of client.watch(HyperConvergedKind, { signal })) {
    if (type !== 'ADDED' && type !== 'MODIFIED') continue;
    const { conditions = [] } = (object as HyperConvergedState).status ?? {}; // the kind's conditions are metav1.Condition
    for (const condition of conditions) {
      const good = NEGATIVE.includes(condition.type) ? 'False' : 'True';
      if (condition.status !== good) bad.add(`${condition.type}=${condition.status} (${condition.reason})`);
    }
    if (conditions.some((condition) => condition.type === 'Available' && condition.status === 'True')) return [...bad];
  }
  throw new Error('HyperConverged was not Available in time');
}

async function warningsOf(client: Client): Promise<string[]> {
  const { body } = await client.raw({ method: 'GET', path: '/api/v1/events' });
  const { items } = body as { items: { type?: string; reason?: string; message?: string }[] }; // an EventList
  return items.filter(({ type }) => type === 'Warning').map(({ reason, message }) => `${reason}: ${message}`);
}
