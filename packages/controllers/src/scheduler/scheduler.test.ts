import { PersistentVolumeClaimKind, PersistentVolumeKind, type Pod, PodKind, PriorityClassKind } from '@slipway/api';
import {
  type Built,
  built,
  namespace,
  node,
  onNode,
  pod,
  pv,
  pvc,
  startWithNodes,
  storageClass,
  type TestWorld,
  testWorld,
} from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeLifecycleController } from '../node-lifecycle/index.ts';
import { schedulerController } from './index.ts';
import { needsNode } from './scheduler-reconciler.ts';

let world: TestWorld;
afterEach(() => world?.close());

async function schedule(...objects: readonly Built[]): Promise<TestWorld> {
  world = testWorld({ api: 'server', controllers: [schedulerController, nodeLifecycleController] });
  await startWithNodes(world, objects);
  return world;
}

const nodeOf = async (path: string): Promise<string | undefined> => (await world.get(PodKind, path)).spec?.nodeName;
const scheduled = async (path: string) =>
  (await world.get(PodKind, path)).status?.conditions?.find(({ type }) => type === 'PodScheduled');

const asking = (requests: Record<string, string>): Partial<Pod['spec'] & object> => ({
  containers: [{ name: 'main', image: 'x', resources: { requests } }],
});
const mounting = (claimName: string): Partial<Pod['spec'] & object> => ({
  volumes: [{ name: 'disk', persistentVolumeClaim: { claimName } }],
});

describe('scheduler', () => {
  it('binds a pod to the emptiest node and says so', async () => {
    await schedule(
      node('node1'),
      node('node2'),
      pod('a/big', { spec: { ...asking({ memory: '4Gi' }), nodeName: 'node1' } }),
      pod('a/web'),
    );
    expect(await nodeOf('a/web')).toBe('node2');
    expect(await world.events(pod('a/web'))).toEqual(['Normal Scheduled Successfully assigned a/web to node2']);
  });

  it('gives a claim that is for one pod to the next one when the first has ended', async () => {
    const claim = (name: string, mode: string) =>
      pvc(`a/${name}`, { spec: { accessModes: [mode], volumeName: 'pv1' }, status: { phase: 'Bound' } });
    await schedule(
      node('node1'),
      pv('pv1'),
      claim('once', 'ReadWriteOncePod'),
      pod('a/first', { spec: { ...mounting('once'), nodeName: 'node1' }, status: { phase: 'Running' } }),
      pod('a/second', { spec: mounting('once') }),
    );
    const reason = 'node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode';
    const message = `0/1 nodes are available: 1 ${reason}. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.`;
    expect(await scheduled('a/second')).toMatchObject({ status: 'False', reason: 'Unschedulable', message });
    await world.client.delete(PodKind, { namespace: 'a', name: 'first' }, { gracePeriodSeconds: 0 });
    await world.settle();
    expect(await nodeOf('a/second')).toBe('node1');
  });

  it('does not touch pods of another scheduler', async () => {
    await schedule(node('node1'), pod('a/other', { spec: { schedulerName: 'mine' } }));
    expect(await nodeOf('a/other')).toBeUndefined();
  });

  it('does not touch pods that have ended or are being deleted', () => {
    expect(needsNode(pod('a/web').object)).toBe(true);
    expect(needsNode(pod('a/web', { status: { phase: 'Failed' } }).object)).toBe(false);
    expect(needsNode(pod('a/web', { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }).object)).toBe(false);
  });

  it.each([
    [
      'resources',
      node('node1'),
      asking({ memory: '9Gi', cpu: '5' }),
      '0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.',
    ],
    [
      'a device',
      node('node1'),
      asking({ 'devices.kubevirt.io/kvm': '1' }),
      '0/1 nodes are available: 1 Insufficient devices.kubevirt.io/kvm. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.',
    ],
    [
      'a label',
      node('node1'),
      { nodeSelector: { gpu: 'yes' } },
      "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    ],
    [
      'a toleration',
      node('node1', { spec: { taints: [{ key: 'k', value: 'v', effect: 'NoSchedule' }] } }),
      {},
      '0/1 nodes are available: 1 node(s) had untolerated taint {k: v}. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.',
    ],
    [
      'a node that is not cordoned',
      node('node1', { spec: { unschedulable: true } }),
      {},
      '0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.',
    ],
    [
      'a claim',
      node('node1'),
      mounting('missing'),
      '0/1 nodes are available: persistentvolumeclaim "missing" not found. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.',
    ],
  ] as const)('says that %s is missing, and binds when the cause goes away', async (_, built, spec, message) => {
    await schedule(built, pod('a/web', { spec }));
    expect(await scheduled('a/web')).toMatchObject({ status: 'False', reason: 'Unschedulable', message });
    expect(await world.events(pod('a/web'))).toEqual([`Warning FailedScheduling ${message}`]);
    await world.with(
      node('node2', {
        metadata: { labels: { gpu: 'yes' } },
        status: { allocatable: { cpu: '8', memory: '16Gi', pods: '9', 'devices.kubevirt.io/kvm': '1' } },
      }),
      storageClass('local'),
      pv('volume', { spec: { nodeAffinity: onNode('node2') } }),
      pvc('a/missing', { spec: { volumeName: 'volume' }, status: { phase: 'Bound' } }),
    );
    await world.settle();
    expect(await nodeOf('a/web')).toBe('node2');
  });

  it('counts pods it bound a moment ago', async () => {
    const half = asking({ memory: '5Gi' });
    await schedule(
      node('node1'),
      node('node2'),
      pod('a/one', { spec: half }),
      pod('a/two', { spec: half }),
      pod('a/three', { spec: half }),
    );
    const nodes = await Promise.all(['a/one', 'a/two', 'a/three'].map(nodeOf));
    expect(new Set(nodes)).toEqual(new Set(['node1', 'node2', undefined]));
    const placed = nodes.findIndex((name) => name === 'node1');
    await world.client.delete(
      PodKind,
      { namespace: 'a', name: ['one', 'two', 'three'][placed] ?? '' },
      { gracePeriodSeconds: 0 },
    );
    await world.settle();
    expect((await world.list(PodKind, 'a')).every(({ spec }) => spec?.nodeName)).toBe(true);
  });

  it('keeps pods apart, together, and evenly spread', async () => {
    const labels = { app: 'web' };
    const term = { labelSelector: { matchLabels: labels }, topologyKey: 'kubernetes.io/hostname' };
    const apart = { affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } };
    const together = { affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } };
    const metadata = (name: string) => ({ name, namespace: 'a', labels });
    await schedule(namespace('a'), node('node1'), node('node2'), pod('a/one', { metadata: metadata('one'), spec: apart }));
    await world.with(pod('a/two', { metadata: metadata('two'), spec: apart }));
    await world.settle();
    expect(new Set([await nodeOf('a/one'), await nodeOf('a/two')])).toEqual(new Set(['node1', 'node2']));
    await world.with(pod('a/three', { metadata: metadata('three'), spec: apart }), pod('a/friend', { spec: together }));
    await world.settle();
    expect((await scheduled('a/three'))?.message).toContain("2 node(s) didn't match pod anti-affinity rules");
    expect(await nodeOf('a/friend')).toBeDefined();
    const spread = {
      topologySpreadConstraints: [
        { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule', labelSelector: { matchLabels: labels } },
      ],
    };
    await world.with(pod('a/spread', { spec: spread }));
    await world.settle();
    expect((await scheduled('a/spread'))?.message).toContain('(missing required label)');
  });

  it('sends a claim that waits for its consumer to the chosen node, and binds the pod when it has its volume', async () => {
    await schedule(node('node1'), storageClass('local'), pvc('a/disk'), pod('a/web', { spec: mounting('disk') }));
    const claim = await world.get(PersistentVolumeClaimKind, 'a/disk');
    expect(claim.metadata.annotations).toMatchObject({
      'volume.kubernetes.io/selected-node': 'node1',
      'volume.kubernetes.io/storage-provisioner': 'local.slipway.dev',
    });
    expect(await nodeOf('a/web')).toBeUndefined();
    await world.with(pv('volume'));
    const bound = await world.client.update(PersistentVolumeClaimKind, {
      ...claim,
      spec: { ...claim.spec, volumeName: 'volume' },
    });
    await world.client.update(PersistentVolumeClaimKind, { ...bound, status: { phase: 'Bound' } }, { subresource: 'status' });
    await world.settle();
    expect(await nodeOf('a/web')).toBe('node1');
  });

  it('does not complain about a claim whose binding is being written', async () => {
    const binding = pvc('a/disk', { spec: { volumeName: 'volume' } });
    await schedule(node('node1'), storageClass('local'), pv('volume'), binding, pod('a/web', { spec: mounting('disk') }));
    expect(await scheduled('a/web')).toBeUndefined();
    const claim = await world.get(PersistentVolumeClaimKind, 'a/disk');
    await world.client.update(PersistentVolumeClaimKind, { ...claim, status: { phase: 'Bound' } }, { subresource: 'status' });
    await world.settle();
    expect(await world.events(pod('a/web'))).toEqual(['Normal Scheduled Successfully assigned a/web to node1']);
  });

  it('reserves an existing volume rather than asking for a new one', async () => {
    await schedule(
      node('node1'),
      storageClass('local'),
      pv('free', { status: { phase: 'Available' } }),
      pvc('a/disk'),
      pod('a/web', { spec: mounting('disk') }),
    );
    expect((await world.get(PersistentVolumeKind, 'free')).spec?.claimRef).toMatchObject({ name: 'disk', namespace: 'a' });
  });

  it('goes where the volume is', async () => {
    const bound = pvc('a/disk', { spec: { volumeName: 'volume' }, status: { phase: 'Bound' } });
    await schedule(
      node('node1'),
      node('node2'),
      storageClass('local'),
      pv('volume', { spec: { nodeAffinity: onNode('node2') } }),
      bound,
      pod('a/web', { spec: mounting('disk') }),
    );
    expect(await nodeOf('a/web')).toBe('node2');
    await world.with(pod('a/pinned', { spec: { ...mounting('disk'), nodeSelector: { 'kubernetes.io/hostname': 'node1' } } }));
    await world.settle();
    expect((await scheduled('a/pinned'))?.message).toContain('1 node(s) had volume node affinity conflict');
  });

  it('waits for immediate claims', async () => {
    await schedule(
      node('node1'),
      storageClass('now', { volumeBindingMode: 'Immediate' }),
      pvc('a/disk', { spec: { storageClassName: 'now' } }),
      pod('a/web', { spec: mounting('disk') }),
    );
    expect((await scheduled('a/web'))?.message).toContain('pod has unbound immediate PersistentVolumeClaims');
  });

  it('waits for gates', async () => {
    const gated = pod('a/gated', { spec: { schedulingGates: [{ name: 'g' }] } });
    world = await testWorld({ api: 'memory', controllers: [schedulerController, nodeLifecycleController] }).with(
      node('node1'),
      gated,
    );
    await world.settle();
    expect(await scheduled('a/gated')).toMatchObject({ status: 'False', reason: 'SchedulingGated' });
    expect(await nodeOf('a/gated')).toBeUndefined();
  });
});

describe('preemption', () => {
  const sized = (name: string, priority: number, cpu: string) =>
    pod(`a/${name}`, { spec: { ...asking({ cpu }), priorityClassName: `p${priority}` } });
  const classes = [0, 5, 10].map((value) => built(PriorityClassKind, `p${value}`, { value }));

  it('ends the least important pods that are in the way, and no more', async () => {
    await schedule(node('node1'), ...classes);
    await world.with(sized('low', 0, '2'), sized('middle', 5, '1'));
    await world.settle();
    await world.with(sized('high', 10, '2500m'));
    await world.settle();
    expect((await world.get(PodKind, 'a/low')).metadata.deletionTimestamp).toBeDefined();
    expect((await world.get(PodKind, 'a/middle')).metadata.deletionTimestamp).toBeUndefined();
    expect((await world.get(PodKind, 'a/high')).status?.nominatedNodeName).toBe('node1');
    await world.client.delete(PodKind, { namespace: 'a', name: 'low' }, { gracePeriodSeconds: 0 });
    await world.settle();
    expect(await nodeOf('a/high')).toBe('node1');
  });

  it('leaves pods of the same priority alone', async () => {
    await schedule(node('node1'), ...classes);
    await world.with(sized('one', 5, '3'));
    await world.settle();
    await world.with(sized('two', 5, '3'));
    await world.settle();
    expect((await world.get(PodKind, 'a/one')).metadata.deletionTimestamp).toBeUndefined();
    expect(await nodeOf('a/two')).toBeUndefined();
  });
});
