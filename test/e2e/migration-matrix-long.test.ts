// Guests of all kinds of disks and networks move, and are disturbed: at each moment, in each way.
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkDiskWriters, watchDiskWriters } from './src/disk-writers.ts';
import { disturbMigration } from './src/disturb-migration.ts';
import { MOUNT_EFI, readEfi, writeEfi } from './src/efi-commands.ts';
import { watchGuestClock } from './src/guest-clock.ts';
import { guestShell, shellVm } from './src/guest-shell.ts';
import { isPausedByUser, LAB, type MatrixGuest, startMatrixGuest } from './src/matrix-guest.ts';
import {
  allowedOutcomes,
  DISTURBANCES,
  GUESTS,
  LOADS,
  type MigrationRow,
  migrationRows,
  MOMENTS,
  type Outcome,
} from './src/migration-rows.ts';
import { instanceFile, move, type MovingVmi, nodesWithGuest, requestMigration } from './src/moving-guest.ts';
import { type MoverWorld, startMoverWorld } from './src/mover-world.ts';
import { nodeLeftovers } from './src/node-leftovers.ts';
import { tpm, TPM_DEFINE, TPM_READ, TPM_WRITE } from './src/tpm-commands.ts';

/** `SLIPWAY_E2E_LONG=1`: dozens of migrations, on three nodes. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const NODES = 3;
const PATIENCE_MS = 240_000;
const ROW_MS = 900_000;
/** Slow enough that a disturbance comes in time. */
const SLOW = { bandwidthPerMigration: '24Mi' };

describe('the rows of the matrix', () => {
  it('have each pair of values', () => {
    const rows = migrationRows();
    const values = { disturbance: DISTURBANCES, moment: MOMENTS, guest: GUESTS, load: LOADS, isPaused: [true, false] };
    const keys = Object.keys(values) as (keyof typeof values)[];
    const missing = keys.flatMap((one, index) =>
      keys
        .slice(index + 1)
        .flatMap((other) =>
          values[one].flatMap((left) =>
            values[other].flatMap((right) =>
              rows.some((row) => row[one] === left && row[other] === right) ? [] : [`${one} ${left}, ${other} ${right}`],
            ),
          ),
        ),
    );
    expect(missing).toEqual([]);
    expect(rows).toHaveLength(DISTURBANCES.length * MOMENTS.length);
  });
});

describe.skipIf(!isLong)('migrations of all kinds', () => {
  let world: MoverWorld;
  let count = 0;

  beforeAll(async () => {
    world = await startMoverWorld(NODES, true);
    joinLab(world);
    const config = JSON.stringify({ cniVersion: '0.4.0', name: 'lab', type: 'bridge', bridge: LAB.bridge, ipam: {} });
    const kind = { apiVersion: 'k8s.cni.cncf.io/v1', kind: 'NetworkAttachmentDefinition', metadata: { name: 'lab' } };
    await world.platform.apply({ ...kind, spec: { config } });
  });
  afterAll(() => world?.close());

  const vmi = (name: string): Promise<MovingVmi> => world.platform.until<MovingVmi>(`vmi ${name}`, () => true);
  const virt = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await world.platform.slipway('virt', ...args);
    expect(code, stderr).toBe(0);
  };

  /** What has become of a guest whose migration is over; undefined while it is not, and while no guest runs. */
  function outcomeNow({ metadata, status }: MovingVmi, before: MovingVmi): Outcome | undefined {
    if (status?.phase !== 'Running') return undefined;
    if (metadata.uid !== before.metadata.uid) return 'restarted';
    const { migrationUid, completed } = status.migrationState ?? {};
    if (migrationUid === before.status?.migrationState?.migrationUid || completed !== true) return undefined;
    return status.nodeName === before.status?.nodeName ? 'kept' : 'moved';
  }

  /** Resolves when that has become of it: a guest that was killed may seem to have moved before it is known to be dead. */
  async function outcomeOf(
    name: string,
    before: MovingVmi,
    allowed: readonly Outcome[],
  ): Promise<{ readonly after: MovingVmi; readonly outcome: Outcome }> {
    let outcome: Outcome | undefined;
    const isThere = (now: MovingVmi): boolean => {
      outcome = outcomeNow(now, before);
      return outcome !== undefined && allowed.includes(outcome);
    };
    const after = await world.platform.until<MovingVmi>(`vmi ${name}`, isThere, PATIENCE_MS);
    if (outcome === undefined) throw new Error(`Nothing became of ${name}`);
    return { after, outcome };
  }

  /** The guest is in one place, and the other nodes have nothing of it. */
  async function checkPlaces(name: string, { status }: MovingVmi): Promise<void> {
    const { platform } = world;
    await expect.poll(() => nodesWithGuest(platform, name), { timeout: PATIENCE_MS }).toEqual([status?.nodeName]);
    await platform.until<{ items: unknown[] }>(`pods -l app=${name}`, ({ items }) => items.length === 1, PATIENCE_MS);
    await checkDiskWriters(platform.dataDir);
    const others = instanceFile(platform).nodes.filter(({ name: node }) => node !== status?.nodeName);
    for (const { name: node } of others)
      await expect.poll(() => nodeLeftovers(platform, node), { timeout: PATIENCE_MS }).toEqual([]);
  }

  const pause = async (name: string): Promise<void> => {
    await virt('pause', 'vmi', name);
    await world.platform.until<MovingVmi>(`vmi ${name}`, isPausedByUser, PATIENCE_MS);
  };
  /** Whoever has paused it finds it paused. */
  const unpause = async (name: string): Promise<void> => {
    expect(isPausedByUser(await vmi(name))).toBe(true);
    await virt('unpause', 'vmi', name);
    await world.platform.until<MovingVmi>(`vmi ${name}`, (one) => !isPausedByUser(one), PATIENCE_MS);
  };

  /** Migrates and disturbs that. */
  async function migrate(name: string, before: MovingVmi, row: MigrationRow): ReturnType<typeof outcomeOf> {
    const { platform } = world;
    const oracle = watchDiskWriters(platform.dataDir);
    const migration = `row-${count}`;
    await requestMigration(platform, migration, name);
    const uidBefore = before.status?.migrationState?.migrationUid;
    await disturbMigration(platform, { vmi: name, migration, uidBefore }, row);
    const end = await outcomeOf(name, before, allowedOutcomes(row));
    expect(end.after.status?.interfaces?.[0]?.ipAddresses).toEqual(before.status?.interfaces?.[0]?.ipAddresses);
    await oracle.stop();
    return end;
  }

  /** One row; what came of it. */
  async function run(guest: MatrixGuest, row: MigrationRow): Promise<string> {
    const { name } = guest;
    const mark = `r${++count}-`;
    const before = await vmi(name);
    const clock = await watchGuestClock(guest.shell());
    await guest.begin(row.load, mark);
    await world.pace(name, SLOW);
    const lag = await clock.lag();
    const written = row.load === 'writing' ? await guest.written() : 0;
    if (row.isPaused) await pause(name);
    const { after, outcome } = await migrate(name, before, row);
    if (outcome === 'restarted') {
      await clock.stop();
      await guest.checkReborn(mark, written);
      await checkPlaces(name, after);
      return `${outcome}, its volumes hold the ${written} entries it had written and more`;
    }
    if (row.isPaused) await unpause(name);
    const stoodStill = Math.round((await clock.lag()) - lag);
    const broken = await clock.stop();
    await guest.checkAlive(row.load, mark);
    await checkPlaces(name, after);
    const reason = after.status?.migrationState?.failureReason;
    const connections = broken === 0 ? 'its connection lived on' : `${broken} connections broke off`;
    return `${outcome}, stood still for ${stoodStill} ms, ${connections}${reason === undefined ? '' : ` (${reason})`}`;
  }

  describe.each(GUESTS)('of the guest %s', (kind) => {
    let guest: MatrixGuest;
    beforeAll(async () => {
      guest = await startMatrixGuest(world, kind);
    });
    afterAll(() => guest?.delete());

    const rows = migrationRows().filter((row) => row.guest === kind);
    const titled = rows.map((row): [string, MigrationRow] => [
      `${row.disturbance}, ${row.moment}, ${row.load}${row.isPaused ? ', paused' : ''}`,
      row,
    ]);
    it.each(titled)(
      '%s',
      async (title, row) => {
        const print = (text: string): void => console.log(`${kind}: ${title}: ${text}`);
        await run(guest, row).then(print, (error: unknown) => {
          print(`failed: ${String(error)}`); // now, and not when the last row is over
          throw error;
        });
      },
      ROW_MS,
    );
  });

  it('take EFI variables and the state of the TPM along', async () => {
    const { platform } = world;
    const name = 'firmware';
    await world.pace(name, SLOW);
    await platform.apply(
      shellVm(name, world.genericUrl, {
        memory: '512Mi',
        domain: { firmware: { bootloader: { efi: { secureBoot: false, persistent: true } } } },
        devices: { tpm: { persistent: true } },
      }),
    );
    let shell = await guestShell(platform, name, '', 2 * PATIENCE_MS);
    const kept = Buffer.from('kept-tpm').toString('hex');
    const check = async (...variables: readonly string[]): Promise<void> => {
      const seen = await shell.run(['First', 'Second'].map(readEfi).join('; '));
      expect(seen.match(/\S+/g)).toEqual(variables);
      expect(await shell.run(tpm(TPM_READ))).toContain(kept);
    };
    await shell.run([MOUNT_EFI, writeEfi('First', 'set-here'), ...[TPM_DEFINE, TPM_WRITE].map(tpm)].join('\n'));
    await check('set-here', 'none');
    const moved = await move(platform, `${name}-1`, name);
    await check('set-here', 'none');
    await checkPlaces(name, moved);
    // what is written at one node is what the next one has, also after it has kept a guest that was to leave
    await shell.run(writeEfi('Second', 'set-next'));
    await requestMigration(platform, `${name}-2`, name);
    const uidBefore = moved.status?.migrationState?.migrationUid;
    const plan = { vmi: name, migration: `${name}-2`, uidBefore };
    await disturbMigration(platform, plan, { disturbance: 'source agent killed', moment: 'copying' });
    const { after, outcome } = await outcomeOf(name, moved, ['moved', 'kept']);
    await check('set-here', 'set-next');
    await checkPlaces(name, after);
    await move(platform, `${name}-3`, name);
    await check('set-here', 'set-next');
    const { instanceUid } = shell;
    await virt('restart', name);
    shell = await guestShell(platform, name, instanceUid, 2 * PATIENCE_MS);
    await shell.run(MOUNT_EFI);
    await check('set-here', 'set-next');
    console.log(`firmware: source agent killed, copying: ${outcome}; its variables and its TPM came along`);
    await platform.kubectl('delete', 'vm', name, '--timeout=120s');
  }, 1_800_000);
});

/** A bridge in each node, all of them in one Ethernet, and an address on the first. */
function joinLab({ platform }: MoverWorld): void {
  const ip = (node: string, ...args: string[]): unknown => execFileSync('ip', ['-n', node, ...args]);
  const [first = '', ...others] = instanceFile(platform).nodes.map(({ hostPrefix }) => `${hostPrefix}-node`);
  for (const [index, node] of [first, ...others].entries()) {
    // a bridge without an address of its own has that of one of its ports: another one whenever a guest comes or goes
    ip(node, 'link', 'add', LAB.bridge, 'address', `02:00:00:00:77:0${index}`, 'type', 'bridge');
    ip(node, 'link', 'set', LAB.bridge, 'up');
  }
  ip(first, 'addr', 'add', `${LAB.host}/24`, 'dev', LAB.bridge);
  for (const [index, node] of others.entries()) {
    const [here, there] = [`lab-a${index}`, `lab-b${index}`];
    ip(first, 'link', 'add', here, 'type', 'veth', 'peer', 'name', there, 'netns', node);
    ip(first, 'link', 'set', here, 'master', LAB.bridge, 'up');
    ip(node, 'link', 'set', there, 'master', LAB.bridge, 'up');
  }
}
