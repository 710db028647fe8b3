import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, lstatSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import {
  ConfigMapKind,
  MOVED_TO,
  type PersistentVolume,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
  sharedVolumeUid,
  type VirtualMachineInstance,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { InformerFactory, silentLogger, systemClock } from '@slipway/runtime';
import { built, type Built, MemoryCluster, pvc, storageClass, vmi } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OfferedDisk, PreparedVolume, Sandbox } from '../../contracts.ts';
import { type NodeVolumes, nodeVolumes } from '../volume-manager.ts';

const MiB = 1024 * 1024;

interface Agent {
  readonly volumes: NodeVolumes;
  readonly stateDir: string;
  readonly stop: () => Promise<void>;
}

interface Place {
  readonly pod: Pod;
  readonly sandbox: Sandbox;
}

let root: string;
let client: Client;
let agents: Agent[];
const signal = new AbortController().signal;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'slipmove-'));
  chmodSync(root, 0o711);
  agents = [];
  client = new MemoryCluster(systemClock).client();
  await create(storageClass('local'));
});
afterEach(async () => {
  for (const agent of agents) await agent.stop();
  rmSync(root, { recursive: true, force: true });
});

/** An agent; of the same name again it is that one after a restart. */
function agent(nodeName: string, before?: Agent): Agent {
  const stateDir = before?.stateDir ?? mkdtempSync(join(root, nodeName));
  chmodSync(stateDir, 0o711);
  const aborting = new AbortController();
  const informers = new InformerFactory({ client, clock: systemClock, random: Math.random, log: silentLogger });
  const volumes = nodeVolumes({
    config: {
      ...{ nodeName, hostPrefix: nodeName, stateDir, podCidrV4: '', podCidrV6: '', sharedDir: join(root, 'shared') },
      uidBase: nodeName === 'node1' ? 2_360_000 : 2_370_000,
    },
    ...{ client, informers, clock: systemClock, random: Math.random, log: silentLogger },
    moverProgram: [process.execPath, '/nowhere'],
    allowedImportAddresses: [],
    serviceAccountToken: () => Promise.resolve('token'),
  });
  informers.start(aborting.signal);
  const running = volumes.manager.run(aborting.signal);
  const stop = async (): Promise<void> => {
    aborting.abort();
    await running;
  };
  const made = { volumes, stateDir, stop };
  agents.push(made);
  return made;
}

const create = async ({ kind, object }: Built): Promise<void> => void (await client.create(kind, object));

async function until<T>(read: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const value = await read();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const volumeOf = async (name: string): Promise<PersistentVolume> => {
  const { spec } = await client.get(PersistentVolumeClaimKind, { namespace: 'a', name });
  return client.get(PersistentVolumeKind, { namespace: '', name: spec?.volumeName ?? '' });
};

async function claim(name: string, node = 'node1', className = 'local'): Promise<string> {
  await create(
    pvc(`a/${name}`, {
      metadata: { annotations: { 'volume.kubernetes.io/selected-node': node } },
      spec: { storageClassName: className, resources: { requests: { storage: '8Mi' } } },
    }),
  );
  const { metadata } = await client.get(PersistentVolumeClaimKind, { namespace: 'a', name });
  const volumeName = `pvc-${metadata.uid}`;
  const read = () => client.get(PersistentVolumeKind, { namespace: '', name: volumeName }).catch(() => undefined);
  await until(read);
  const key = { namespace: 'a', name };
  await client.patch(PersistentVolumeClaimKind, key, { spec: { volumeName } }, { type: 'merge' });
  await client.patch(PersistentVolumeClaimKind, key, { status: { phase: 'Bound' } }, { type: 'merge', subresource: 'status' });
  return metadata.uid ?? '';
}

async function launcher(name: string, node: string, uid: number, claims: readonly object[] = []): Promise<Place> {
  const { object } = built(PodKind, `a/${name}`, {
    metadata: { name, namespace: 'a' },
    spec: { nodeName: node, volumes: claims } as Pod['spec'],
  });
  const pod = await client.create(PodKind, object);
  return { pod, sandbox: { podUid: pod.metadata.uid ?? '', uid, netns: '', dir: '' } };
}

/** A guest as the API shows it while it moves. */
const guest = (source: Place, target: Place, spec: object): VirtualMachineInstance =>
  vmi('a/web', {
    spec: spec as VirtualMachineInstance['spec'],
    status: { activePods: { [source.sandbox.podUid]: 'node1', [target.sandbox.podUid]: 'node2' } },
  }).object;

const disk = (name: string, more: object = { disk: { bus: 'virtio' } }): object => ({ name, ...more });
const devices = (...disks: object[]): object => ({ domain: { devices: { disks } } });

const file = (volumes: readonly PreparedVolume[], index = 0): string => volumes[index]?.path ?? '';
const mibOf = (volumes: readonly PreparedVolume[], index: number): number => (volumes[index]?.sizeBytes ?? 0) / MiB;
const begin = (volumes: readonly PreparedVolume[]): Buffer => readFileSync(file(volumes)).subarray(0, MiB);

/** Both agents, the guest's two pods, and its disks ready at the source. */
async function running(volumes: readonly object[], disks: readonly object[], podVolumes: readonly object[] = []) {
  const [one, two] = [agents[0] ?? agent('node1'), agents[1] ?? agent('node2')];
  const source = await launcher('one', 'node1', 2_360_007, podVolumes);
  const target = await launcher('two', 'node2', 2_370_007);
  const instance = guest(source, target, { ...devices(...disks), volumes });
  const prepared = await one.volumes.manager.prepare(instance, source.pod, source.sandbox, signal);
  const files = await one.volumes.manager.prepareFiles(instance, source.pod, source.sandbox, signal);
  return { one, two, source, target, instance, prepared, files };
}

const offered = (from: Agent, instance: VirtualMachineInstance, { sandbox }: Place): Promise<readonly OfferedDisk[]> =>
  from.volumes.moving.offer(instance, sandbox.podUid, signal);

describe('the disks of a guest', () => {
  it('are offered, received and accepted, each in its way', async () => {
    agent('node1');
    agent('node2');
    const uid = await claim('data');
    await create(built(ConfigMapKind, 'a/settings', { data: { key: 'value' } }));
    const volumes = [
      { name: 'data', persistentVolumeClaim: { claimName: 'data' } },
      { name: 'scratch', emptyDisk: { capacity: '2Mi' } },
      { name: 'seed', cloudInitNoCloud: { userData: '#cloud-config' } },
      { name: 'settings', configMap: { name: 'settings' } },
      { name: 'throwaway', ephemeral: { persistentVolumeClaim: { claimName: 'base' } } },
    ];
    await claim('base');
    const cdrom = { cdrom: { bus: 'sata' } };
    const disks = [disk('data'), disk('scratch'), disk('seed'), disk('settings', cdrom), disk('throwaway')];
    const { one, two, source, target, instance, prepared } = await running(volumes, disks);
    const content = randomBytes(MiB);
    writeFileSync(file(prepared), content, { flag: 'r+' });

    const offer = await offered(one, instance, source);
    expect(offer.map(({ name, transfer, virtualSizeBytes }) => `${name} ${transfer} ${virtualSizeBytes / MiB}`)).toEqual([
      'data copied 8',
      'scratch copied 2',
      `seed copied ${mibOf(prepared, 2)}`,
      `settings remade ${mibOf(prepared, 3)}`,
      'throwaway copied 8',
    ]);
    expect(offer[0]?.allocatedBytes).toBeGreaterThanOrEqual(MiB);
    expect(offer[0]?.allocatedBytes).toBeLessThan(2 * MiB);

    const received = await two.volumes.moving.receive(instance, target.pod, target.sandbox, offer, signal);
    expect(received.map(({ name, format, sizeBytes }) => ({ name, format, sizeBytes }))).toEqual(
      prepared.map(({ name, sizeBytes }) => ({ name, format: 'raw', sizeBytes })),
    );
    for (const { path, sizeBytes, name } of received)
      expect(lstatSync(path), name).toMatchObject({ size: sizeBytes, uid: target.sandbox.uid });
    writeFileSync(file(received), content, { flag: 'r+' }); // QEMU
    expect(await two.volumes.moving.receive(instance, target.pod, target.sandbox, offer, signal)).toEqual(received);
    expect(begin(received).equals(content)).toBe(true);

    const there = { node: 'node2', podUid: target.sandbox.podUid };
    await one.volumes.moving.handOver(instance, source.sandbox.podUid, there);
    await two.volumes.moving.accept(target.sandbox.podUid);
    await one.volumes.manager.release(source.sandbox.podUid);
    await expect(one.volumes.manager.prepare(instance, source.pod, source.sandbox, signal)).rejects.toThrow('went to node node2');

    // the target's agent restarts while the volume still is the source's by name
    await two.stop();
    const again = agent('node2', two);
    const { volumes: manager } = again;
    expect(await manager.manager.prepare(instance, target.pod, target.sandbox, signal)).toEqual(received);
    const volume = { namespace: '', name: `pvc-${uid}` };
    expect((await client.get(PersistentVolumeKind, volume)).spec?.local?.path).toContain(one.stateDir);

    // as the migration controller does
    await client.patch(PersistentVolumeKind, volume, { spec: { nodeAffinity: onNode('node2') } }, { type: 'merge' });
    const stale = join(one.stateDir, 'volumes', uid);
    await until(async () => (existsSync(stale) ? undefined : true));
    expect(existsSync(join(two.stateDir, 'volumes', uid, 'disk.img'))).toBe(true);

    // another pod of the same node later
    await again.volumes.manager.release(target.sandbox.podUid);
    const third = await launcher('three', 'node2', 2_370_009);
    const own = { ...instance, spec: { ...instance.spec, volumes: [volumes[0]] as never } };
    const later = await again.volumes.manager.prepare(own, third.pod, third.sandbox, signal);
    expect(begin(later).equals(content)).toBe(true);
  });

  it('are thrown away when the guest stays, and the source goes on', async () => {
    agent('node1');
    agent('node2');
    const uid = await claim('data');
    const volumes = [
      { name: 'data', persistentVolumeClaim: { claimName: 'data' } },
      { name: 'scratch', emptyDisk: { capacity: '2Mi' } },
    ];
    const { one, two, source, target, instance, prepared } = await running(volumes, [disk('data'), disk('scratch')]);
    const offer = await offered(one, instance, source);
    await two.volumes.moving.receive(instance, target.pod, target.sandbox, offer, signal);
    const places = [join(two.stateDir, 'volumes', uid), join(two.stateDir, 'podvolumes', target.sandbox.podUid)];
    expect(places.map((path) => existsSync(path))).toEqual([true, true]);
    await two.volumes.moving.discard(target.sandbox.podUid);
    expect(places.map((path) => existsSync(path))).toEqual([false, false]);
    expect(await one.volumes.manager.prepare(instance, source.pod, source.sandbox, signal)).toEqual(prepared);
  });

  it('that went with a guest whose claim is gone before say where they are', async () => {
    agent('node1');
    agent('node2');
    const uid = await claim('data');
    const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }];
    const { one, two, source, target, instance } = await running(volumes, [disk('data')]);
    await two.volumes.moving.receive(instance, target.pod, target.sandbox, await offered(one, instance, source), signal);
    await one.volumes.moving.handOver(instance, source.sandbox.podUid, { node: 'node2', podUid: target.sandbox.podUid });
    await two.volumes.moving.accept(target.sandbox.podUid);
    const key = { namespace: '', name: `pvc-${uid}` };
    await client.patch(PersistentVolumeKind, key, { status: { phase: 'Released' } }, { type: 'merge', subresource: 'status' });
    await until(async () =>
      (await client.get(PersistentVolumeKind, key)).metadata.annotations?.[MOVED_TO] === 'node2' ? true : undefined,
    );
    expect(existsSync(join(two.stateDir, 'volumes', uid))).toBe(true);
  });

  it('on a class of all nodes are the same files there, which change hands', async () => {
    agent('node1');
    agent('node2');
    await create(storageClass('shared', { provisioner: 'shared.slipway.dev' }));
    const uid = sharedVolumeUid(await claim('data', 'node1', 'shared'));
    const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }];
    const { one, two, source, target, instance, prepared } = await running(volumes, [disk('data')]);
    const offer = await offered(one, instance, source);
    expect(offer).toMatchObject([{ name: 'data', transfer: 'shared', claimName: 'data' }]);
    const received = await two.volumes.moving.receive(instance, target.pod, target.sandbox, offer, signal);
    expect(received).toEqual(prepared);
    expect(basename(dirname(file(received)))).toBe(uid);
    await expect(two.volumes.manager.prepare(instance, target.pod, target.sandbox, signal)).rejects.toThrow('already used');
    await one.volumes.moving.handOver(instance, source.sandbox.podUid, { node: 'node2', podUid: target.sandbox.podUid });
    await two.volumes.moving.accept(target.sandbox.podUid);
    expect(await two.volumes.manager.prepare(instance, target.pod, target.sandbox, signal)).toEqual(received);
    expect(statSync(file(received)).uid).toBe(target.sandbox.uid);
  });

  it('include what the firmware keeps, whose content QEMU brings', async () => {
    agent('node1');
    agent('node2');
    await claim('state');
    const named = [{ name: 'vm-state', persistentVolumeClaim: { claimName: 'state' } }];
    const { one, two, source, target, instance, files } = await running([], [], named);
    expect(files.statePath).toBeDefined();
    const offer = await until(async () => {
      const found = await offered(one, instance, source);
      return found.length > 0 ? found : undefined; // the agent knows of the pod
    });
    expect(offer).toMatchObject([{ name: 'vm-state', transfer: 'state', claimName: 'state' }]);
    expect(await two.volumes.moving.receive(instance, target.pod, target.sandbox, offer, signal)).toEqual([]);
    const { statePath = '' } = await two.volumes.manager.prepareFiles(instance, target.pod, target.sandbox, signal);
    expect(statSync(statePath)).toMatchObject({ uid: target.sandbox.uid });
    writeFileSync(join(statePath, 'vars'), 'brought');
    await one.volumes.moving.handOver(instance, source.sandbox.podUid, { node: 'node2', podUid: target.sandbox.podUid });
    await two.volumes.moving.accept(target.sandbox.podUid);
    const later = await two.volumes.manager.prepareFiles(instance, target.pod, target.sandbox, signal);
    expect(later.statePath).toBe(statePath);
    // and from there on again
    const back = await until(async () => {
      const found = await offered(two, instance, target);
      return found.length > 0 ? found : undefined;
    });
    expect(back).toMatchObject([{ name: 'vm-state', transfer: 'state' }]);
  });

  it('that cannot go say why', async () => {
    agent('node1');
    agent('node2');
    await claim('data');
    const iso = { name: 'iso', persistentVolumeClaim: { claimName: 'data' } };
    const { one, source, instance } = await running([], []);
    const offerOf = (volume: object, devicesOf: object): Promise<unknown> =>
      one.volumes.moving.offer(
        { ...instance, spec: { ...instance.spec, ...(devicesOf as VirtualMachineInstance['spec']), volumes: [volume] as never } },
        source.sandbox.podUid,
        signal,
      );
    const attach = { ...instance, spec: { ...instance.spec, volumes: [iso] } };
    await one.volumes.manager.prepare(attach, source.pod, source.sandbox, signal);
    await expect(offerOf(iso, devices(disk('iso', { cdrom: { bus: 'sata' } })))).rejects.toThrow('eject it');
    const readOnly = { name: 'iso', persistentVolumeClaim: { claimName: 'data', readOnly: true } };
    await expect(offerOf(readOnly, devices(disk('iso')))).rejects.toThrow('read-only here');
    const share = { domain: { devices: { filesystems: [{ name: 'iso', virtiofs: {} }] } } };
    await expect(offerOf(iso, share)).rejects.toThrow('virtiofs');
    expect((await volumeOf('data')).metadata.annotations?.[MOVED_TO]).toBeUndefined();
  });
});

const onNode = (name: string) => ({
  required: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [name] }] }] },
});
