import { readFile } from 'node:fs/promises';
import { childPids } from '@slipway/hostapi';

/** Processes of a sandbox, as pids of the host. */
export interface SandboxProcesses {
  readonly libvirtdPid: number | undefined;
  readonly qemuPids: readonly number[];
}

/** What its init has started or adopted: libvirt hands every QEMU that it has started over to the init. */
export async function sandboxProcesses(initPid: number): Promise<SandboxProcesses> {
  const children = await Promise.all(childPids(initPid).map(async (pid) => ({ pid, program: await programOf(pid) })));
  const pidsOf = (pattern: RegExp) => children.filter(({ program }) => pattern.test(program)).map(({ pid }) => pid);
  return {
    libvirtdPid: pidsOf(/(libvirtd|virtqemud)$/)[0],
    qemuPids: pidsOf(/qemu-(system-[\w]+|kvm)$/),
  };
}

async function programOf(pid: number): Promise<string> {
  const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return line.split('\0')[0] ?? '';
}
