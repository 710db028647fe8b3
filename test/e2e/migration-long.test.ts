// Many migrations in a row: the guest runs once, has written what it says it has, and says how long it stood still.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listenForBeats } from './src/beats.ts';
import { watchDiskWriters } from './src/disk-writers.ts';
import { type GuestClock, watchGuestClock } from './src/guest-clock.ts';
import { type GuestShell, guestShell, shellVm } from './src/guest-shell.ts';
import { blankVolume, type MoverWorld, startMoverWorld } from './src/mover-world.ts';
import { checkWritten, move, type MovingVmi, nodesWithGuest, startWriting } from './src/moving-guest.ts';

/** `SLIPWAY_E2E_LONG=1`: dozens of migrations. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const MANY = 50;
const DEVICES = ['vdc', 'vdd'] as const;

/** A guest that writes and answers pings, and what is seen of it. */
interface Subject {
  readonly name: string;
  readonly shell: GuestShell;
  readonly first: MovingVmi;
  readonly clock: GuestClock;
}

describe.skipIf(!isLong)(`${MANY} migrations in a row`, () => {
  let world: MoverWorld;
  const vmi = (name: string): Promise<MovingVmi> => world.platform.until<MovingVmi>(`vmi ${name}`, () => true);

  beforeAll(async () => {
    world = await startMoverWorld(2);
  });
  afterAll(() => world?.close());

  /** `classes` of its root disk and its two logs. */
  async function boot(name: string, classes: readonly [string, string, string]): Promise<Subject> {
    const { platform } = world;
    const [rootClass, ...logs] = classes;
    const volumes = logs.map((storageClass, index) => ({ name: `${name}-log-${index}`, storageClass }));
    for (const volume of volumes) await platform.apply(blankVolume(volume.name, volume.storageClass));
    await world.pace(name);
    await platform.apply(
      shellVm(name, world.imageUrl, {
        memory: '128Mi',
        rootClass,
        disks: volumes.map((volume) => ({ name: volume.name, disk: { bus: 'virtio' } })),
        volumes: volumes.map((volume) => ({ name: volume.name, dataVolume: { name: volume.name } })),
      }),
    );
    const shell = await guestShell(platform, name);
    return { name, shell, first: await vmi(name), clock: await watchGuestClock(shell) };
  }

  it.each<[string, readonly [string, string, string]]>([
    ['copied', ['local', 'local', 'shared']],
    ['shared', ['shared', 'shared', 'shared']],
  ])(
    'lose nothing of a guest with disks that are %s',
    async (name, classes) => {
      const { platform } = world;
      const { shell, first, clock } = await boot(name, classes);
      await shell.run(startWriting(DEVICES));
      const oracle = watchDiskWriters(platform.dataDir);
      const beats = listenForBeats(new URL(shell.url).hostname);
      const [stops, silences]: [number[], number[]] = [[], []];
      let lag = await clock.lag();
      for (let index = 1; index <= MANY; index++) {
        await beats.next();
        beats.restart();
        const moved = await move(platform, `${name}-${index}`, name);
        expect(await nodesWithGuest(platform, name)).toEqual([moved.status?.nodeName]);
        const after = await clock.lag();
        await beats.next();
        stops.push(after - lag);
        silences.push(beats.longestSilence());
        lag = after;
      }
      await Promise.all([beats.stop(), clock.stop(), oracle.stop()]);
      const entries = await checkWritten(shell, DEVICES);
      console.log(
        [
          `${MANY} migrations with ${name} disks, none lost; ${entries} entries written, all there`,
          `  stood still by the guest's own clock: ${distribution(stops)}`,
          `  longest silence between answered pings: ${distribution(silences)}`,
        ].join('\n'),
      );
      expect((await vmi(name)).metadata.uid).toBe(first.metadata.uid);
      await platform.kubectl('delete', 'vm', name, '--timeout=120s');
    },
    3_600_000,
  );
});

function distribution(milliseconds: readonly number[]): string {
  const sorted = milliseconds.toSorted((left, right) => left - right);
  const at = (part: number): string =>
    `${Math.round(sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0)} ms`;
  return `least ${at(0)}, 25 % ${at(0.25)}, median ${at(0.5)}, 75 % ${at(0.75)}, 90 % ${at(0.9)}, most ${at(1)}`;
}
