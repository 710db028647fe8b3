// A guest that writes to all kinds of disks and answers all the while moves between two nodes and back.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkDiskWriters, watchDiskWriters } from './src/disk-writers.ts';
import { type GuestShell, guestShell, shellVm } from './src/guest-shell.ts';
import {
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
import { blankVolume, type MoverWorld, PICTURE_MIB, startMoverWorld } from './src/mover-world.ts';
import { nodeLeftovers } from './src/node-leftovers.ts';
import type { Platform } from './src/platform.ts';

const NAME = 'mover';
const DEVICES = ['vdc', 'vdd', 'vde'] as const;

describe('a guest that moves', () => {
  let world: MoverWorld;
  let platform: Platform;
  let shell: GuestShell;
  let first: MovingVmi;

  const vmi = (): Promise<MovingVmi> => platform.until<MovingVmi>(`vmi ${NAME}`, () => true);
  const readyOf = ({ status }: MovingVmi) => status?.conditions?.find(({ type }) => type === 'Ready');

  beforeAll(async () => {
    world = await startMoverWorld(2);
    ({ platform } = world);
    await world.pace(NAME);
    await platform.apply(blankVolume('log-local', 'local'));
    await platform.apply(blankVolume('log-shared', 'shared'));
    const virtio = (name: string): object => ({ name, disk: { bus: 'virtio' } });
    await platform.apply(
      shellVm(NAME, world.imageUrl, {
        memory: '128Mi',
        spec: { evictionStrategy: 'LiveMigrate' },
        disks: ['log-local', 'log-shared', 'picture'].map(virtio),
        volumes: [
          { name: 'log-local', dataVolume: { name: 'log-local' } },
          { name: 'log-shared', dataVolume: { name: 'log-shared' } },
          { name: 'picture', containerDisk: { image: world.picture.image } },
        ],
      }),
    );
    shell = await guestShell(platform, NAME);
    first = await vmi();
  });
  afterAll(() => world?.close());

  it('keeps its address, its memory and what it writes, there and back', async () => {
    const nodes = (await platform.kubectl('get', 'nodes', '-o', 'jsonpath={.items[*].metadata.name}')).split(' ');
    const [here = '', there = ''] = [first.status?.nodeName, nodes.find((node) => node !== first.status?.nodeName)];
    await shell.run(startWriting(DEVICES));
    const oracle = watchDiskWriters(platform.dataDir);
    const answers = watchAnswers(shell);
    const uptime = Number((await shell.run('cut -d" " -f1 /proc/uptime')).trim());

    const moved = await move(platform, 'there', NAME);
    expect(moved.status).toMatchObject({ nodeName: there, phase: 'Running', interfaces: first.status?.interfaces });
    expect(moved.metadata).toMatchObject({ uid: first.metadata.uid, labels: { 'kubevirt.io/nodeName': there } });
    expect(moved.metadata.labels).not.toHaveProperty('kubevirt.io/migrationTargetNodeName');
    expect(moved.status?.migrationState).toMatchObject({ completed: true, mode: 'PreCopy', sourceNode: here, targetNode: there });
    expect(await nodesWithGuest(platform, NAME)).toEqual([there]);

    const back = await move(platform, 'back', NAME);
    expect(back.status).toMatchObject({ nodeName: here, phase: 'Running', interfaces: first.status?.interfaces });
    expect(await nodesWithGuest(platform, NAME)).toEqual([here]);
    // it was ready all the time
    expect(readyOf(back)).toEqual(readyOf(first));

    const gaps = await answers.stop();
    console.log(`${gaps.length} answers, longest silences ${gaps.slice(0, 3).map(Math.round).join(', ')} ms`);
    await oracle.stop();
    expect(await checkWritten(shell, DEVICES)).toBeGreaterThan(1);
    expect(Number((await shell.run('cut -d" " -f1 /proc/uptime')).trim())).toBeGreaterThan(uptime);
    const seen = await shell.run(`dd if=/dev/vde bs=1048576 skip=${PICTURE_MIB} count=1 2>/dev/null | md5sum`);
    expect(seen.split(' ')[0]).toBe(world.picture.md5);
  });

  it('stays where it is when that is wanted after all', async () => {
    await world.pace(NAME, { bandwidthPerMigration: '1Mi' });
    const { nodeName } = (await vmi()).status ?? {};
    await requestMigration(platform, 'never', NAME);
    await platform.until<MovingVmi>(`vmi ${NAME}`, ({ status }) => {
      const state = status?.migrationState;
      return state?.startTimestamp !== undefined && state.completed !== true;
    });
    await platform.kubectl('delete', 'vmim', 'never', '--wait=false');
    const kept = await platform.until<MovingVmi>(`vmi ${NAME}`, ({ status }) => status?.migrationState?.failed === true, 120_000);
    expect(kept.status).toMatchObject({
      nodeName,
      phase: 'Running',
      migrationState: { completed: true, abortStatus: 'Succeeded' },
    });
    expect(await shell.run('echo here')).toBe('here\n');
    await world.pace(NAME);
    await platform.kubectl('wait', '--for=delete', 'vmim/never', '--timeout=120s');
    // and can move afterwards
    await move(platform, 'after-all', NAME);
    expect(await nodesWithGuest(platform, NAME)).not.toContain(nodeName);
    expect(await shell.run('echo here')).toBe('here\n');
  });

  it('leaves a node that is drained', async () => {
    const { nodeName = '' } = (await vmi()).status ?? {};
    // kubectl asks again until the guest is elsewhere
    await platform.kubectl('drain', nodeName, '--delete-emptydir-data', '--ignore-daemonsets', '--force', '--timeout=200s');
    const drained = await platform.until<MovingVmi>(`vmi ${NAME}`, () => true);
    expect(drained.metadata.uid).toBe(first.metadata.uid);
    expect(drained.status?.phase).toBe('Running');
    expect(drained.status?.interfaces?.[0]?.ipAddresses).toEqual(first.status?.interfaces?.[0]?.ipAddresses);
    expect(drained.status?.nodeName).not.toBe(nodeName);
    const left = ['get', 'pods', '-A', `--field-selector=spec.nodeName=${nodeName}`, '-o', 'name'];
    expect(await platform.kubectl(...left)).toBe('');
    expect(await shell.run('echo here')).toBe('here\n');
    await platform.kubectl('uncordon', nodeName);
    const node = await platform.until<{ spec: { unschedulable?: boolean } }>(`node ${nodeName}`, () => true);
    expect(node.spec.unschedulable).not.toBe(true);
  });

  it('leaves nothing behind', async () => {
    expect(await endOfMigration(platform, 'after-all')).toBe('Succeeded');
    const { nodeName } = (await vmi()).status ?? {};
    interface Pods {
      items: { spec: { nodeName?: string } }[];
    }
    const pods = await platform.until<Pods>(`pods -l app=${NAME}`, ({ items }) => items.length === 1, 120_000);
    expect(pods.items[0]?.spec.nodeName).toBe(nodeName);
    await checkDiskWriters(platform.dataDir);
    const [other = ''] = instanceFile(platform).nodes.flatMap(({ name }) => (name === nodeName ? [] : [name]));
    await expect.poll(() => nodeLeftovers(platform, other), { timeout: 120_000 }).toEqual([]);
  });
});
