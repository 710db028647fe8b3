import {
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodDisruptionBudgetKind,
  PodKind,
  PriorityClassKind,
} from '@slipway/api';
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
import { podRequests } from './resources.ts';
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

  it.each([
    [
      'avoids a taint that only prefers, as seed clusters have it on nodes for guests',
      { spec: { taints: [{ key: 'virtualization', value: 'true', effect: 'PreferNoSchedule' }] } },
      {},
      'node2',
    ],
    [
      'does not avoid it with a toleration',
      { spec: { taints: [{ key: 'virtualization', value: 'true', effect: 'PreferNoSchedule' }] } },
      { tolerations: [{ key: 'virtualization', operator: 'Equal', value: 'true', effect: 'PreferNoSchedule' }] },
      'node1',
    ],
    [
      'follows a preferred affinity to a fuller node',
      { status: { allocatable: { cpu: '2', memory: '2Gi', pods: '9' } } },
      {
        affinity: {
          nodeAffinity: {
            preferredDuringSchedulingIgnoredDuringExecution: [
              { weight: 10, preference: { matchFields: [{ key: 'metadata.name', operator: 'In', values: ['node1'] }] } },
            ],
          },
        },
      },
      'node1',
    ],
  ])('%s', async (_, first, spec, expected) => {
    await schedule(node('node1', first), node('node2'), pod('a/web', { spec: { ...asking({ memory: '1Gi' }), ...spec } }));
    expect(await nodeOf('a/web')).toBe(expected);
  });

  it('spreads pods as well as it can where it need not', async () => {
    const labels = { app: 'web' };
    const spread = {
      topologySpreadConstraints: [
        {
          ...{ maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway' },
          labelSelector: { matchLabels: labels },
        },
      ],
    };
    const small = { status: { allocatable: { cpu: '1', memory: '2Gi', pods: '9' } } };
    const one = pod('a/one', { metadata: { name: 'one', namespace: 'a', labels }, spec: { nodeName: 'node1' } });
    await schedule(node('node1'), node('node2', small), one, pod('a/two', { spec: { ...asking({ cpu: '500m' }), ...spread } }));
    expect(await nodeOf('a/two')).toBe('node2');
  });

  it('lets a constraint without a selector count nothing', async () => {
    const spread = {
      topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'DoNotSchedule' }],
    };
    await schedule(
      node('node1'),
      node('node2', { spec: { unschedulable: true } }),
      ...['one', 'two', 'three'].map((name) => pod(`a/${name}`, { spec: { ...spread, nodeName: 'node1' } })),
      pod('a/four', { spec: spread }),
    );
    expect(await nodeOf('a/four')).toBe('node1');
  });

  it('comes back to a pod when the company that it waits for has come', async () => {
    const labels = { app: 'web' };
    const term = { labelSelector: { matchLabels: labels }, topologyKey: 'kubernetes.io/hostname' };
    const together = { affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } };
    await schedule(node('node1'), pod('a/friend', { spec: together }));
    expect((await scheduled('a/friend'))?.message).toContain("1 node(s) didn't match pod affinity rules");
    await world.with(pod('a/web', { metadata: { name: 'web', namespace: 'a', labels } }));
    await world.settle();
    expect(await nodeOf('a/friend')).toBe('node1');
  });

  it('gives a port of a node to one pod', async () => {
    const serving = (hostIP: string) => ({
      containers: [{ name: 'main', image: 'x', ports: [{ containerPort: 80, hostPort: 8080, hostIP }] }],
    });
    await schedule(
      node('node1'),
      pod('a/one', { spec: { ...serving(''), nodeName: 'node1' } }),
      pod('a/two', { spec: serving('') }),
    );
    expect((await scheduled('a/two'))?.message).toContain("1 node(s) didn't have free ports for the requested pod ports");
  });

  it('counts an init container that goes on with those after it', () => {
    const asks = (name: string, cpu: string, restartPolicy?: string) => ({
      ...{ name, image: 'x', resources: { requests: { cpu } } },
      ...(restartPolicy && { restartPolicy }),
    });
    const { object } = pod('a/web', {
      spec: {
        initContainers: [asks('first', '3'), asks('beside', '1', 'Always'), asks('last', '2500m')],
        containers: [asks('main', '2')],
      },
    });
    expect(podRequests(object).get('cpu')).toBe(3500);
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

  it('spares pods whose budget needs them, where others are in the way too', async () => {
    await schedule(node('node1'), node('node2'), ...classes);
    const placed = (name: string, where: string, labels: Record<string, string>) =>
      pod(`a/${name}`, {
        metadata: { name, namespace: 'a', labels },
        spec: { ...asking({ cpu: '3' }), priorityClassName: 'p0', nodeName: where },
        status: { phase: 'Running' },
      });
    await world.with(
      placed('needed', 'node1', { app: 'db' }),
      placed('spare', 'node2', { app: 'web' }),
      built(PodDisruptionBudgetKind, 'a/db', {
        ...{ spec: { minAvailable: 1, selector: { matchLabels: { app: 'db' } } }, status: { disruptionsAllowed: 0 } },
      }),
    );
    await world.with(sized('high', 10, '3'));
    await world.settle();
    expect((await world.get(PodKind, 'a/needed')).metadata.deletionTimestamp).toBeUndefined();
    expect((await world.get(PodKind, 'a/high')).status?.nominatedNodeName).toBe('node2');
  });

  it('ends nobody for a pod whose class says so, and says that', async () => {
    const meek = built(PriorityClassKind, 'meek', { value: 10, preemptionPolicy: 'Never' });
    await schedule(node('node1'), ...classes, meek);
    await world.with(sized('low', 0, '3'));
    await world.settle();
    await world.with(pod('a/patient', { spec: { ...asking({ cpu: '3' }), priorityClassName: 'meek' } }));
    await world.settle();
    expect((await world.get(PodKind, 'a/low')).metadata.deletionTimestamp).toBeUndefined();
    expect((await scheduled('a/patient'))?.message).toBe(
      '0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.',
    );
  });

  it('gives the nomination up when the room went to somebody more important', async () => {
    await schedule(node('node1'), ...classes);
    await world.with(sized('low', 0, '3'));
    await world.settle();
    await world.with(sized('middle', 5, '3'));
    await world.settle();
    expect((await world.get(PodKind, 'a/middle')).status?.nominatedNodeName).toBe('node1');
    await world.with(sized('high', 10, '3'));
    await world.settle();
    await world.client.delete(PodKind, { namespace: 'a', name: 'low' }, { gracePeriodSeconds: 0 });
    await world.settle();
    expect(await nodeOf('a/high')).toBe('node1');
    await world.advance(60_000);
    const middle = await world.get(PodKind, 'a/middle');
    expect([middle.spec?.nodeName, middle.status?.nominatedNodeName]).toEqual([undefined, undefined]);
  });
});
