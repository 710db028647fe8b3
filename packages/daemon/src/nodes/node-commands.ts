import { setTimeout as sleep } from 'node:timers/promises';
import { NodeKind, PodKind } from '@slipway/api';
import { isNotFound } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type ClusterOptions, connectCluster } from '../access/cluster-client.ts';
import { UserError } from '../report-failure.ts';
import { timeoutOption } from '../timeout-option.ts';
import { cancelEvacuations, drainNode, leavingNow, type Remaining } from './drain-node.ts';
import { formatNodes, nodeRows } from './list-nodes.ts';

const OUTCOMES = { moves: 'moves', stops: 'is stopped', blocks: 'blocks', goes: 'goes' } as const;
/** Of a shell, for a command that Ctrl+C has ended. */
const EXIT_INTERRUPTED = 130;

/** `slipway node list` */
export function listNodes(options: ClusterOptions & { readonly output: string }): Promise<void> {
  return withClient(options, async (client) => {
    const [nodes, pods] = [await client.list(NodeKind), await client.list(PodKind)];
    const rows = nodeRows(nodes.items, pods.items, Date.now());
    console.log(options.output === 'json' ? JSON.stringify(rows, undefined, 2) : formatNodes(rows));
  });
}

/** `slipway node cordon`: nothing new comes to the node. */
export function cordon(name: string, options: ClusterOptions): Promise<void> {
  return withClient(options, async (client) => {
    const changed = await setUnschedulable(client, name, true);
    console.log(`node/${name} ${changed ? 'cordoned' : 'already cordoned'}`);
  });
}

/** `slipway node uncordon`: ends maintenance; guests that were to move may stay. */
export function uncordon(name: string, options: ClusterOptions): Promise<void> {
  return withClient(options, async (client) => {
    const changed = await setUnschedulable(client, name, false);
    for (const guest of await cancelEvacuations(client, name)) console.log(`VM ${guest} may stay`);
    console.log(`node/${name} ${changed ? 'uncordoned' : 'already uncordoned'}`);
  });
}

export interface DrainOptions extends ClusterOptions {
  readonly timeout?: string;
  readonly dryRun?: boolean;
}

/** `slipway node drain`: cordons, and moves or stops everything that is on the node. */
export function drain(name: string, options: DrainOptions): Promise<void> {
  const timeoutMs = timeoutOption(options.timeout);
  return withClient(options, async (client) => {
    await requireNode(client, name);
    const planned = await leavingNow({ client, nodeName: name });
    if (options.dryRun) {
      for (const { title, outcome, note } of planned) console.log(`${title} ${OUTCOMES[outcome]}: ${note}`);
      if (planned.length === 0) console.log(`Nothing has to leave ${name}`);
      return;
    }
    if (await setUnschedulable(client, name, true)) console.error(`node/${name} cordoned`);
    for (const { title, outcome, note } of planned) console.error(`${title} ${OUTCOMES[outcome]}: ${note}`);
    const { left, isInterrupted } = await drainUntil(client, name, timeoutMs);
    if (left.length === 0) {
      console.log(`node/${name} drained`);
      return;
    }
    for (const { title, why } of left) console.error(`still on ${name}: ${title}: ${why}`);
    const what = isInterrupted ? 'Interrupted' : `${name} is not empty after ${options.timeout}`;
    throw new UserError(
      `${what}; it stays cordoned. \`slipway node drain ${name}\` goes on, \`slipway node uncordon ${name}\` gives it up`,
      isInterrupted ? EXIT_INTERRUPTED : 1,
    );
  });
}

async function drainUntil(
  client: Client,
  nodeName: string,
  timeoutMs: number | undefined,
): Promise<{ left: readonly Remaining[]; isInterrupted: boolean }> {
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const signals = [interrupted.signal, ...(timeoutMs === undefined ? [] : [AbortSignal.timeout(timeoutMs)])];
  try {
    const deps = {
      ...{ client, nodeName, say: (line: string) => console.error(line), now: () => Date.now() },
      wait: (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal }),
    };
    const left = await drainNode(deps, AbortSignal.any(signals));
    return { left, isInterrupted: interrupted.signal.aborted };
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

async function requireNode(client: Client, name: string) {
  return client.get(NodeKind, { namespace: '', name }).catch((error: unknown) => {
    if (isNotFound(error)) throw new UserError(`There is no node ${name}; \`slipway node list\` shows those there are`);
    throw error;
  });
}

/** Returns whether that changes anything. */
async function setUnschedulable(client: Client, name: string, unschedulable: boolean): Promise<boolean> {
  const node = await requireNode(client, name);
  if ((node.spec?.unschedulable ?? false) === unschedulable) return false;
  const patch = { spec: { unschedulable: unschedulable || null } };
  await client.patch(NodeKind, { namespace: '', name }, patch, { type: 'merge' });
  return true;
}

async function withClient(options: ClusterOptions, act: (client: Client) => Promise<void>): Promise<void> {
  const { client } = await connectCluster(options);
  try {
    await act(client);
  } finally {
    await client.close();
  }
}
