import { access, constants, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandRunner, HostError } from '@slipway/hostapi';
import { buildProbeRom, DEBUG_PORT, SUCCESS_EXIT_CODE } from './probe-rom.ts';

/** Whether this host's KVM can run guests; a host without it runs them under software emulation. */
export interface KvmState {
  readonly state: 'usable' | 'absent' | 'unusable';
  /** For people: why not. Empty when usable. */
  readonly reason: string;
}

export interface KvmProbeDeps {
  readonly runner: CommandRunner;
  /** Absolute path of qemu-system-x86_64. */
  readonly qemu: string;
  /** A verdict is kept here until the machine boots again or QEMU changes; absent: it is not kept. */
  readonly cacheFile?: string;
}

/** A healthy KVM needs a tenth of a second; a broken one spins for ever. */
const PROBE_LIMIT_MS = 1_000;

/** Runs guest code under KVM once per boot and QEMU version. Rejects only when the signal is aborted. */
export async function probeKvm(deps: KvmProbeDeps, signal: AbortSignal): Promise<KvmState> {
  if (deps.cacheFile === undefined) return findOut(deps, signal);
  const key = await cacheKey(deps.qemu);
  const cached = await readCache(deps.cacheFile, key);
  if (cached) return cached;
  const verdict = await findOut(deps, signal);
  // Losing the cache costs a second at the next start, no more.
  await writeFile(deps.cacheFile, JSON.stringify({ key, verdict }), { mode: 0o600 }).catch(() => {});
  return verdict;
}

async function findOut(deps: KvmProbeDeps, signal: AbortSignal): Promise<KvmState> {
  const missing = await access('/dev/kvm', constants.R_OK | constants.W_OK).then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error.code,
  );
  if (missing === 'ENOENT') return { state: 'absent', reason: 'there is no /dev/kvm' };
  if (missing !== undefined) return { state: 'unusable', reason: `/dev/kvm cannot be opened (${missing})` };
  const trouble = await runProbeGuest(deps, 'kvm', signal);
  if (trouble === undefined) return { state: 'usable', reason: '' };
  return { state: 'unusable', reason: `/dev/kvm is there but cannot run guest code: ${trouble}` };
}

/** Undefined when the guest reported success; else why not. With `tcg` it is a self-test of QEMU. */
export async function runProbeGuest(
  deps: Pick<KvmProbeDeps, 'runner' | 'qemu'>,
  accelerator: 'kvm' | 'tcg',
  signal: AbortSignal,
): Promise<string | undefined> {
  const work = await mkdtemp(join(tmpdir(), 'slipway-kvm-'));
  try {
    const rom = join(work, 'probe.rom');
    await writeFile(rom, buildProbeRom());
    const result = await deps.runner.run(
      [
        deps.qemu,
        ...['-machine', `pc,accel=${accelerator}`, '-cpu', accelerator === 'kvm' ? 'host' : 'max', '-m', '16', '-nodefaults'],
        ...[
          '-display',
          'none',
          '-no-reboot',
          '-bios',
          rom,
          '-device',
          `isa-debug-exit,iobase=0x${DEBUG_PORT.toString(16)},iosize=0x04`,
        ],
      ],
      {
        timeoutMs: accelerator === 'kvm' ? PROBE_LIMIT_MS : 10 * PROBE_LIMIT_MS,
        okExitCodes: Array.from({ length: 256 }, (_, code) => code),
      },
      signal,
    );
    if (result.exitCode === SUCCESS_EXIT_CODE) return undefined;
    return `QEMU ended with status ${result.exitCode}${result.stderr === '' ? '' : `: ${result.stderr.trim().slice(-300)}`}`;
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return 'the probe guest made no progress';
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function cacheKey(qemu: string): Promise<string> {
  const bootId = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  return `${bootId.trim()} ${(await stat(qemu)).mtimeMs}`;
}

async function readCache(file: string, key: string): Promise<KvmState | undefined> {
  try {
    const cached = JSON.parse(await readFile(file, 'utf8')) as { key: string; verdict: KvmState }; // written by probeKvm
    return cached.key === key ? cached.verdict : undefined;
  } catch {
    return undefined; // first start, or an interrupted write
  }
}
