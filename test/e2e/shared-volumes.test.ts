import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StatusReport } from '@slipway/daemon';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { checkDiskWriters, watchDiskWriters } from './src/disk-writers.ts';
import { type Platform, startPlatform } from './src/platform.ts';

/** `SLIPWAY_E2E_LONG=1`: two nodes, and guests that move between them. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';

interface Vmi {
  metadata: { uid: string };
  status?: { phase?: string; nodeName?: string };
}
interface Claim {
  metadata: { uid: string };
  spec: { volumeName?: string; accessModes?: string[] };
  status?: { phase?: string; capacity?: { storage?: string } };
}
interface Events {
  items: { message?: string; involvedObject: { name: string } }[];
}
const isRunning = ({ status }: Vmi): boolean => status?.phase === 'Running';
const succeeded = ({ status }: { status?: { phase?: string } }): boolean => status?.phase === 'Succeeded';

const dataVolume = (name: string, source: object, storage: object): object => ({
  apiVersion: 'cdi.kubevirt.io/v1beta1',
  kind: 'DataVolume',
  metadata: { name },
  spec: { source, storage },
});
const sized = (storageClassName: string, more: object = {}): object => ({
  ...{ storageClassName, resources: { requests: { storage: '16Mi' } } },
  ...more,
});

const idleInstance = (name: string, node: string, claimName: string, disk: object = {}): object => ({
  ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', metadata: { name } },
  spec: {
    terminationGracePeriodSeconds: 0,
    nodeSelector: { 'kubernetes.io/hostname': node },
    domain: { memory: { guest: '64Mi' }, devices: { disks: [{ name: 'data', disk: { bus: 'virtio' }, ...disk }] } },
    volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }],
  },
});

describe.runIf(isLong)('shared volumes', () => {
  let platform: Platform;
  let nodes: readonly string[];

  beforeAll(async () => {
    platform = await startPlatform({ nodes: 2 });
    nodes = (await platform.kubectl('get', 'nodes', '-o', 'jsonpath={.items[*].metadata.name}')).split(' ').sort();
    expect(nodes).toHaveLength(2);
  }, 240_000);
  afterAll(() => platform?.destroy());

  const shared: string[] = [];
  afterEach(() => checkDiskWriters(platform.dataDir, shared));

  const [first, second] = [0, 1].map((index) => () => nodes[index] ?? '') as [() => string, () => string];
  const claim = (name: string) => platform.until<Claim>(`pvc ${name}`, ({ status }) => status?.phase === 'Bound', 120_000);
  const running = (name: string) => platform.until<Vmi>(`vmi ${name}`, isRunning, 180_000);
  const remove = (...names: string[]) => platform.kubectl('delete', 'vmi', ...names, '--timeout=180s');
  const directoryOf = ({ metadata: { uid } }: Claim): string =>
    join(platform.dataDir, 'shared-volumes', 'volumes', `${uid.slice(0, 14)}8${uid.slice(15)}`);
  const refused = (name: string, text: RegExp) =>
    platform.until<Events>(
      'event --field-selector=reason=SyncFailed',
      ({ items }) => items.some(({ message, involvedObject }) => involvedObject.name === name && text.test(message ?? '')),
      180_000,
    );

  it('are used on either node, by one guest at a time', async () => {
    await platform.apply(dataVolume('roaming', { blank: {} }, sized('shared')));
    const { spec } = await claim('roaming');
    expect(spec.accessModes).toEqual(['ReadWriteMany']);
    const affinity = await platform.kubectl('get', 'pv', spec.volumeName ?? '', '-o', 'jsonpath={.spec.nodeAffinity}');
    expect(affinity).toBe('');
    await platform.apply(idleInstance('here', first(), 'roaming'));
    expect((await running('here')).status?.nodeName).toBe(first());
    const watching = watchDiskWriters(platform.dataDir);
    await platform.apply(idleInstance('there', second(), 'roaming'));
    await refused('there', /Volume is already used by virtual machine instance default\/here/);
    // whoever has the disk keeps it while its agent is away
    const report = JSON.parse((await platform.slipway('status', '-o', 'json')).stdout) as StatusReport;
    const agent = report.nodes.find(({ name }) => name === first())?.pid;
    if (agent === undefined) throw new Error(`Node ${first()} has no agent`);
    process.kill(agent, 'SIGKILL');
    await remove('here');
    expect((await running('there')).status?.nodeName).toBe(second());
    await watching.stop();
    await remove('there');
  }, 600_000);

  it('are shared by guests of two nodes that both say so', async () => {
    await platform.apply(dataVolume('quorum', { blank: {} }, sized('shared')));
    const directory = directoryOf(await claim('quorum'));
    shared.push(directory.slice(directory.lastIndexOf('/') + 1));
    await platform.apply(idleInstance('left', first(), 'quorum', { shareable: true }));
    await platform.apply(idleInstance('right', second(), 'quorum', { shareable: true }));
    await Promise.all([running('left'), running('right')]);
    await remove('left', 'right');

    const once = sized('shared', { accessModes: ['ReadWriteOnce'], volumeMode: 'Block' });
    await platform.apply(dataVolume('narrow', { blank: {} }, once));
    await claim('narrow');
    await platform.apply(idleInstance('left', first(), 'narrow', { shareable: true }));
    await running('left');
    await platform.apply(idleInstance('right', second(), 'narrow', { shareable: true }));
    await refused('right', /its claim is for one node: ask for ReadWriteMany/);
    await remove('left', 'right');
  }, 600_000);

  it('are cloned from local ones, grow, and are gone with their claims', async () => {
    await platform.apply(dataVolume('golden', { blank: {} }, sized('local-immediate')));
    await platform.until('dv golden', succeeded, 120_000);
    const source = { pvc: { namespace: 'default', name: 'golden' } };
    await platform.apply(dataVolume('copy', source, sized('shared')));
    await platform.until('dv copy', succeeded, 180_000);
    const copy = await claim('copy');
    const record = (): { virtualSizeBytes: number } => JSON.parse(readFileSync(join(directoryOf(copy), 'volume.json'), 'utf8'));
    expect(record().virtualSizeBytes).toBe(16 * 1024 * 1024);
    const grown = { spec: { resources: { requests: { storage: '32Mi' } } } };
    await platform.kubectl('patch', 'pvc', 'copy', '--type=merge', '-p', JSON.stringify(grown));
    await platform.until<Claim>('pvc copy', ({ status }) => status?.capacity?.storage === '32Mi', 120_000);
    expect(record().virtualSizeBytes).toBe(32 * 1024 * 1024);
    await platform.kubectl('delete', 'dv', 'copy', '--timeout=120s');
    await platform.kubectl('wait', '--for=delete', `pv/${copy.spec.volumeName}`, '--timeout=120s');
    expect(execFileSync('ls', [join(platform.dataDir, 'shared-volumes', 'volumes')]).toString()).not.toContain(
      copy.metadata.uid.slice(15),
    );
  }, 600_000);
});
