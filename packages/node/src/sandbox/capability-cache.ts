import { createHash } from 'node:crypto';
import { cp, mkdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isSameProcess, writeFileAtomic } from '@slipway/hostapi';
import { connectLibvirt } from './libvirt-socket.ts';
import { type HostCapabilities, parseHostCapabilities } from './host-capabilities.ts';
import type { HostPrograms } from './host-programs.ts';
import type { SandboxManager } from './sandbox-manager.ts';

export interface CapabilityCacheDeps {
  readonly stateDir: string;
  readonly programs: HostPrograms;
  readonly isKvmUsable: boolean;
  readonly sandboxes: SandboxManager;
}

/** What one throw-away daemon found out, and its cache for all others. */
export interface SeededCapabilities {
  readonly host: HostCapabilities;
  /** Files for a new sandbox. */
  readonly directory: string;
}

/** Not a pod; no pod can have this uid. */
const SEED_POD_UID = 'capabilities';

/**
 * Lets one daemon examine QEMU, which takes seconds, and keeps its answer until QEMU, libvirt, the kernel or KVM change.
 * Without it every guest would pay that time.
 */
export async function seedCapabilities(deps: CapabilityCacheDeps, signal: AbortSignal): Promise<SeededCapabilities> {
  const key = await cacheKey(deps);
  const directory = join(deps.stateDir, 'capabilities', key);
  const summary = join(directory, 'host.json');
  const files = join(directory, 'capabilities');
  try {
    // written below, last
    return { host: JSON.parse(await readFile(summary, 'utf8')) as HostCapabilities, directory: files };
  } catch {
    // first start, or something changed
  }
  await rm(join(deps.stateDir, 'capabilities'), { recursive: true, force: true });
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const host = await examine(deps, files, signal);
  await writeFileAtomic(summary, `${JSON.stringify(host)}\n`);
  return { host, directory: files };
}

async function examine(deps: CapabilityCacheDeps, target: string, signal: AbortSignal): Promise<HostCapabilities> {
  const { sandboxes, programs, isKvmUsable } = deps;
  const sandbox = await sandboxes.create({ podUid: SEED_POD_UID, hostname: 'capabilities' }, signal);
  try {
    const isAlive = (): boolean => isSameProcess(sandbox.init);
    const libvirt = await connectLibvirt({ sandbox, programs, onEvent: () => {}, isAlive }, signal);
    // the answers take seconds: an agent that is told to stop does not wait for them
    const onAbort = (): void => libvirt.close();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const virtType = isKvmUsable ? 'kvm' : 'qemu';
      const [general, domain, version] = [
        await libvirt.capabilities(),
        await libvirt.domainCapabilities({ arch: 'x86_64', machine: 'q35', virtType }),
        await libvirt.libVersion(),
      ];
      await cp(join(sandbox.dir, 'cache/libvirt/qemu/cache/capabilities'), target, { recursive: true, preserveTimestamps: true });
      return parseHostCapabilities(general, domain, version);
    } finally {
      signal.removeEventListener('abort', onAbort);
      libvirt.close();
    }
  } finally {
    await sandboxes.destroy(SEED_POD_UID);
  }
}

async function cacheKey({ programs, isKvmUsable }: CapabilityCacheDeps): Promise<string> {
  const stats = await Promise.all([programs.qemu, programs.daemon, programs.qemuDriver].map((path) => stat(path)));
  const release = await readFile('/proc/sys/kernel/osrelease', 'utf8');
  const bootId = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  const facts = [...stats.map(({ mtimeMs, ctimeMs, ino }) => `${mtimeMs}/${ctimeMs}/${ino}`), release, bootId, isKvmUsable];
  return createHash('sha256').update(facts.join('\n')).digest('hex').slice(0, 16);
}
