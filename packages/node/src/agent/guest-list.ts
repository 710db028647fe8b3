import { readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { childPids, isSameProcess, type ProcessRecord } from '@slipway/hostapi';

/** The processes of one sandbox, found from its record and the kernel alone: works while the agent does not run. */
export interface GuestProcesses {
  readonly podUid: string;
  /** Of the VMI; empty while QEMU has not started. */
  readonly namespace: string;
  readonly name: string;
  readonly initPid: number;
  readonly libvirtdPid?: number;
  readonly qemuPid?: number;
  /** Every process of the sandbox, the init included. */
  readonly pids: readonly number[];
}

export function listGuests(stateDir: string): GuestProcesses[] {
  const directory = join(stateDir, 'sandboxes');
  return readNames(directory)
    .filter((name) => name.endsWith('.json') && !name.startsWith('.'))
    .flatMap((name) => {
      const record = readRecord(join(directory, name));
      return record !== undefined && isSameProcess(record.init) ? [describe(record.podUid, record.init.pid)] : [];
    });
}

function describe(podUid: string, initPid: number): GuestProcesses {
  const pids = descendants(initPid);
  const programs = pids.map((pid) => ({ pid, argv: commandLine(pid) }));
  const libvirtd = programs.find(({ argv }) => /^(libvirtd|virtqemud)$/.test(basename(argv[0] ?? '')));
  const qemu = programs.find(({ argv }) => basename(argv[0] ?? '').startsWith('qemu-system-'));
  // KubeVirt-compat: domains are named `<namespace>_<name>`; neither part can hold an underscore
  const [namespace = '', name = ''] =
    qemu?.argv
      .join(' ')
      .match(/-name guest=([^,\s]+)/)?.[1]
      ?.split('_') ?? [];
  return {
    podUid,
    namespace,
    name,
    initPid,
    pids: [initPid, ...pids],
    ...(libvirtd && { libvirtdPid: libvirtd.pid }),
    ...(qemu && { qemuPid: qemu.pid }),
  };
}

const descendants = (pid: number): number[] => childPids(pid).flatMap((child) => [child, ...descendants(child)]);

function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return []; // it ended
  }
}

function readNames(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // the agent has not run yet
  }
}

function readRecord(file: string): { podUid: string; init: ProcessRecord } | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as { podUid: string; init: ProcessRecord }; // written by SandboxManager
  } catch {
    return undefined; // removed meanwhile
  }
}
