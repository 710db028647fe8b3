import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import type { Disturbance, Moment } from './migration-rows.ts';
import { agentPid, instanceFile, type MovingVmi } from './moving-guest.ts';
import { processesOf } from './node-leftovers.ts';
import type { Platform } from './platform.ts';

const PATIENCE_MS = 240_000;
const CUT_MS = 4_000;
const LOOK_MS = 2;

/** One side of a migration, as this machine sees it. */
interface Side {
  readonly node: string;
  readonly agent: number;
  /** What its cgroups have in their names. */
  readonly cgroup: string;
  /** Directory of the pod's sandbox. */
  readonly sandbox: string;
}

interface Sides {
  readonly source: Side;
  readonly target: Side;
}

/** Waits for that moment of the migration that has been asked for last, disturbs it, and mends what does not mend itself. */
export async function disturbMigration(
  platform: Platform,
  plan: { readonly vmi: string; readonly migration: string; readonly uidBefore: string | undefined },
  { disturbance, moment }: { readonly disturbance: Disturbance; readonly moment: Moment },
): Promise<void> {
  const now = await platform.until<MovingVmi>(
    `vmi ${plan.vmi}`,
    ({ status }) => {
      const { migrationUid, startTimestamp } = status?.migrationState ?? {};
      if (migrationUid === undefined || migrationUid === plan.uidBefore) return false;
      return moment === 'preparing' || startTimestamp !== undefined;
    },
    PATIENCE_MS,
  );
  const sides = await sidesOf(platform, now);
  if (moment === 'deciding') await decisionIsWritten(sides.source);
  if (moment === 'decided') await guestIsGone(sides.source);
  const [where] = disturbance.split(' ');
  const side = where === 'target' ? sides.target : sides.source;
  if (disturbance === 'abort') await platform.kubectl('delete', 'vmim', plan.migration, '--wait=false');
  else if (disturbance === 'both agents killed') for (const { agent } of Object.values(sides)) kill(agent);
  else if (disturbance.endsWith('agent killed')) kill(side.agent);
  else if (disturbance.endsWith('guest killed')) killGuest(side);
  else await cutLink(platform, side.node);
}

async function sidesOf(platform: Platform, { status }: MovingVmi): Promise<Sides> {
  const state = status?.migrationState ?? {};
  const side = async (node = '', pod = ''): Promise<Side> => {
    const prefix = instanceFile(platform).nodes.find(({ name }) => name === node)?.hostPrefix;
    const [agent, uid] = await Promise.all([
      agentPid(platform, node),
      platform.kubectl('get', 'pod', pod, '-o', 'jsonpath={.metadata.uid}'),
    ]);
    const sandbox = join(platform.dataDir, 'nodes', node, 'sandboxes', uid);
    return { node, agent, cgroup: `/slipway-${prefix}/${uid}`, sandbox };
  };
  const [source, target] = await Promise.all([side(state.sourceNode, state.sourcePod), side(state.targetNode, state.targetPod)]);
  return { source, target };
}

/** Resolves when the source begins to write its decision into its sandbox. */
async function decisionIsWritten({ sandbox }: Side): Promise<void> {
  const watcher = watch(sandbox);
  try {
    await within('a decision', (done) => watcher.on('change', (_, name) => void (String(name).includes('migration') && done())));
  } finally {
    watcher.close();
  }
}

const qemuOf = ({ cgroup }: Side): number | undefined =>
  processesOf(cgroup).find(({ command }) => command.includes('qemu-system'))?.pid;

async function guestIsGone(side: Side): Promise<void> {
  const pid = qemuOf(side);
  let timer: NodeJS.Timeout | undefined;
  const isThere = (): boolean =>
    existsSync(`/proc/${pid}/exe`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  try {
    await within('the end of the source', (done) => {
      timer = setInterval(() => (isThere() ? undefined : done()), LOOK_MS);
    });
  } finally {
    clearInterval(timer);
  }
}

async function within(what: string, wait: (done: () => void) => void): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`${what} did not come`)), PATIENCE_MS);
      wait(resolve);
    });
  } finally {
    clearTimeout(timer);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // ended just then
  }
}

/** The QEMU; where there is none (yet), everything that runs in the pod. */
function killGuest(side: Side): void {
  const qemu = qemuOf(side);
  for (const pid of qemu === undefined ? processesOf(side.cgroup).map((one) => one.pid) : [qemu]) kill(pid);
}

async function cutLink(platform: Platform, node: string): Promise<void> {
  const { id, nodes } = instanceFile(platform);
  const index = nodes.find(({ name }) => name === node)?.linkIndex;
  const link = (to: 'up' | 'down'): void => {
    execFileSync('ip', ['-n', `${id}-link`, 'link', 'set', `n${index}`, to]);
  };
  link('down');
  try {
    await new Promise((resolve) => setTimeout(resolve, CUT_MS));
  } finally {
    link('up');
  }
}
