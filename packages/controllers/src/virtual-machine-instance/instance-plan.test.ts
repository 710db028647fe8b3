import type { DataVolume, Node, PersistentVolumeClaim, Pod, VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { type InstanceInput, planInstance } from './instance-plan.ts';
import { conditionOf } from './instance-state.ts';

const NOW = Date.parse('2026-05-01T12:00:00Z');

const instance = (
  phase: string,
  extra: { deleting?: boolean; volumes?: VirtualMachineInstance['spec']['volumes'] } = {},
): VirtualMachineInstance => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachineInstance',
  metadata: {
    name: 'web',
    namespace: 'shop',
    uid: 'vmi-1',
    creationTimestamp: '2026-05-01T11:59:59Z',
    finalizers: ['kubevirt.io/virtualMachineControllerFinalize', 'kubevirt.io/foregroundDeleteVirtualMachine'],
    ...(extra.deleting && { deletionTimestamp: '2026-05-01T12:00:00Z' }),
  },
  spec: { domain: { devices: {} }, ...(extra.volumes && { volumes: extra.volumes }) },
  status: { phase, phaseTransitionTimestamps: [{ phase: 'Pending', phaseTransitionTimestamp: '2026-05-01T11:59:59Z' }] },
});

type PodShape = {
  phase?: string;
  ready?: boolean;
  deleting?: boolean;
  waiting?: string;
  unschedulable?: boolean;
  ageMs?: number;
};
const launcher = ({
  phase = 'Pending',
  ready = false,
  deleting,
  waiting,
  unschedulable,
  ageMs = 60_000,
}: PodShape = {}): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: 'virt-launcher-web-abcde',
    namespace: 'shop',
    uid: 'pod-1',
    labels: { 'kubevirt.io': 'virt-launcher' },
    ownerReferences: [{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', name: 'web', uid: 'vmi-1' }],
    creationTimestamp: new Date(NOW - ageMs).toISOString(),
    ...(deleting && { deletionTimestamp: '2026-05-01T12:00:00Z' }),
  },
  spec: { nodeName: 'node-a', containers: [{ name: 'compute', image: 'slipway/virt-launcher' }] },
  status: {
    phase,
    conditions: [
      { type: 'Ready', status: ready ? 'True' : 'False' },
      ...(unschedulable ? [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/1 nodes fit' }] : []),
    ],
    containerStatuses: [
      {
        name: 'compute',
        ready,
        image: '',
        imageID: '',
        restartCount: 0,
        ...(waiting && { state: { waiting: { reason: waiting, message: 'no such image' } } }),
      },
    ],
  },
});

const plan = (vmi: VirtualMachineInstance, pods: Pod[], more: Partial<InstanceInput> = {}) =>
  planInstance({
    vmi,
    pods,
    storage: { claims: new Map(), dataVolumes: new Map() },
    node: undefined,
    hasOwnerVm: true,
    nowMs: NOW,
    ...more,
  });

const said = (vmi: VirtualMachineInstance | undefined, type: string): string => {
  const condition = conditionOf(vmi, type);
  return condition === undefined ? '-' : `${condition.status}${condition.reason ? `=${condition.reason}` : ''}`;
};

describe('phases', () => {
  it.each([
    ['Pending', [], false, undefined],
    ['Pending', [launcher({})], false, 'Scheduling'],
    ['Pending', [launcher({ phase: 'Running', ready: true })], false, 'Scheduled'],
    ['Pending', [launcher({ phase: 'Failed' })], false, 'Failed'],
    ['Pending', [], true, 'Failed'],
    ['Scheduling', [launcher({ phase: 'Running', ready: true })], false, 'Scheduled'],
    ['Scheduling', [launcher({ deleting: true })], false, 'Failed'],
    ['Scheduling', [launcher({})], true, 'Failed'],
    ['Scheduling', [], false, 'Failed'],
    ['Scheduled', [], false, 'Failed'],
    ['Running', [], false, 'Failed'],
    ['Running', [launcher({ phase: 'Running', ready: true })], true, 'Running'],
    ['Succeeded', [], false, 'Succeeded'],
  ] as const)('%s with pods %j, deleting %s becomes %s', (phase, pods, deleting, expected) => {
    const { update } = plan(instance(phase, { deleting }), [...pods]);
    expect(update?.status?.phase).toBe(expected);
  });

  it('lets the receiver of a guest wait, without a pod, until it is deleted', () => {
    const posted = instance('Pending');
    const receiver = {
      ...posted,
      metadata: { ...posted.metadata, annotations: { 'kubevirt.io/create-migration-target': 'true' } },
    };
    const waiting = plan(receiver, []);
    expect([waiting.createPod, waiting.update?.status?.phase]).toEqual([false, 'WaitingForSync']);
    const deleting = { ...receiver, status: { phase: 'WaitingForSync' } };
    deleting.metadata = { ...receiver.metadata, deletionTimestamp: '2026-05-01T12:00:00Z' };
    const { update } = plan(deleting, []);
    expect(update?.status?.phase).toBe('WaitingForSync');
    expect(update?.metadata.finalizers).toEqual(['kubevirt.io/virtualMachineControllerFinalize']);
  });

  it('tells of a node that is not ready', () => {
    const conditions = [{ type: 'Ready', status: 'False', reason: 'HostIncomplete', message: 'QEMU is not installed' }];
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-a' }, status: { conditions } } as const;
    const text = 'node node-a is not ready: QEMU is not installed';
    const ready = launcher({ phase: 'Running', ready: true });
    const running = plan(instance('Running'), [ready], { node: node as never }).update; // what the plan reads of a node
    expect(conditionOf(running, 'Ready')).toMatchObject({ status: 'False', reason: 'NodeNotReady', message: text });
    const waiting = plan(instance('Pending'), [launcher({ unschedulable: true })], { unreadyNodes: [node as never] }).update; // as above
    expect(conditionOf(waiting, 'PodScheduled')?.message).toBe(`0/1 nodes fit; ${text}`);
  });

  it('writes a fast start once, with the times of both phases, node, label and active pod', () => {
    const { update } = plan(instance('Pending'), [launcher({ phase: 'Running', ready: true })]);
    expect(update?.status?.phaseTransitionTimestamps?.map((entry) => entry.phase)).toEqual([
      'Pending',
      'Scheduling',
      'Scheduled',
    ]);
    expect(update?.status?.nodeName).toBe('node-a');
    expect(update?.metadata.labels).toEqual({ 'kubevirt.io/nodeName': 'node-a' });
    expect(update?.status?.activePods).toEqual({ 'pod-1': 'node-a' });
    expect(said(update, 'Ready')).toBe('False=GuestNotRunning');
  });

  it('holds the write of Scheduling back while the pod is young, and only then', () => {
    const young = plan(instance('Pending'), [launcher({ ageMs: 0 })]);
    expect(young.update).toBeUndefined();
    expect(young.retryInMs).toBeGreaterThan(0);
    const failing = plan(instance('Pending'), [launcher({ ageMs: 0, unschedulable: true })]);
    expect(said(failing.update, 'PodScheduled')).toBe('False=Unschedulable');
  });

  it('is stable: planning on its own result changes nothing', () => {
    const pods = [launcher({ phase: 'Running', ready: true })];
    const { update } = plan(instance('Pending'), pods);
    expect(plan(update as VirtualMachineInstance, pods, { nowMs: NOW + 90_000 }).update).toBeUndefined();
  });
});

describe('launcher pod', () => {
  it('is created once, without a write of its own', () => {
    expect(plan(instance('Pending'), [])).toMatchObject({ createPod: true, update: undefined });
    expect(plan(instance('Pending'), [launcher()]).createPod).toBe(false);
    expect(plan(instance('Pending', { deleting: true }), []).createPod).toBe(false);
    expect(plan(instance('Failed'), []).createPod).toBe(false);
  });

  it('is deleted when the instance goes and its guest has ended', () => {
    const running = launcher({ phase: 'Running', ready: true });
    expect(plan(instance('Running', { deleting: true }), [running]).deletePods).toEqual([]);
    expect(plan(instance('Succeeded', { deleting: true }), [running]).deletePods).toEqual([running]);
    expect(plan(instance('Succeeded'), [running]).deletePods).toEqual([]);
    expect(plan(instance('Scheduling', { deleting: true }), [launcher()]).deletePods).toHaveLength(1);
  });

  it('keeps the finalizer until the pod is gone, and the VM finalizer while a VM owns the instance', () => {
    const ended = instance('Failed', { deleting: true });
    expect(plan(ended, [launcher({ deleting: true })]).update?.metadata.finalizers).toHaveLength(2);
    expect(plan(ended, []).update?.metadata.finalizers).toEqual(['kubevirt.io/virtualMachineControllerFinalize']);
    expect(plan(ended, [], { hasOwnerVm: false }).update?.metadata.finalizers).toEqual([]);
  });
});

describe('conditions', () => {
  it.each([
    ['Running', launcher({ phase: 'Running', ready: true }), 'True'],
    ['Running', launcher({ phase: 'Running', ready: true, deleting: true }), 'False=PodTerminating'],
    ['Scheduling', launcher(), 'False=GuestNotRunning'],
    ['Succeeded', launcher({ phase: 'Succeeded' }), 'False=PodTerminating'],
    ['Failed', undefined, 'False=PodNotExists'],
  ] as const)('Ready of a %s instance', (phase, pod, expected) => {
    expect(said(plan(instance(phase), pod ? [pod] : []).update, 'Ready')).toBe(expected);
  });

  it('reports an image that cannot be pulled, and forgets it afterwards', () => {
    const stuck = plan(instance('Scheduling'), [launcher({ waiting: 'ImagePullBackOff' })]).update;
    expect(said(stuck, 'Synchronized')).toBe('False=ImagePullBackOff');
    const healed = plan(stuck as VirtualMachineInstance, [launcher({ phase: 'Running', ready: true })]).update;
    expect(said(healed, 'Synchronized')).toBe('-');
  });

  it('leaves the node agent its own conditions', () => {
    const vmi = instance('Running');
    vmi.status = {
      ...vmi.status,
      conditions: [{ type: 'Synchronized', status: 'False', reason: 'Synchronizing with the Domain failed.' }],
    };
    const { update } = plan(vmi, [launcher({ phase: 'Running', ready: true })]);
    expect(said(update, 'Synchronized')).toBe('False=Synchronizing with the Domain failed.');
  });
});

describe('storage', () => {
  const volumes = [{ name: 'root', dataVolume: { name: 'root-dv' } }];
  const storage = (phase: string | undefined, bound = false) => ({
    claims: new Map<string, PersistentVolumeClaim>(
      bound
        ? [
            [
              'root-dv',
              {
                apiVersion: 'v1',
                kind: 'PersistentVolumeClaim',
                metadata: { name: 'root-dv' },
                spec: { accessModes: ['ReadWriteOnce'] },
                status: { phase: 'Bound', capacity: { storage: '1Gi' } },
              },
            ],
          ]
        : [],
    ),
    dataVolumes: new Map<string, DataVolume>(
      phase === undefined
        ? []
        : [
            [
              'root-dv',
              {
                apiVersion: 'cdi.kubevirt.io/v1beta1',
                kind: 'DataVolume',
                metadata: { name: 'root-dv' },
                spec: {},
                status: { phase },
              },
            ],
          ],
    ),
  });

  it.each([
    ['ImportInProgress', false],
    ['WaitForFirstConsumer', true],
    ['PendingPopulation', true],
    ['Succeeded', true],
    ['Failed', false],
  ])('a DataVolume in %s: pod %s', (phase, createsPod) => {
    expect(plan(instance('Pending', { volumes }), [], { storage: storage(phase) }).createPod).toBe(createsPod);
  });

  it('waits with the hand-over until the volume is filled', () => {
    const pods = [launcher({ phase: 'Running', ready: true })];
    const filling = plan(instance('Pending', { volumes }), pods, { storage: storage('ImportInProgress', true) }).update;
    expect(filling?.status?.phase).toBe('Pending');
    expect(said(filling, 'Provisioning')).toBe('True');
    expect(said(filling, 'DataVolumesReady')).toBe('False=NotAllDVsReady');
    const filled = plan(filling as VirtualMachineInstance, pods, { storage: storage('Succeeded', true) }).update;
    expect(filled?.status?.phase).toBe('Scheduled');
    expect(said(filled, 'Provisioning')).toBe('-');
    expect(filled?.status?.volumeStatus?.[0]?.persistentVolumeClaimInfo?.claimName).toBe('root-dv');
  });

  it('fails with a failed DataVolume and names a claim that is missing', () => {
    expect(plan(instance('Pending', { volumes }), [], { storage: storage('Failed') }).update?.status?.phase).toBe('Failed');
    const missing = plan(instance('Pending', { volumes }), [], { storage: storage(undefined) }).update;
    expect(said(missing, 'Synchronized')).toBe('False=FailedPvcNotFound');
    expect(said(missing, 'PodScheduled')).toBe('False=Unschedulable');
  });
});

describe('a lost node', () => {
  const node = (sinceMs: number): Node => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-a' },
    status: { conditions: [{ type: 'Ready', status: 'Unknown', lastTransitionTime: new Date(NOW - sinceMs).toISOString() }] },
  });
  const placed = (): VirtualMachineInstance => {
    const vmi = instance('Running');
    vmi.status = { ...vmi.status, nodeName: 'node-a' };
    return vmi;
  };

  it('keeps its instances until their pods are gone: they may run', () => {
    const pods = [launcher({ phase: 'Running', ready: true, deleting: true })];
    expect(plan(placed(), pods, { node: node(60 * 60_000) }).update?.status?.phase).toBe('Running');
    expect(plan(placed(), [], { node: node(60_000) }).update?.status).toMatchObject({
      phase: 'Failed',
      reason: 'NodeUnresponsive',
    });
  });
});
