// Phases in the order in which a client that watches sees them, with the conditions and events of the last one.
import {
  CDIKind,
  type DataVolume,
  DataVolumeKind,
  PersistentVolumeClaimKind,
  PodKind,
  VolumeSnapshotClassKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import { built, type Built, pv, pvc, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { cdiControllers } from '../index.ts';

let world: TestWorld;
afterEach(() => world.close());

const DEFAULT = { metadata: { annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } } };
const waiting = storageClass('local', { ...DEFAULT, allowVolumeExpansion: true });
const immediate = storageClass('local', { ...DEFAULT, volumeBindingMode: 'Immediate', allowVolumeExpansion: true });
const snapshotClass = built(VolumeSnapshotClassKind, 'local', { driver: 'local.slipway.dev', deletionPolicy: 'Delete' });
const golden = [
  pv('golden', { metadata: { annotations: { 'pv.kubernetes.io/provisioned-by': 'local.slipway.dev' } } }),
  pvc('a/golden', { spec: { volumeName: 'golden' }, status: { phase: 'Bound', capacity: { storage: '1Gi' } } }),
];
const CLONE = { source: { pvc: { namespace: 'a', name: 'golden' } }, storage: {} };
const SIZE = { resources: { requests: { storage: '1Gi' } } };
const from = (source: object): object => ({ source, storage: SIZE });
const HTTP = from({ http: { url: 'http://images.example.com/disk.qcow2' } });

/** Something that happens to the objects around the DataVolume; the controllers come to rest after it. */
type Step = () => Promise<unknown>;

const claimKey = { namespace: 'a', name: 'disk' };
const annotate =
  (annotations: Record<string, string>): Step =>
  () =>
    world.client.patch(PersistentVolumeClaimKind, claimKey, { metadata: { annotations } }, { type: 'merge' });
const claimPhase =
  (phase: string): Step =>
  async () => {
    await world.client.patch(PersistentVolumeClaimKind, claimKey, { spec: { volumeName: 'pv1' } }, { type: 'merge' });
    await world.client.patch(
      PersistentVolumeClaimKind,
      claimKey,
      { status: { phase } },
      { type: 'merge', subresource: 'status' },
    );
  };
const bind = claimPhase('Bound');
const select = annotate({ 'volume.kubernetes.io/selected-node': 'node1' });
const worker =
  (name: string, phase: string, state: object, ready = phase === 'Running'): Step =>
  () =>
    world.client.patch(
      PodKind,
      { namespace: 'a', name },
      { status: { phase, containerStatuses: [{ name: 'importer', ready, restartCount: 0, ...state }] } },
      { type: 'merge', subresource: 'status' },
    );
const runs = (name: string): Step => worker(name, 'Running', { state: { running: {} } });
const ends = (name: string, message = '{}'): Step =>
  worker(name, 'Succeeded', { state: { terminated: { exitCode: 0, message } } });
const fails = (name: string): Step =>
  worker(name, 'Running', {
    state: { waiting: {} },
    lastState: { terminated: { exitCode: 1, reason: 'Error', message: 'no route' } },
  });
const snapshotReady: Step = async () => {
  const [snapshot] = await world.list(VolumeSnapshotKind, 'a');
  const key = { namespace: 'a', name: snapshot?.metadata.name ?? '' };
  await world.client.patch(VolumeSnapshotKind, key, { status: { readyToUse: true } }, { type: 'merge', subresource: 'status' });
};

interface Scenario {
  readonly name: string;
  readonly spec: object;
  readonly annotations?: Record<string, string>;
  readonly around?: readonly Built[];
  readonly steps: readonly Step[];
  readonly phases: readonly string[];
  /** `Type Status Reason`, in the order Bound, Running, Ready. */
  readonly conditions: readonly [string, string, string];
  /** Reasons of the DataVolume's events, in their order. */
  readonly events: readonly string[];
}

const DONE = ['Bound True Bound', 'Running False Completed', 'Ready True '] as const;
const CLONED = ['Bound True Bound', 'Running False ', 'Ready True '] as const;
const IMPORT = ['ImportScheduled', 'ImportInProgress', 'ImportSucceeded'];

const SCENARIOS: readonly Scenario[] = [
  {
    name: 'an import of a class that binds at once',
    spec: HTTP,
    around: [immediate],
    steps: [bind, runs('importer-disk'), ends('importer-disk')],
    phases: ['Pending', 'ImportScheduled', 'ImportInProgress', 'Succeeded'],
    conditions: DONE,
    events: ['Pending', 'Bound', ...IMPORT],
  },
  {
    name: 'an import that waits for its consumer',
    spec: HTTP,
    around: [waiting],
    steps: [select, bind, runs('importer-disk'), ends('importer-disk')],
    phases: ['WaitForFirstConsumer', 'Pending', 'ImportScheduled', 'ImportInProgress', 'Succeeded'],
    conditions: DONE,
    events: ['Pending', 'Bound', ...IMPORT],
  },
  {
    name: 'an import whose worker fails once',
    spec: HTTP,
    around: [immediate],
    steps: [bind, fails('importer-disk'), runs('importer-disk'), ends('importer-disk')],
    phases: ['Pending', 'ImportScheduled', 'ImportInProgress', 'Succeeded'],
    conditions: DONE,
    events: ['Pending', 'Bound', 'ImportScheduled', 'ImportInProgress', 'ImportFailed', 'ImportSucceeded'],
  },
  {
    name: 'an import with a wrong checksum',
    spec: HTTP,
    around: [immediate],
    steps: [bind, ends('importer-disk', 'checksum mismatch: expected x')],
    phases: ['Pending', 'ImportScheduled', 'Failed'],
    conditions: ['Bound True Bound', 'Running False ChecksumError', 'Ready False '],
    events: ['Pending', 'Bound', 'ImportScheduled', 'ImportFailed', 'ImportFailed'],
  },
  {
    name: 'a blank disk',
    spec: from({ blank: {} }),
    around: [immediate],
    steps: [bind, ends('importer-disk')],
    phases: ['Pending', 'ImportScheduled', 'Succeeded'],
    conditions: DONE,
    events: ['Pending', 'Bound', 'ImportScheduled', 'ImportSucceeded'],
  },
  {
    name: 'an upload',
    spec: from({ upload: {} }),
    around: [immediate],
    steps: [bind, runs('cdi-upload-disk'), ends('cdi-upload-disk')],
    phases: ['Pending', 'UploadScheduled', 'UploadReady', 'Succeeded'],
    conditions: DONE,
    events: ['Pending', 'Bound', 'UploadScheduled', 'UploadReady', 'UploadSucceeded'],
  },
  {
    name: 'a clone by the provisioner',
    spec: CLONE,
    around: [waiting, ...golden],
    steps: [bind],
    phases: ['CloneScheduled', 'CSICloneInProgress', 'Succeeded'],
    conditions: CLONED,
    events: ['Pending', 'CloneScheduled', 'CSICloneInProgress', 'Bound', 'CloneSucceeded'],
  },
  {
    name: 'a clone by a snapshot',
    spec: CLONE,
    annotations: { 'cdi.kubevirt.io/cloneType': 'snapshot' },
    around: [waiting, snapshotClass, ...golden],
    steps: [snapshotReady, bind],
    phases: ['CloneScheduled', 'SnapshotForSmartCloneInProgress', 'CloneFromSnapshotSourceInProgress', 'Succeeded'],
    conditions: CLONED,
    events: [
      ...['Pending', 'CloneScheduled', 'SnapshotForSmartCloneInProgress', 'CloneFromSnapshotSourceInProgress'],
      ...['Bound', 'CloneSucceeded'],
    ],
  },
  {
    name: 'a clone by a copy, as the administrator wants it',
    spec: CLONE,
    around: [waiting, built(CDIKind, 'cdi', { spec: { cloneStrategyOverride: 'copy' } }), ...golden],
    steps: [bind],
    phases: ['CloneScheduled', 'CloneInProgress', 'Succeeded'],
    conditions: CLONED,
    events: ['Pending', 'CloneScheduled', 'CloneInProgress', 'Bound', 'CloneSucceeded'],
  },
  {
    name: 'a clone whose source comes later',
    spec: { ...CLONE, storage: SIZE },
    around: [waiting],
    steps: [() => world.with(...golden), bind],
    phases: ['Pending', 'CloneScheduled', 'CSICloneInProgress', 'Succeeded'],
    conditions: CLONED,
    events: ['CloneWithoutSource', 'Pending', 'CloneScheduled', 'CSICloneInProgress', 'Bound', 'CloneSucceeded'],
  },
  {
    name: 'a population by somebody else',
    spec: { storage: { ...SIZE, dataSourceRef: { apiGroup: 'example.com', kind: 'Tape', name: 'x' } } },
    around: [immediate],
    steps: [bind],
    phases: ['Pending', 'Succeeded'],
    conditions: CLONED,
    events: ['Pending', 'Bound', 'ExternalPopulationSucceeded'],
  },
  {
    name: 'a disk for which there is no class yet',
    spec: HTTP,
    steps: [() => world.with(immediate)],
    phases: ['', 'Pending'],
    conditions: ['Bound False Pending', 'Running False ', 'Ready False '],
    events: ['ErrClaimNotValid', 'Pending'],
  },
  {
    name: 'a disk that is lost',
    spec: HTTP,
    around: [immediate],
    steps: [bind, runs('importer-disk'), ends('importer-disk'), claimPhase('Lost')],
    phases: ['Pending', 'ImportScheduled', 'ImportInProgress', 'Succeeded', 'Failed'],
    conditions: ['Bound False ClaimLost', 'Running False Completed', 'Ready False '],
    events: ['Pending', 'Bound', ...IMPORT, 'ClaimLost', 'ErrClaimLost'],
  },
  {
    name: 'a disk that was filled before',
    spec: HTTP,
    around: [
      immediate,
      pvc('a/disk', {
        metadata: { annotations: { 'cdi.kubevirt.io/storage.populatedFor': 'disk' } },
        spec: { volumeName: 'pv1' },
        status: { phase: 'Bound' },
      }),
    ],
    steps: [],
    phases: ['Succeeded'],
    conditions: CLONED,
    events: ['Bound'],
  },
];

/** Every phase that is written, once per change; not `PVCBound`, which is there only until the worker is. */
function recordPhases(): string[] {
  const phases: string[] = [];
  const patch = world.client.patch.bind(world.client);
  const recording: typeof patch = async (kind, key, body, options) => {
    const answer = await patch(kind, key, body, options);
    const { phase } = (answer as unknown as DataVolume).status ?? {};
    if (kind.plural === 'datavolumes' && phase !== undefined && phase !== 'PVCBound' && phases.at(-1) !== phase)
      phases.push(phase);
    return answer;
  };
  Object.assign(world.client, { patch: recording });
  return phases;
}

describe('the phases of', () => {
  it.each(SCENARIOS)('$name', async ({ spec, annotations, around = [], steps, phases, conditions, events }) => {
    world = testWorld({ controllers: cdiControllers });
    const seen = recordPhases();
    const disk = built(DataVolumeKind, 'a/disk', { metadata: { ...(annotations && { annotations }) }, spec });
    await world.with(...around);
    await world.settle();
    await world.with(disk);
    await world.settle();
    for (const step of steps) {
      await step();
      await world.settle();
    }
    const { status } = await world.get(DataVolumeKind, 'a/disk');
    expect({
      phases: seen,
      conditions: status?.conditions?.map((condition) => `${condition.type} ${condition.status} ${condition.reason}`),
      events: (await world.events(disk)).map((event) => event.split(' ')[1]),
    }).toEqual({ phases, conditions, events });
    expect(status?.progress).toBe(status?.phase === 'Succeeded' || phases.includes('Succeeded') ? '100.0%' : 'N/A');
  });
});
