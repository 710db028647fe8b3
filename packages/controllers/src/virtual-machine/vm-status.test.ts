import type { DataVolume, PersistentVolumeClaim, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { type VmStatusInput, vmStatus } from './vm-status.ts';

const NOW = '2026-05-01T12:00:00Z';
type Cond = { type: string; status: string; reason?: string };

const machine = (runStrategy: string, more: Partial<VirtualMachine> = {}): VirtualMachine => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', namespace: 'shop', generation: 4 },
  spec: { runStrategy, template: { spec: { domain: { devices: {} } } } },
  ...more,
});
const instance = (phase: string, conditions: Cond[] = [], more: object = {}): VirtualMachineInstance => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachineInstance',
  metadata: { name: 'web', uid: 'vmi-1', annotations: { 'kubevirt.io/vm-generation': '3' }, ...more },
  spec: { domain: { devices: {} } },
  status: { phase, conditions },
});
const dataVolume = (phase: string): DataVolume => ({
  apiVersion: 'cdi.kubevirt.io/v1beta1',
  kind: 'DataVolume',
  metadata: { name: 'root' },
  spec: {},
  status: { phase },
});
const claim = (phase: string): PersistentVolumeClaim => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name: 'root' },
  status: { phase },
});
const status = (vm: VirtualMachine, vmi?: VirtualMachineInstance, more: Partial<VmStatusInput> = {}) =>
  vmStatus({
    vm,
    vmi,
    requests: [],
    startFailure: undefined,
    failure: undefined,
    restartReason: undefined,
    isStopping: false,
    isStarting: false,
    dataVolumes: [],
    claims: [],
    now: NOW,
    ...more,
  });

const failed = { consecutiveFailCount: 1 };
const notSynced = (reason: string): Cond => ({ type: 'Synchronized', status: 'False', reason });

describe('printableStatus', () => {
  it.each<readonly [string, VirtualMachine, VirtualMachineInstance | undefined, Partial<VmStatusInput>]>([
    ['Terminating', machine('Always', { metadata: { name: 'web', deletionTimestamp: NOW } }), instance('Running'), {}],
    ['Stopping', machine('Halted'), instance('Running'), { isStopping: true }],
    ['Stopping', machine('Always'), instance('Running', [], { deletionTimestamp: NOW }), {}],
    ['Stopped', machine('Halted'), instance('Succeeded', [], { deletionTimestamp: NOW }), {}],
    ['Paused', machine('Always'), instance('Running', [{ type: 'Paused', status: 'True' }]), {}],
    ['Running', machine('Always'), instance('Running'), { dataVolumes: [dataVolume('Failed')] }],
    ['ErrorPvcNotFound', machine('Always'), instance('Pending', [notSynced('FailedPvcNotFound')]), {}],
    ['DataVolumeError', machine('Always'), undefined, { dataVolumes: [dataVolume('Failed')] }],
    [
      'ErrorUnschedulable',
      machine('Always'),
      instance('Scheduling', [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable' }]),
      {},
    ],
    ['Provisioning', machine('Halted'), undefined, { dataVolumes: [dataVolume('ImportInProgress')] }],
    ['Stopped', machine('Halted'), undefined, { dataVolumes: [dataVolume('WaitForFirstConsumer')], claims: [claim('Pending')] }],
    ['WaitingForVolumeBinding', machine('Always'), undefined, { claims: [claim('Pending')] }],
    ['ErrImagePull', machine('Always'), instance('Scheduling', [notSynced('ErrImagePull')]), {}],
    ['ImagePullBackOff', machine('Always'), instance('Scheduling', [notSynced('ImagePullBackOff')]), {}],
    ['Starting', machine('Always'), undefined, { isStarting: true }],
    ['Starting', machine('Always'), instance('Scheduled'), {}],
    ['CrashLoopBackOff', machine('Always'), undefined, { startFailure: failed }],
    ['CrashLoopBackOff', machine('Once'), instance('Failed'), { startFailure: failed }],
    ['Stopped', machine('Always'), undefined, {}],
    ['WaitingForReceiver', machine('WaitAsReceiver'), instance('WaitingForSync'), {}],
    ['Unknown', machine('Always'), instance('Unknown'), {}],
  ])('%s', (expected, vm, vmi, more) => {
    expect(status(vm, vmi, more).printableStatus).toBe(expected);
  });
});

describe('status', () => {
  const conditions = (vm: VirtualMachine, vmi?: VirtualMachineInstance, more: Partial<VmStatusInput> = {}) =>
    (status(vm, vmi, more).conditions ?? []).map(
      ({ type, status: value, reason }) => `${type}=${value}${reason ? `=${reason}` : ''}`,
    );

  it('says whether the instance exists and is ready, and which generations are meant and running', () => {
    expect(status(machine('Always'), instance('Running', [{ type: 'Ready', status: 'True' }]))).toMatchObject({
      created: true,
      ready: true,
      runStrategy: 'Always',
      desiredGeneration: 4,
      observedGeneration: 3,
    });
    expect(status(machine('Halted'))).not.toHaveProperty('created');
  });

  it('copies the conditions of the instance and keeps them after it has gone', () => {
    const vmi = instance('Running', [
      { type: 'LiveMigratable', status: 'True' },
      { type: 'Ready', status: 'True' },
    ]);
    const before = status(machine('Always'), vmi);
    expect(conditions(machine('Always'), vmi)).toEqual(['Ready=True', 'LiveMigratable=True']);
    const stopped = machine('Always', { status: before });
    expect(conditions(stopped)).toEqual(['Ready=False=VMINotExists', 'LiveMigratable=True']);
    expect(conditions(stopped, instance('Pending'))).toEqual(['Ready=False=VMIConditionMissing']);
  });

  it('reports a failed pass and a pending restart only as long as they last', () => {
    const failure = { reason: 'FailedCreate', message: 'no' };
    expect(conditions(machine('Always'), instance('Running'), { failure, restartReason: 'x' })).toEqual([
      'Ready=False=VMIConditionMissing',
      'Failure=True=FailedCreate',
      'RestartRequired=True=RestartRequired',
    ]);
    const vm = machine('Always', { status: status(machine('Always'), instance('Running'), { failure, restartReason: 'x' }) });
    expect(conditions(vm, instance('Running'))).toEqual(['Ready=False=VMIConditionMissing']);
  });

  it('is stable: the same input later gives the same status', () => {
    const first = status(machine('Always'), instance('Running'));
    expect(status(machine('Always', { status: first }), instance('Running'), { now: '2026-05-01T13:00:00Z' })).toEqual(first);
  });

  it('carries fields of other parts over', () => {
    const vm = machine('Always', { status: { snapshotInProgress: 'snap', restoreInProgress: 'r', created: true } });
    const next = status(vm);
    expect(next).toMatchObject({ snapshotInProgress: 'snap', restoreInProgress: 'r' });
    expect(next).not.toHaveProperty('created');
  });
});
