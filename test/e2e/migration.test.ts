// A guest that writes to all kinds of disks and answers all the while moves between two nodes and back.
import { randomBytes, createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageServer, serveImages } from '@slipway/daemon';
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
import { guestImage, type Platform, startPlatform } from './src/platform.ts';
import { diskLayer } from './src/push-image.ts';
import { type SmallRegistry, startSmallRegistry } from './src/small-registry.ts';

const NAME = 'mover';
const DEVICES = ['vdc', 'vdd', 'vde'] as const;
const MIB = 1024 ** 2;

describe('a guest that moves', () => {
  let platform: Platform;
  let images: ImageServer;
  let registry: SmallRegistry;
  let shell: GuestShell;
  let first: MovingVmi;
  const picture = randomBytes(MIB);

  const vmi = (): Promise<MovingVmi> => platform.until<MovingVmi>(`vmi ${NAME}`, () => true);
  const readyOf = ({ status }: MovingVmi) => status?.conditions?.find(({ type }) => type === 'Ready');
  const blank = (name: string, storageClassName: string): object => ({
    ...{ apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataVolume', metadata: { name } },
    spec: { source: { blank: {} }, storage: { storageClassName, resources: { requests: { storage: '16Mi' } } } },
  });

  /** Settings of this guest's migrations; on a busy machine they take their time. */
  const pace = (settings: object): Promise<string> => {
    const kind = { apiVersion: 'migrations.kubevirt.io/v1alpha1', kind: 'MigrationPolicy', metadata: { name: 'pace' } };
    const selectors = { virtualMachineInstanceSelector: { app: NAME } };
    return platform.apply({ ...kind, spec: { selectors, completionTimeoutPerGiB: 600, ...settings } });
  };

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    platform = await startPlatform({ nodes: 2 });
    const { hostV4 } = instanceFile(platform).link;
    images = await serveImages({ '/tiny.qcow2': qcow2Path }, hostV4);
    registry = await startSmallRegistry(hostV4);
    registry.tag('picture', [diskLayer('disk.img', Buffer.concat([Buffer.alloc(15 * MIB), picture]))]);
    const insecure = JSON.stringify({ spec: { storageImport: { insecureRegistries: [registry.host] } } });
    await platform.kubectl('-n', 'openshift-cnv', 'patch', 'hco', 'kubevirt-hyperconverged', '--type=merge', '-p', insecure);
    await pace({});
    await platform.apply(blank('log-local', 'local'));
    await platform.apply(blank('log-shared', 'shared'));
    const virtio = (name: string): object => ({ name, disk: { bus: 'virtio' } });
    await platform.apply(
      shellVm(NAME, `${images.url}/tiny.qcow2`, {
        memory: '128Mi',
        disks: ['log-local', 'log-shared', 'picture'].map(virtio),
        volumes: [
          { name: 'log-local', dataVolume: { name: 'log-local' } },
          { name: 'log-shared', dataVolume: { name: 'log-shared' } },
          { name: 'picture', containerDisk: { image: `${registry.host}/picture:latest` } },
        ],
      }),
    );
    shell = await guestShell(platform, NAME);
    first = await vmi();
  });
  afterAll(async () => {
    await images?.close();
    await registry?.close();
    await platform?.destroy();
  });

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
    const seen = await shell.run('dd if=/dev/vde bs=1048576 skip=15 count=1 2>/dev/null | md5sum');
    expect(seen.split(' ')[0]).toBe(createHash('md5').update(picture).digest('hex'));
  });

  it('stays where it is when that is wanted after all', async () => {
    await pace({ bandwidthPerMigration: '1Mi' });
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
    await pace({});
    await platform.kubectl('wait', '--for=delete', 'vmim/never', '--timeout=120s');
    // and can move afterwards
    await move(platform, 'after-all', NAME);
    expect(await nodesWithGuest(platform, NAME)).not.toContain(nodeName);
    expect(await shell.run('echo here')).toBe('here\n');
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
    const left = (directory: string): string[] => {
      const path = join(platform.dataDir, 'nodes', other, directory);
      return existsSync(path) ? readdirSync(path).filter((name) => !name.startsWith('.')) : [];
    };
    await expect.poll(() => [...left('sandboxes'), ...left('volumes'), ...left('podvolumes')], { timeout: 120_000 }).toEqual([]);
  });
});
