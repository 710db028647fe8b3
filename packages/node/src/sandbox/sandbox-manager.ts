import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type CgroupLimits,
  childPids,
  type CommandRunner,
  identifyProcess,
  isSameProcess,
  membershipFilesOf,
  ipCommand,
  prepareCgroup,
  type ProcessRecord,
  removeCgroup,
  setCpuShares,
  signalProcess,
  startSession,
  writeFileAtomic,
} from '@slipway/hostapi';
import type { NodeConfig, Sandbox } from '../contracts.ts';
import { DISK_DIRECTORIES, ENTER_SCRIPT, INSIDE } from './enter-script.ts';
import type { HostPrograms } from './host-programs.ts';
import { writeSandboxFiles } from './sandbox-files.ts';
import { sandboxProcesses } from './sandbox-processes.ts';

/** A sandbox with the process that holds its namespaces. */
export interface RunningSandbox extends Sandbox {
  /** PID 1 of the sandbox, by its pid on the host. */
  readonly init: ProcessRecord;
  /** The VMI it is for. */
  readonly guest?: { readonly namespace: string; readonly name: string };
  /** Limits that this host's control groups do not offer. */
  readonly missingLimits?: readonly string[];
}

export interface SandboxRequest {
  readonly podUid: string;
  readonly guest?: { readonly namespace: string; readonly name: string };
  readonly hostname: string;
  readonly limits?: CgroupLimits;
  /** Files below /dev that the sandbox gets for itself. */
  readonly devices?: readonly string[];
  /** Called as soon as the network namespace stands, so that the network can be set up meanwhile. */
  readonly onNamespace?: (sandbox: Sandbox) => void;
}

export interface SandboxManagerDeps {
  readonly config: NodeConfig;
  readonly runner: CommandRunner;
  readonly programs: HostPrograms;
  readonly isKvmUsable: boolean;
  /** Seeded capability cache of libvirt. */
  readonly capabilities: () => string | undefined;
  /** Directories of disks outside the state directory, without spaces in their names; none unless given. */
  readonly diskDirectories?: () => Promise<readonly string[]>;
}

/** Sandboxes take uids from here; the data movers' lie below. */
const UID_OFFSET = 1000;
const UID_COUNT = 4000;
/** QEMU has a thread per processor and I/O worker; a compromised one shall not fill the process table. */
const MAX_PROCESSES = 4096;
const SHARES_PER_CPU = 1024;
const KILL_POLL_MS = 5;
const KILL_WAIT_MS = 10_000;

/** Makes, finds again and removes the sandboxes of this node. Every method may be repeated after a crash. */
export class SandboxManager {
  private readonly deps: SandboxManagerDeps;
  private readonly root: string;
  /** Taken by sandboxes that are being made or exist. */
  private readonly uids = new Map<string, number>();
  private loaded: Promise<void> | undefined;

  constructor(deps: SandboxManagerDeps) {
    this.deps = deps;
    this.root = join(deps.config.stateDir, 'sandboxes');
  }

  /** The sandbox of a pod when it stands with its init alive. */
  async find(podUid: string): Promise<RunningSandbox | undefined> {
    const record = await this.read(podUid);
    return record !== undefined && isSameProcess(record.init) ? record : undefined;
  }

  /** Builds namespaces and starts libvirt in them; the network namespace exists but is empty. */
  async create(
    { podUid, hostname, guest, limits = {}, devices = [], onNamespace }: SandboxRequest,
    signal: AbortSignal,
  ): Promise<RunningSandbox> {
    await this.load();
    await this.destroy(podUid);
    const { config, programs, runner, isKvmUsable, capabilities } = this.deps;
    const uid = this.allocate(podUid);
    const netns = this.netnsOf(podUid);
    const dir = join(this.root, podUid);
    // recorded before anything exists, so that a crash in between leaves nothing unknown
    await this.write({ podUid, uid, netns, dir, init: { pid: 0, startTicks: 0 } });
    const [group] = await Promise.all([
      prepareCgroup({ parent: this.cgroupParent, name: podUid, limits: { ...limits, processes: MAX_PROCESSES } }),
      ipCommand(runner)
        .exec(['netns', 'add', netns], signal)
        .then(() => onNamespace?.({ podUid, uid, netns, dir })),
      writeSandboxFiles({ dir, uid, hostname, programs, capabilities: capabilities() }),
    ]);
    const pools = (await this.deps.diskDirectories?.()) ?? [];
    const enter = ['-c', ENTER_SCRIPT, 'sandbox', dir, String(uid), hostname, isKvmUsable ? '1' : '0', programs.daemon];
    const parent = await startSession(
      {
        argv: [
          ...(['nsenter', `--net=/run/netns/${netns}`] as const),
          ...['unshare', '--mount', '--pid', '--ipc', '--uts', '--fork', '--propagation', 'private'],
          ...[
            'sh',
            ...enter,
            `${INSIDE}/etc/libvirt/${programs.configName}`,
            config.stateDir,
            pools.join(' '),
            devices.join(' '),
            ...group.membershipFiles,
          ],
        ],
        logFile: join(this.root, `${podUid}.log`),
      },
      signal,
    );
    const init = identifyProcess(childPids(parent)[0] ?? 0);
    if (init === undefined) throw new Error('The sandbox ended while it was being made');
    const { missing } = group;
    const sandbox = {
      ...{ podUid, uid, netns, dir, init },
      ...(guest && { guest }),
      ...(missing.length > 0 && { missingLimits: missing }),
    };
    await this.write(sandbox);
    return sandbox;
  }

  /** A process that writes `0` to each of these files is limited together with the sandbox. */
  membershipFiles(podUid: string): readonly string[] {
    return membershipFilesOf(this.cgroupParent, podUid);
  }

  /**
   * Gives a running guest the share of the processor that its pod asked for. Until then its sandbox has the share of a
   * whole processor: guests that are being started go before guests that run.
   */
  async shareProcessor(podUid: string, cpus: number): Promise<void> {
    await setCpuShares(this.cgroupParent, podUid, cpus * SHARES_PER_CPU);
  }

  /** Another limit of memory for a sandbox that stands. */
  async limitMemory(podUid: string, memoryBytes: number): Promise<void> {
    await prepareCgroup({ parent: this.cgroupParent, name: podUid, limits: { memoryBytes } });
  }

  /** Ends every process of the sandbox; its files and namespace stay. */
  async kill(podUid: string): Promise<void> {
    const record = await this.read(podUid);
    if (record) await kill(record.init);
  }

  /**
   * Ends every QEMU of the sandbox. For a guest that libvirt does not know: it was killed while it started it, and what
   * it left would keep the disks locked.
   */
  async killGuest(podUid: string): Promise<void> {
    const sandbox = await this.find(podUid);
    if (sandbox === undefined) return;
    const { qemuPids } = await sandboxProcesses(sandbox.init.pid);
    for (const record of qemuPids.flatMap((pid) => identifyProcess(pid) ?? [])) await kill(record);
  }

  /** Kills everything inside and removes what was made. The caller has torn down the pod's network before. */
  async destroy(podUid: string): Promise<void> {
    const record = await this.read(podUid);
    if (record === undefined) return;
    await kill(record.init);
    await this.deleteNetns(record);
    await removeCgroup(this.cgroupParent, podUid);
    await rm(join(this.root, podUid), { recursive: true, force: true });
    await rm(join(this.root, `${podUid}.log`), { force: true });
    await rm(join(this.root, `${podUid}.json`), { force: true });
    this.uids.delete(podUid);
  }

  private async deleteNetns({ netns, init }: RunningSandbox): Promise<void> {
    const ip = ipCommand(this.deps.runner);
    // not cancelled half-way: what is left would leak
    const { signal } = new AbortController();
    if (!(await ip.namespaces(signal)).includes(netns)) return;
    if (init.pid === 0) {
      // the agent died while it made the sandbox: nobody noted the init, but everything in the namespace is the sandbox
      const pids = (await ip.exec(['netns', 'pids', netns], signal)).split('\n').map(Number);
      const records = pids.flatMap((pid) => identifyProcess(pid) ?? []);
      for (const record of records) await kill(record);
    }
    await ip.exec(['netns', 'delete', netns], signal);
  }

  /** Pods that have a sandbox or remains of one. */
  async podUids(): Promise<readonly string[]> {
    const names = await readdir(this.root).catch(() => []);
    return names.filter((name) => name.endsWith('.json') && !name.startsWith('.')).map((name) => name.slice(0, -5));
  }

  private get cgroupParent(): string {
    return `slipway-${this.deps.config.hostPrefix}`;
  }

  private netnsOf(podUid: string): string {
    return `${this.deps.config.hostPrefix}-${podUid}`;
  }

  private allocate(podUid: string): number {
    const taken = new Set(this.uids.values());
    for (let index = 0; index < UID_COUNT; index++) {
      const uid = this.deps.config.uidBase + UID_OFFSET + index;
      if (taken.has(uid)) continue;
      this.uids.set(podUid, uid);
      return uid;
    }
    throw new Error(`${UID_COUNT} sandboxes exist on this node already`);
  }

  private load(): Promise<void> {
    this.loaded ??= (async () => {
      for (const name of ['sandboxes', ...DISK_DIRECTORIES])
        await mkdir(join(this.deps.config.stateDir, name), { recursive: true, mode: 0o711 });
      for (const podUid of await this.podUids()) {
        const record = await this.read(podUid);
        if (record) this.uids.set(podUid, record.uid);
      }
    })();
    return this.loaded;
  }

  private async read(podUid: string): Promise<RunningSandbox | undefined> {
    try {
      // written by `write`
      return JSON.parse(await readFile(join(this.root, `${podUid}.json`), 'utf8')) as RunningSandbox;
    } catch {
      return undefined;
    }
  }

  private async write(sandbox: RunningSandbox): Promise<void> {
    await writeFileAtomic(join(this.root, `${sandbox.podUid}.json`), `${JSON.stringify(sandbox)}\n`);
  }
}

/** Kills a process, and with an init its whole pid namespace; resolves when it is gone. */
async function kill(init: ProcessRecord): Promise<void> {
  if (init.pid === 0 || !signalProcess(init, 'SIGKILL')) return;
  const polls = KILL_WAIT_MS / KILL_POLL_MS;
  for (let poll = 0; poll < polls && isSameProcess(init); poll++) {
    await new Promise((resolve) => setTimeout(resolve, KILL_POLL_MS));
  }
  if (isSameProcess(init)) throw new Error(`Process ${init.pid} does not end after SIGKILL`);
}
