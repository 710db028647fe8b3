import { readdirSync, readFileSync } from 'node:fs';
import { hostRunner, identifyProcess, isSameProcess, removeCgroupTree, signalProcess } from '@slipway/hostapi';
import { silentLogger, systemClock } from '@slipway/runtime';
import type { NodeConfig } from '../contracts.ts';
import { DOMAIN_STATE } from '../libvirt/index.ts';
import { createPodNetwork } from '../network/index.ts';
import { connectLibvirt, findHostPrograms, SandboxManager } from '../sandbox/index.ts';

/** Uids from `uidBase` on belong to this node alone; see the instance plan of the daemon. */
const UIDS_PER_NODE = 8192;
const POLL_MS = 100;
const DEFAULT_GRACE_SECONDS = 30;

/** Removes every process, namespace, link, rule and cgroup of this node; files of the state directory are the caller's. */
export async function destroyNode(config: NodeConfig): Promise<void> {
  const sandboxes = managerOf(config);
  for (const podUid of await sandboxes.podUids()) await sandboxes.kill(podUid);
  killByUid(config.uidBase);
  const network = createPodNetwork({
    config,
    runner: hostRunner,
    log: silentLogger,
    clock: systemClock,
    resolveNetwork: async () => undefined,
  });
  await network.destroy();
  for (const podUid of await sandboxes.podUids()) await sandboxes.destroy(podUid);
  await removeCgroupTree(`slipway-${config.hostPrefix}`);
}

/** Presses the power button of every guest and waits for its grace period, then ends its sandbox. */
export async function stopGuests(config: NodeConfig, report: (text: string) => void, signal: AbortSignal): Promise<void> {
  const sandboxes = managerOf(config);
  const podUids = await sandboxes.podUids();
  let left = podUids.length;
  report(`${left} guests`);
  await Promise.all(
    podUids.map(async (podUid) => {
      await shutDown(sandboxes, podUid, signal);
      await sandboxes.kill(podUid);
      report(`${--left} guests left`);
    }),
  );
}

async function shutDown(sandboxes: SandboxManager, podUid: string, signal: AbortSignal): Promise<void> {
  const sandbox = await sandboxes.find(podUid);
  if (sandbox === undefined) return;
  const isAlive = () => isSameProcess(sandbox.init);
  const connection = await connectLibvirt({ sandbox, programs: findHostPrograms(), onEvent: () => {}, isAlive }, signal);
  try {
    const [domain] = await connection.listDomains();
    if (domain === undefined || (await connection.state(domain)).state === DOMAIN_STATE.shutoff) return;
    const grace = Number((await connection.xml(domain)).match(/deletionGracePeriodSeconds>(\d+)</)?.[1] ?? DEFAULT_GRACE_SECONDS);
    await connection.shutdown(domain, 'acpi');
    for (const deadline = Date.now() + grace * 1000; Date.now() < deadline; ) {
      signal.throwIfAborted();
      if (!isAlive() || (await connection.state(domain)).state === DOMAIN_STATE.shutoff) return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } finally {
    connection.close();
  }
}

const managerOf = (config: NodeConfig): SandboxManager =>
  new SandboxManager({
    config,
    runner: hostRunner,
    programs: findHostPrograms(),
    isKvmUsable: false,
    capabilities: () => undefined,
  });

/** Ends data movers, and whatever else runs as a user of this node. */
function killByUid(uidBase: number): void {
  for (const pid of readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)) {
    const uid = uidOf(pid);
    if (uid === undefined || uid < uidBase || uid >= uidBase + UIDS_PER_NODE) continue;
    const record = identifyProcess(pid);
    if (record) signalProcess(record, 'SIGKILL');
  }
}

function uidOf(pid: number): number | undefined {
  try {
    const uid = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^Uid:\s+(\d+)/m)?.[1];
    return uid === undefined ? undefined : Number(uid);
  } catch {
    return undefined; // it ended
  }
}
