import type { VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { offerMessage, placesMessage, readOffer, readPlaces } from './messages.ts';
import { failedMigration, movedInstance, publishedPort, roleOf, withMigrationState } from './migration-state.ts';
import { moveTrace } from './move-trace.ts';
import { downtimeLimitMs, downtimeSteps, jobLimits, newProgress, watchJob } from './watch-job.ts';

const NOW = Date.parse('2026-01-02T03:04:05Z');
const GIB = 1024 ** 3;

const instance = (state: object = {}, labels: Record<string, string> = {}): VirtualMachineInstance =>
  ({
    metadata: { name: 'box', labels: { 'kubevirt.io/nodeName': 'a', 'kubevirt.io/migrationTargetNodeName': 'b', ...labels } },
    status: {
      ...{ phase: 'Running', nodeName: 'a' },
      migrationState: { migrationUid: 'm', sourceNode: 'a', sourcePod: 'one', targetNode: 'b', targetPod: 'two', ...state },
    },
  }) as unknown as VirtualMachineInstance; // what a migration looks at

describe('the state of a migration', () => {
  it.each([
    ['source', 'one', 'a', 'source'],
    ['target', 'two', 'b', 'target'],
    ['a pod that has no part in it', 'three', 'a', undefined],
    ['a pod of the same name on another node', 'one', 'b', undefined],
  ])('is understood by %s', (_, pod, node, side) => {
    expect(roleOf(instance(), pod, node)?.side).toBe(side);
    expect(roleOf(instance({ completed: true }), pod, node)).toBeUndefined();
  });

  it('says in one step that a guest is on its new node', () => {
    const moved = movedInstance(instance(), 'm', { node: 'b', nowMs: NOW });
    expect(moved.metadata.labels).toEqual({ 'kubevirt.io/nodeName': 'b' });
    expect(moved.status).toMatchObject({ nodeName: 'b', phase: 'Running', migrationState: { completed: true } });
    expect(moved.status?.migrationState?.endTimestamp).toBe('2026-01-02T03:04:05Z');
    expect(movedInstance(moved, 'm', { node: 'b', nowMs: NOW + 1 })).toBe(moved);
  });

  it('leaves another migration alone', () => {
    const vmi = instance({ migrationUid: 'other' });
    expect(movedInstance(vmi, 'm', { node: 'b', nowMs: NOW })).toBe(vmi);
    expect(failedMigration(vmi, 'm', { reason: 'no', isAborted: true, nowMs: NOW })).toBe(vmi);
    expect(withMigrationState(vmi, 'm', (state) => ({ ...state, mode: 'Paused' }))).toBe(vmi);
  });

  it('says why a guest stays, and whether that was wanted', () => {
    const failed = failedMigration(instance(), 'm', { reason: 'too slow', isAborted: false, nowMs: NOW });
    expect(failed.status).toMatchObject({
      nodeName: 'a',
      migrationState: { completed: true, failed: true, failureReason: 'too slow' },
    });
    expect(failed.status?.migrationState).not.toHaveProperty('abortStatus');
    const aborted = failedMigration(instance(), 'm', { reason: 'aborted', isAborted: true, nowMs: NOW });
    expect(aborted.status?.migrationState?.abortStatus).toBe('Succeeded');
  });

  it.each([
    [{ targetNodeAddress: '10.0.0.2', targetDirectMigrationNodePorts: { '4711': 0 } }, 4711],
    [{ targetNodeAddress: '10.0.0.2', targetDirectMigrationNodePorts: {} }, undefined],
    [{ targetNodeAddress: '10.0.0.2', targetDirectMigrationNodePorts: { '99999': 0 } }, undefined],
    [{ targetDirectMigrationNodePorts: { '4711': 0 } }, undefined],
  ])('names a port: %j', (state, port) => {
    expect(publishedPort(state)).toBe(port);
  });
});

describe('what agents say to each other', () => {
  const disk = {
    name: 'root',
    transfer: 'copied',
    virtualSizeBytes: 1024,
    claimName: 'root-claim',
    allocatedBytes: 512,
  } as const;
  const places = {
    disks: new Map([['root', { path: '/run/vm/disk', format: 'raw' }]]),
    taps: new Map([['default', 'tap0']]),
    files: new Map([['nvram', '/state/nvram.fd']]),
    target: { podUid: '11111111-2222', link: ['10.0.0.2', 'fd00::2'] },
  };

  it('comes back as it was', () => {
    expect(readOffer(offerMessage({ disks: [disk] }))).toEqual({ disks: [disk] });
    expect(readPlaces(placesMessage(places))).toEqual(places);
  });

  it.each([
    ['an unknown transfer', { disks: [{ ...disk, transfer: 'stolen' }] }],
    ['a size that is none', { disks: [{ ...disk, virtualSizeBytes: -1 }] }],
    ['a size beyond all disks', { disks: [{ ...disk, virtualSizeBytes: 2 ** 52 }] }],
    ['a name with a path in it', { disks: [{ ...disk, name: '../root' }] }],
    ['no list', { disks: 'root' }],
    ['too many', { disks: Array.from({ length: 257 }, () => disk) }],
  ])('is refused for %s', (_, message) => {
    expect(() => readOffer({ type: 'offer', ...message })).toThrow('The peer');
  });

  it.each([
    ['a path with quotes', { disks: [{ name: 'root', path: `/disk'/><serial type='file'`, format: 'raw' }] }],
    ['a path that is relative', { disks: [{ name: 'root', path: 'disk', format: 'raw' }] }],
    ['a format that is none', { disks: [{ name: 'root', path: '/disk', format: 'vmdk' }] }],
    ['a link that is too long', { taps: { default: 'tap0123456789abcdef' } }],
    ['an address that is none', { target: { podUid: 'x', link: ['example.com'] } }],
    ['no target', { target: undefined }],
  ])('is refused for %s', (_, message) => {
    expect(() => readPlaces({ ...placesMessage(places), ...message })).toThrow('The peer');
  });
});

describe('the watch over a job', () => {
  const limits = { progressTimeoutMs: 10_000, completionTimeoutMs: 60_000, mayPause: false };
  const at = (remainingBytes: number, nowMs: number, before = newProgress(0), how = limits) =>
    watchJob(before, how, { remainingBytes, nowMs });

  it('gives time that grows with what is sent', () => {
    expect(jobLimits({ completionTimeoutPerGiB: 20, progressTimeout: 5 }, 3 * GIB)).toEqual({
      ...{ progressTimeoutMs: 5_000, completionTimeoutMs: 60_000, mayPause: false },
    });
    expect(jobLimits(undefined, 1)).toMatchObject({ completionTimeoutMs: 150_000, progressTimeoutMs: 150_000 });
    expect(jobLimits({ allowPostCopy: true }, 1).mayPause).toBe(true);
    expect(jobLimits({ allowPostCopy: true, allowWorkloadDisruption: false }, 1).mayPause).toBe(false);
  });

  it.each([
    ['kvm', 0, 900, 50],
    ['kvm', 3, 900, 50],
    ['kvm', 4, 900, 100],
    ['kvm', 7, 900, 800],
    ['kvm', 8, 900, 900],
    ['kvm', 1000, 900, 900],
    ['kvm', 1, 20, 20],
    ['kvm', 6, 10_000, 400],
    ['qemu', 1, 900, 300],
    ['qemu', 2, 900, 600],
    ['qemu', 3, 900, 900],
    ['qemu', 1, 100, 100],
  ])(
    'lets a guest (%s) stand still longer the more rounds it takes: in round %s, of at most %s ms',
    (type, round, mostMs, limitMs) => {
      const steps = downtimeSteps(`<domain id='1' type='${type}'><name>type='qemu'</name></domain>`);
      expect(downtimeLimitMs(steps, round, mostMs)).toBe(limitMs);
    },
  );

  it('waits while it makes progress', () => {
    const { progress, step } = at(100, 1_000);
    expect(step).toEqual({ type: 'wait' });
    expect(at(99, 11_000, progress).step).toEqual({ type: 'wait' });
  });

  it('aborts one that is stuck', () => {
    const { progress } = at(100, 1_000);
    expect(at(100, 12_000, progress).step).toMatchObject({
      type: 'abort',
      reason: expect.stringContaining('stuck for 11 seconds'),
    });
  });

  it('aborts one that takes too long', () => {
    const { progress } = at(100, 59_000);
    expect(at(50, 61_000, progress).step).toMatchObject({ reason: expect.stringContaining('not completed after 61 seconds') });
  });

  it('stops the guest once where that is allowed, and gives it the same time again', () => {
    const how = { ...limits, mayPause: true };
    const first = at(50, 61_000, at(100, 59_000).progress, how);
    expect(first.step).toEqual({ type: 'pause' });
    const second = at(40, 62_000, first.progress, how);
    expect(second.step).toEqual({ type: 'wait' });
    const third = at(30, 119_000, { ...second.progress, progressedMs: 118_000 }, how);
    expect(at(20, 121_000, third.progress, how).step.type).toBe('abort');
  });
});

describe('the steps of a migration', () => {
  it('are told in the order in which they were reached last, since the first of them', () => {
    let now = 1_000;
    const trace = moveTrace({ now: () => now });
    for (const step of ['asked', 'event', 'asked', 'running']) {
      trace.note(step);
      now += 10;
    }
    expect(trace.times()).toEqual({ beganMs: 1_010, steps: { event: 0, asked: 10, running: 20 } });
    expect(Object.keys(trace.times().steps)).toEqual(['event', 'asked', 'running']);
  });
});
