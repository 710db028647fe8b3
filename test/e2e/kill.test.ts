import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StatusReport } from '@slipway/daemon';
import { checkDiskWriters } from './src/disk-writers.ts';
import { type HostSnapshot, leftovers, takeHostSnapshot } from './src/host-snapshot.ts';
import { idleVm } from './src/manifests.ts';
import { type Platform, startPlatform } from './src/platform.ts';

/** `SLIPWAY_KILL_ROUNDS=200` is the nightly run; `SLIPWAY_KILL_SEED`, as the title of a failed run names it, repeats one. */
const CHOSEN_ROUNDS = process.env['SLIPWAY_KILL_ROUNDS'];
const ROUNDS = Number(CHOSEN_ROUNDS ?? 12);
/** Without a chosen number no further round begins after this time: CI has other things to do. */
const BUDGET_MS = CHOSEN_ROUNDS === undefined ? 60_000 : Number.POSITIVE_INFINITY;
const SEED = Number(process.env['SLIPWAY_KILL_SEED'] ?? Date.now() % 1_000_000);
const MAX_VMS = 4;
type Victim = 'server' | 'agent' | 'libvirtd' | 'qemu';

interface Vmi {
  metadata: { name: string; uid: string; deletionTimestamp?: string };
  status?: { phase?: string };
}

/** The victim may have ended meanwhile: its VM may just have been deleted. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** A repeatable sequence of numbers below one (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

describe(`kill -9 at random moments (seed ${SEED}, ${ROUNDS} rounds)`, () => {
  const random = randomNumbers(SEED);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T; // callers pass non-empty lists
  let before: HostSnapshot;
  let platform: Platform;
  /** Names whose creation was acknowledged and whose deletion was not asked for. */
  const wanted = new Set<string>();

  beforeAll(async () => {
    before = takeHostSnapshot(['/run', '/var/lib']);
    platform = await startPlatform();
  });
  afterAll(() => platform?.destroy());

  const status = async (): Promise<StatusReport> => JSON.parse((await platform.slipway('status', '-o', 'json')).stdout);
  const qemuPids = (report: StatusReport) => new Map(report.guests.map((guest) => [guest.name, guest.qemuPid]));

  function victimPid(report: StatusReport, victim: Victim): { pid: number | undefined; guest?: string } {
    if (victim === 'server') return { pid: report.server.pid };
    if (victim === 'agent') return { pid: report.nodes[0]?.pid };
    if (report.guests.length === 0) return { pid: undefined };
    const guest = pick(report.guests);
    return { pid: victim === 'qemu' ? guest.qemuPid : guest.libvirtdPid, guest: guest.name };
  }

  /** Writes to the API may fail while the server is away; only acknowledged ones count. */
  async function change(round: number): Promise<void> {
    const doomed = [...wanted];
    if (doomed.length >= MAX_VMS || (doomed.length > 0 && random() < 0.35)) {
      const name = pick(doomed);
      wanted.delete(name);
      await platform.tryKubectl('delete', 'vm', name, '--wait=false');
      return;
    }
    const name = `idle-${round}`;
    const created = await platform.apply(idleVm(name)).then(
      () => true,
      () => false,
    );
    if (created) wanted.add(name);
  }

  async function converge(): Promise<void> {
    const deadline = Date.now() + 120_000;
    for (let last = ''; ; await new Promise((resolve) => setTimeout(resolve, 200))) {
      const vms = await platform.tryKubectl('get', 'vm', '-o', 'json');
      const vmis = await platform.tryKubectl('get', 'vmi', '-o', 'json');
      last = `${vms.stderr}${vmis.stderr}`;
      if (vms.code === 0 && vmis.code === 0) {
        const names = (JSON.parse(vms.stdout).items as Vmi[])
          .filter((vm) => !vm.metadata.deletionTimestamp)
          .map((vm) => vm.metadata.name);
        for (const name of wanted) expect(names, 'an acknowledged VM is lost').toContain(name);
        // A deletion that the server did not acknowledge is asked for again, as a user would.
        for (const name of names) if (!wanted.has(name)) await platform.tryKubectl('delete', 'vm', name, '--wait=false');
        const items = JSON.parse(vmis.stdout).items as Vmi[];
        const running = items
          .filter((vmi) => vmi.status?.phase === 'Running' && !vmi.metadata.deletionTimestamp)
          .map((vmi) => vmi.metadata.name);
        if (items.length === wanted.size && [...wanted].every((name) => running.includes(name))) return;
        last = items
          .map((vmi) => `${vmi.metadata.name}=${vmi.status?.phase}${vmi.metadata.deletionTimestamp ? ' (deleting)' : ''}`)
          .join(', ');
      }
      if (Date.now() > deadline) {
        const logs = await platform.slipway('logs', '--tail', '80');
        throw new Error(`Not converged (seed ${SEED}); wanted ${[...wanted].join(', ')}; VMIs: ${last}\n${logs.stdout}`);
      }
    }
  }

  it(
    'converges, loses nothing that was acknowledged and leaves other guests alone',
    async () => {
      const startMs = Date.now();
      for (let round = 0; round < ROUNDS && Date.now() - startMs < BUDGET_MS; round++) {
        const report = await status();
        const untouched = qemuPids(report);
        const victim = pick<Victim>(['server', 'agent', 'libvirtd', 'qemu']);
        const { pid, guest } = victimPid(report, victim);
        const changing = change(round);
        await new Promise((resolve) => setTimeout(resolve, Math.floor(random() * 400)));
        if (pid !== undefined) kill(pid);
        await changing;
        await converge();
        await checkDiskWriters(platform.dataDir);
        const now = qemuPids(await status());
        for (const [name, qemu] of untouched) {
          if (!wanted.has(name) || (victim === 'qemu' && name === guest) || qemu === undefined) continue;
          expect(
            now.get(name),
            `seed ${SEED}, round ${round}: ${name} was restarted when ${victim} of ${guest ?? 'the platform'} was killed`,
          ).toBe(qemu);
        }
      }
    },
    ROUNDS * 60_000,
  );

  it('leaves nothing behind', async () => {
    wanted.clear();
    await converge();
    await platform.destroy();
    expect(leftovers(before, takeHostSnapshot(['/run', '/var/lib']), platform.dataDir)).toEqual([]);
  });
});
