// Migrations that are disturbed, and many in a row: the guest runs once, and has written what it says it has.
import { execFileSync } from 'node:child_process';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { checkDiskWriters, watchDiskWriters } from './src/disk-writers.ts';
import { type GuestShell, guestShell, shellVm } from './src/guest-shell.ts';
import {
  agentPid,
  checkWritten,
  endOfMigration,
  instanceFile,
  move,
  type MovingVmi,
  nodesWithGuest,
  requestMigration,
  startWriting,
  watchAnswers,
} from './src/moving-guest.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';

/** `SLIPWAY_E2E_LONG=1`: dozens of migrations. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const MANY = 50;
const NAME = 'mover';
const DEVICES = ['vdc', 'vdd'] as const;
const PATIENCE_MS = 240_000;

type Side = 'source' | 'target';
/** When a migration is disturbed. */
const MOMENTS = ['preparing', 'copying', 'ending'] as const;
type Moment = (typeof MOMENTS)[number];

describe.skipIf(!isLong)('migrations', () => {
  let platform: Platform;
  let images: ImageServer;
  let shell: GuestShell;
  let first: MovingVmi;
  let count = 0;

  const vmi = (): Promise<MovingVmi> => platform.until<MovingVmi>(`vmi ${NAME}`, () => true);
  const state = ({ status }: MovingVmi) => status?.migrationState;
  const blank = (name: string, storageClassName: string): object => ({
    ...{ apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataVolume', metadata: { name } },
    spec: { source: { blank: {} }, storage: { storageClassName, resources: { requests: { storage: '16Mi' } } } },
  });
  const link = (node: string, to: 'up' | 'down'): void => {
    const { id, nodes } = instanceFile(platform);
    execFileSync('ip', ['-n', `${id}-link`, 'link', 'set', `n${nodes.find(({ name }) => name === node)?.linkIndex}`, to]);
  };
  const bandwidth = async (perSecond: string | undefined): Promise<void> => {
    const kind = { apiVersion: 'migrations.kubevirt.io/v1alpha1', kind: 'MigrationPolicy', metadata: { name: 'pace' } };
    const selectors = { virtualMachineInstanceSelector: { app: NAME } };
    if (perSecond === undefined) await platform.kubectl('delete', 'migrationpolicy', 'pace', '--ignore-not-found');
    else await platform.apply({ ...kind, spec: { selectors, bandwidthPerMigration: perSecond, completionTimeoutPerGiB: 150 } });
  };
  /** Resolves at that moment of a migration that has been asked for. */
  const at = async (moment: Moment, uidBefore: string | undefined): Promise<MovingVmi> =>
    platform.until<MovingVmi>(
      `vmi ${NAME}`,
      (now) => {
        const current = state(now);
        if (current?.migrationUid === undefined || current.migrationUid === uidBefore) return false;
        return moment === 'preparing' || current.startTimestamp !== undefined;
      },
      PATIENCE_MS,
    );

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    platform = await startPlatform({ nodes: 2 });
    images = await serveImages({ '/tiny.qcow2': qcow2Path }, instanceFile(platform).link.hostV4);
    await platform.apply(blank('log-local', 'local'));
    await platform.apply(blank('log-shared', 'shared'));
    const volumes = ['log-local', 'log-shared'].map((name) => ({ name, dataVolume: { name } }));
    const disks = volumes.map(({ name }) => ({ name, disk: { bus: 'virtio' } }));
    await platform.apply(shellVm(NAME, `${images.url}/tiny.qcow2`, { memory: '128Mi', disks, volumes }));
    shell = await guestShell(platform, NAME);
    first = await vmi();
  });
  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
  });
  afterEach(() => bandwidth(undefined));

  /** One migration with something done to it; the guest must be in one place afterwards, and whole. */
  async function disturbed(moment: Moment, disturb: (now: MovingVmi) => Promise<() => Promise<void> | void>): Promise<void> {
    const before = await vmi();
    if (moment !== 'ending') await bandwidth('16Mi');
    await shell.run(startWriting(DEVICES));
    const oracle = watchDiskWriters(platform.dataDir);
    const name = `disturbed-${++count}`;
    await requestMigration(platform, name, NAME);
    const now = await at(moment, state(before)?.migrationUid);
    const mend = await disturb(now);
    await mend();
    const end = await endOfMigration(platform, name);
    const after = await platform.until<MovingVmi>(`vmi ${NAME}`, (one) => state(one)?.completed === true, PATIENCE_MS);
    console.log(`${moment}: ${end}; ${state(after)?.failureReason ?? 'moved'}`);
    expect(after.metadata.uid).toBe(first.metadata.uid);
    expect(after.status).toMatchObject({ phase: 'Running', interfaces: first.status?.interfaces });
    const moved = end === 'Succeeded';
    expect(after.status?.nodeName === before.status?.nodeName).toBe(!moved);
    await expect.poll(() => nodesWithGuest(platform, NAME), { timeout: PATIENCE_MS }).toEqual([after.status?.nodeName]);
    await expect.poll(() => shell.run('echo here').catch(String), { timeout: PATIENCE_MS }).toBe('here\n');
    await oracle.stop();
    await checkWritten(shell, DEVICES);
    await checkDiskWriters(platform.dataDir);
    await bandwidth(undefined);
    await platform.until<{ items: unknown[] }>(`pods -l app=${NAME}`, ({ items }) => items.length === 1, PATIENCE_MS);
  }

  const nodeOf = (now: MovingVmi, side: Side): string =>
    (side === 'source' ? state(now)?.sourceNode : state(now)?.targetNode) ?? '';

  describe.each(MOMENTS)('disturbed while %s', (moment) => {
    it.each(['source', 'target'] as const)('by the death of the agent of the %s', async (side) => {
      await disturbed(moment, async (now) => {
        process.kill(await agentPid(platform, nodeOf(now, side)), 'SIGKILL');
        return () => {};
      });
    });

    it.each(['source', 'target'] as const)('by the loss of the link of the %s for some seconds', async (side) => {
      await disturbed(moment, async (now) => {
        const node = nodeOf(now, side);
        link(node, 'down');
        return async () => {
          await new Promise((resolve) => setTimeout(resolve, 4_000));
          link(node, 'up');
        };
      });
    });
  });

  it('can be made one after the other', async () => {
    await shell.run(startWriting(DEVICES));
    const oracle = watchDiskWriters(platform.dataDir);
    const silences: number[] = [];
    for (let index = 1; index <= MANY; index++) {
      const answers = watchAnswers(shell);
      const moved = await move(platform, `row-${index}`, NAME);
      expect(await nodesWithGuest(platform, NAME)).toEqual([moved.status?.nodeName]);
      silences.push((await answers.stop())[0] ?? 0);
    }
    await oracle.stop();
    const entries = await checkWritten(shell, DEVICES);
    const sorted = silences.sort((left, right) => left - right);
    const share = (part: number): number =>
      Math.round(sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0);
    console.log(
      `${MANY} migrations, ${entries} entries written; longest silence of each: median ${share(0.5)} ms, 90 % ${share(0.9)} ms, most ${share(1)} ms`,
    );
    expect((await vmi()).metadata.uid).toBe(first.metadata.uid);
  }, 3_600_000);
});
