import { DataVolumeKind, EventKind, VirtualMachineInstanceMigrationKind } from '@slipway/api';
import { built, node, pod, pvc, storageClass, vm, vmi } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { explainWhy } from './explain-why.ts';
import type { ClusterLists } from './scheduling-facts.ts';
import { type NamespaceLists, selectFacts, type WhyKind } from './select-facts.ts';

const NOW = Date.parse('2026-01-01T00:10:00Z');
const launcher = (spec: object = {}, more: object = {}) =>
  pod('default/virt-launcher-web-abcde', {
    metadata: {
      ...{ name: 'virt-launcher-web-abcde', namespace: 'default', uid: 'pod-uid', labels: { 'kubevirt.io': 'virt-launcher' } },
      ownerReferences: [
        { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', name: 'web', uid: 'vmi-uid', controller: true },
      ],
    },
    spec,
    ...more,
  }).object;
const machine = (spec: object = {}, status: object = {}) =>
  vm('web', {
    metadata: { name: 'web', namespace: 'default', uid: 'vm-uid' },
    spec: { runStrategy: 'Always', template: { spec: { domain: { devices: {} } } }, ...spec },
    status,
  }).object;
const instance = (status: object, spec: object = {}) =>
  vmi('web', { metadata: { name: 'web', namespace: 'default', uid: 'vmi-uid' }, spec, status }).object;

const EMPTY: NamespaceLists = {
  ...{ vms: [], vmis: [], pods: [], dataVolumes: [], claims: [], storageClasses: [], migrations: [], events: [], nowMs: NOW },
};
const cluster = (lists: Partial<ClusterLists>): ClusterLists => ({
  ...{ nodes: [], pods: [], namespaces: [], claims: [], volumes: [], storageClasses: [], snapshots: [], snapshotContents: [] },
  ...{ budgets: [], ...lists },
});

function explain(lists: Partial<NamespaceLists>, around?: Partial<ClusterLists>, kind?: WhyKind) {
  const all = { ...EMPTY, ...lists };
  const facts = selectFacts({ kind, name: 'web' }, all, around && cluster({ pods: all.pods, ...around }));
  if (facts === undefined) throw new Error('Nothing of that name');
  return explainWhy(facts);
}

describe('why', () => {
  it('says of every node why it does not take the pod, in the words of the event and with numbers', () => {
    const waiting = launcher({
      nodeSelector: { gpu: 'yes' },
      containers: [{ name: 'compute', image: 'x', resources: { requests: { memory: '6Gi', cpu: '500m' } } }],
    });
    const other = launcher({
      nodeName: 'c',
      containers: [{ name: 'compute', image: 'x', resources: { requests: { memory: '3Gi' } } }],
    });
    const nodes = [
      node('a', { spec: { taints: [{ key: 'k', value: 'v', effect: 'NoSchedule' }] } }).object,
      node('b', { metadata: { name: 'b', labels: { gpu: 'yes' } }, spec: { unschedulable: true } }).object,
      node('c', { metadata: { name: 'c', labels: { gpu: 'yes' } } }).object,
    ];
    const report = explain(
      {
        vms: [machine({}, { printableStatus: 'ErrorUnschedulable' })],
        vmis: [instance({ phase: 'Scheduling' })],
        pods: [waiting],
      },
      { nodes, pods: [waiting, other] },
    );
    expect(report).toMatchObject({
      state: 'waiting',
      summary: 'waits (ErrorUnschedulable): none of 3 nodes takes it',
      nodes: [
        {
          ...{ node: 'a', status: 'Ready', isPossible: false, reasons: ['node(s) had untolerated taint {k: v}'] },
          details: ['no toleration for its taint k=v:NoSchedule', 'nodeSelector wants gpu=yes; the node has no such label'],
        },
        {
          ...{ node: 'b', status: 'Ready,SchedulingDisabled', reasons: ['node(s) were unschedulable'] },
          details: ['it is cordoned; `slipway node uncordon b` ends that'],
        },
        { node: 'c', reasons: ['Insufficient memory'], details: ['memory: asks for 6Gi, free are 5Gi of 8Gi'] },
      ],
      scheduling:
        '0/3 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint {k: v}, 1 node(s) were unschedulable. preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.',
    });
  });

  it('says that there is no node at all, and repeats what the pod says for who may not see nodes', () => {
    const said = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/1 nodes are available: x.' };
    const waiting = launcher({}, { status: { phase: 'Pending', conditions: [said] } });
    const lists = { vmis: [instance({ phase: 'Scheduling' })], pods: [waiting] };
    expect(explain(lists, {}).causes.map(({ message }) => message)).toEqual(['no nodes available to schedule pods']);
    expect(explain(lists).causes.map(({ message }) => message)).toEqual(['0/1 nodes are available: x.']);
  });

  it.each([
    [{ schedulerName: 'mine' }, 'it waits for the scheduler mine, which is not part of this platform'],
    [{ schedulingGates: [{ name: 'example.com/later' }] }, 'scheduling gates: example.com/later'],
  ])('does not judge nodes for a pod that nobody schedules yet: %j', (spec, message) => {
    const report = explain({ vmis: [instance({ phase: 'Scheduling' })], pods: [launcher(spec)] }, { nodes: [node('a').object] });
    expect([report.nodes, report.causes.map((cause) => cause.message)]).toEqual([[], [message]]);
  });

  it.each([
    [
      'an instance type that is missing, a quota, a refusal',
      { conditions: [{ type: 'Failure', status: 'True', reason: 'FailedCreate', message: 'exceeded quota: small' }] },
      'FailedCreate: exceeded quota: small',
    ],
    [
      'a back-off',
      { startFailure: { consecutiveFailCount: 2, retryAfterTimestamp: '2026-01-01T00:10:30Z' } },
      'CrashLoopBackOff: it has failed to start 2 time(s); the next try is in 30s',
    ],
  ])('tells the VM: %s', (_, status, expected) => {
    const { state, causes } = explain({ vms: [machine({}, status)] });
    expect([state, ...causes.map(({ reason, message }) => `${reason}: ${message}`)]).toEqual(['waiting', expected]);
  });

  it('follows the disks: an import, a claim of no class, a claim that is not there', () => {
    const volumes = ['import', 'odd', 'gone', 'later'].map((name) =>
      name === 'import' ? { name, dataVolume: { name } } : { name, persistentVolumeClaim: { claimName: name } },
    );
    const condition = { type: 'Running', status: 'False', message: 'got 404' };
    const dataVolume = built(DataVolumeKind, 'import', {
      status: { phase: 'ImportInProgress', progress: '12.00%', conditions: [condition] },
    }).object;
    const claim = (name: string, className: string) =>
      pvc(name, { spec: { storageClassName: className }, status: { phase: 'Pending' } }).object;
    const { causes } = explain({
      vms: [machine({ template: { spec: { domain: { devices: {} }, volumes } } })],
      dataVolumes: [dataVolume],
      claims: [claim('odd', 'nosuch'), claim('later', 'local')],
      storageClasses: [storageClass('local').object],
    });
    expect(causes.map(({ about, reason, message }) => `${about}: ${reason}: ${message}`)).toEqual([
      'DataVolume import: ImportInProgress: 12.00% done; got 404',
      'PersistentVolumeClaim odd: Pending: there is no storage class nosuch',
      'PersistentVolumeClaim gone: NotFound: there is no claim of this name',
    ]);
  });

  it('follows a pod that has a node: the image, and the node that is silent', () => {
    const state = { waiting: { reason: 'ErrImagePull', message: 'manifest unknown' } };
    const status = { phase: 'Pending', containerStatuses: [{ name: 'volumeroot', ready: false, state }] };
    const silent = { conditions: [{ type: 'Ready', status: 'Unknown', message: 'Kubelet stopped posting node status.' }] };
    const { causes } = explain(
      { vmis: [instance({ phase: 'Scheduling' })], pods: [launcher({ nodeName: 'a' }, { status })] },
      { nodes: [node('a', { status: silent }).object] },
    );
    expect(causes.map(({ about, reason, message }) => `${about}: ${reason}: ${message}`)).toEqual([
      'Pod virt-launcher-web-abcde: ErrImagePull: manifest unknown',
      'Node a: NotReady: Kubelet stopped posting node status.',
    ]);
  });

  it.each(['Halted', 'Manual'])('calls a VM stopped that shall not run: %s', (runStrategy) => {
    const { state, summary, causes } = explain({ vms: [machine({ runStrategy }, { printableStatus: 'Stopped' })] });
    expect([state, summary, causes]).toEqual(['stopped', `is stopped (Stopped), as its run strategy ${runStrategy} says`, []]);
  });

  it('says of a guest that runs why it cannot move, and how the last attempt ended', () => {
    const migratable = {
      type: 'LiveMigratable',
      status: 'False',
      reason: 'HostDeviceNotLiveMigratable',
      message: 'it has a GPU',
    };
    const failed = built(VirtualMachineInstanceMigrationKind, 'move', {
      ...{ spec: { vmiName: 'web' }, status: { phase: 'Failed', migrationState: { failureReason: 'link cut' } } },
    }).object;
    const report = explain({
      vmis: [instance({ phase: 'Running', nodeName: 'a', conditions: [migratable] })],
      migrations: [failed],
    });
    expect([report.state, report.summary, report.migration?.isPossible]).toEqual(['running', 'runs on a', false]);
    expect(report.migration?.causes.map(({ reason, message }) => `${reason}: ${message}`)).toEqual([
      'HostDeviceNotLiveMigratable: it has a GPU',
      'Failed: link cut',
    ]);
  });

  it('shows the last warnings about the subject once, newest first, and no others', () => {
    const warning = (name: string, uid: string, message: string, lastTimestamp: string) =>
      built(EventKind, name, {
        ...{ type: 'Warning', reason: 'FailedSync', message, lastTimestamp, involvedObject: { kind: 'Pod', name, uid } },
      }).object;
    const { warnings } = explain({
      vms: [machine()],
      events: [
        warning('a', 'vm-uid', 'old', '2026-01-01T00:00:00Z'),
        warning('b', 'vm-uid', 'new', '2026-01-01T00:09:50Z'),
        warning('c', 'vm-uid', 'new', '2026-01-01T00:09:40Z'),
        warning('d', 'other', 'foreign', '2026-01-01T00:09:55Z'),
      ],
    });
    expect(warnings.map(({ age, message }) => `${age} ${message}`)).toEqual(['10s new', '10m old']);
  });

  it('takes a name for the VM first, and keeps to the kind that is asked for', () => {
    const lists = { vms: [machine({ runStrategy: 'Halted' })], pods: [pod('web', { status: { phase: 'Running' } }).object] };
    expect(explain(lists).state).toBe('stopped');
    expect(explain(lists, undefined, 'pod').state).toBe('running');
    expect(selectFacts({ kind: 'vmi', name: 'web' }, { ...EMPTY, ...lists }, undefined)).toBeUndefined();
  });
});
