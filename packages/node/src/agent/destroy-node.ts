import { readdir, readFile, rm } from 'node:fs/promises';
import { type CommandRunner, hostRunner, identifyProcess, removeCgroupTree, signalProcess } from '@slipway/hostapi';
import { type Logger, systemClock } from '@slipway/runtime';
import type { NodeConfig } from '../contracts.ts';
import { createPodNetwork } from '../network/index.ts';
import { SandboxManager } from '../sandbox/index.ts';
import { removePools } from '../volumes/index.ts';

/** Uids that belong to one node. */
const UIDS_PER_NODE = 8192;
const ROUNDS = 20;

/**
 * Removes everything that an agent with this configuration ever made on this host; no agent may be running. The runner works
 * in the network namespace of the node.
 */
export async function destroyNode(config: NodeConfig, log: Logger, runner: CommandRunner = hostRunner): Promise<void> {
  const programs = { daemon: '', socketName: '', configName: '', qemuDriver: '', qemu: '' }; // nothing is started
  const sandboxes = new SandboxManager({
    ...{ config, runner: hostRunner, programs, isKvmUsable: false },
    capabilities: () => undefined,
  });
  for (const podUid of await sandboxes.podUids()) await sandboxes.kill(podUid);
  await killProcessesOf(config);
  const network = createPodNetwork({
    config,
    runner,
    log,
    clock: systemClock,
    resolveNetwork: async () => undefined,
  });
  await network.destroy();
  for (const podUid of await sandboxes.podUids()) await sandboxes.destroy(podUid);
  await removeCgroupTree(`slipway-${config.hostPrefix}`);
  await removePools(config);
  await rm(config.stateDir, { recursive: true, force: true });
}

/** Data movers and whatever else runs under this node's uids; children may appear while their parents are killed. */
async function killProcessesOf({ uidBase }: NodeConfig): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const pids = await pidsOfUids(uidBase, uidBase + UIDS_PER_NODE);
    if (pids.length === 0) return;
    for (const record of pids.flatMap((pid) => identifyProcess(pid) ?? [])) signalProcess(record, 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function pidsOfUids(from: number, to: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found: number[] = [];
  for (const pid of pids) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    const uid = Number(/^Uid:\t(\d+)/m.exec(status)?.[1] ?? -1);
    // zombies have ended already
    if (uid >= from && uid < to && !/^State:\tZ/m.test(status)) found.push(pid);
  }
  return found;
}
