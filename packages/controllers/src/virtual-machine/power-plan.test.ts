import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { planPower } from './power-plan.ts';

type Request = kubevirt.VirtualMachineStateChangeRequest;

const NOW = Date.parse('2026-05-01T12:00:00Z');
const START: Request = { action: 'Start' };
const PAUSED_START: Request = { action: 'Start', data: { paused: 'true' } };
const STOP: Request = { action: 'Stop', uid: 'vmi-1' };

const machine = (power: Partial<VirtualMachine['spec']>, status: VirtualMachine['status'] = {}): VirtualMachine => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', namespace: 'shop', uid: 'vm-1' },
  spec: { ...power, template: { spec: { domain: { devices: {} } } } },
  status,
});

const instance = (phase: string, deleting = false): VirtualMachineInstance => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachineInstance',
  metadata: { name: 'web', namespace: 'shop', uid: 'vmi-1', ...(deleting && { deletionTimestamp: '2026-05-01T12:00:00Z' }) },
  spec: { domain: { devices: {} } },
  status: { phase },
});

type Row = readonly [strategy: string, phase: string, requests: Request[], action: string, left: Request[]];

describe('planPower', () => {
  it.each<Row>([
    ['Always', 'none', [], 'start', []],
    ['Always', 'Scheduling', [], 'none', []],
    ['Always', 'Running', [], 'none', []],
    ['Always', 'Running', [STOP, START], 'stop', [STOP, START]],
    ['Always', 'Running', [{ action: 'Stop', uid: 'other' }, START], 'none', []],
    ['Always', 'none', [STOP, START], 'start', [START]],
    ['Always', 'Succeeded', [], 'stop', []],
    ['Always', 'Failed', [], 'stop', []],
    ['Always', 'Running deleting', [], 'none', []],
    ['RerunOnFailure', 'none', [], 'none', []],
    ['RerunOnFailure', 'none', [START], 'start', [START]],
    ['RerunOnFailure', 'Succeeded', [], 'stop', []],
    ['RerunOnFailure', 'Failed', [], 'none', [START]],
    ['RerunOnFailure', 'Failed', [START], 'stop', [START]],
    ['RerunOnFailure', 'Failed', [STOP], 'stop', [STOP]],
    ['RerunOnFailure', 'Failed deleting', [], 'none', []],
    ['RerunOnFailure', 'Running', [STOP], 'stop', [STOP]],
    ['Manual', 'none', [], 'none', []],
    ['Manual', 'none', [START], 'start', [START]],
    ['Manual', 'Running', [START], 'none', []],
    ['Manual', 'Running', [STOP], 'stop', [STOP]],
    ['Manual', 'Succeeded', [], 'none', []],
    ['Manual', 'Failed', [], 'none', []],
    ['Manual', 'Succeeded', [STOP, START], 'stop', [STOP, START]],
    ['Halted', 'none', [], 'none', []],
    ['Halted', 'Running', [], 'stop', []],
    ['Halted', 'Running deleting', [], 'none', []],
    ['Halted', 'Succeeded', [], 'stop', []],
    ['Halted', 'none', [PAUSED_START], 'patchSpec', [PAUSED_START]],
    ['Halted', 'Succeeded', [PAUSED_START], 'patchSpec', [PAUSED_START]],
    ['Halted', 'Running', [STOP, START], 'stop', []],
    ['Halted', 'Running deleting', [STOP, START], 'none', []],
    ['Halted', 'none', [STOP, START], 'none', []],
    ['Halted', 'none', [START], 'none', []],
    ['Once', 'none', [], 'start', []],
    ['Once', 'Running', [], 'none', []],
    ['Once', 'Succeeded', [], 'none', []],
    ['Once', 'Failed', [], 'none', []],
    ['WaitAsReceiver', 'none', [], 'start', []],
    ['WaitAsReceiver', 'Running', [], 'refuse', []],
  ])('%s, instance %s, requests %j: %s', (runStrategy, phase, requests, action, left) => {
    const [name = '', deleting] = phase.split(' ');
    const vmi = name === 'none' ? undefined : instance(name, deleting !== undefined);
    const plan = planPower(machine({ runStrategy }, { runStrategy, stateChangeRequests: requests }), vmi, NOW);
    expect(plan.power.action).toBe(action);
    expect(plan.requests).toEqual(left);
  });

  it('starts RerunOnFailure once when the strategy is new', () => {
    expect(planPower(machine({ runStrategy: 'RerunOnFailure' }), undefined, NOW).power.action).toBe('start');
    const changed = machine({ runStrategy: 'RerunOnFailure' }, { runStrategy: 'Halted' });
    expect(planPower(changed, undefined, NOW).power.action).toBe('start');
  });

  it('reads the older running field', () => {
    expect(planPower(machine({ running: true }), undefined, NOW).power.action).toBe('start');
    expect(planPower(machine({ running: false }), instance('Running'), NOW).power.action).toBe('stop');
    const paused: Request = { action: 'Start', data: { paused: 'true' } };
    expect(planPower(machine({ running: false }, { stateChangeRequests: [paused] }), undefined, NOW).power).toEqual({
      action: 'patchSpec',
      path: '/spec/running',
      from: false,
      to: true,
    });
  });

  it('starts paused when the request says so', () => {
    const paused: Request = { action: 'Start', data: { paused: 'true' } };
    const vm = machine({ runStrategy: 'Manual' }, { stateChangeRequests: [paused] });
    expect(planPower(vm, undefined, NOW).power).toEqual({ action: 'start', paused: true, asReceiver: false });
  });

  it('waits for the back-off, and not at all while somebody must repair the VM', () => {
    const failed = { consecutiveFailCount: 1, retryAfterTimestamp: '2026-05-01T12:00:07Z' };
    const waiting = machine({ runStrategy: 'Always' }, { startFailure: failed });
    expect(planPower(waiting, undefined, NOW).power).toEqual({ action: 'wait', retryInMs: 7_000 });
    expect(planPower(waiting, undefined, NOW + 7_000).power.action).toBe('start');
    const broken = machine({ runStrategy: 'Always' }, { conditions: [{ type: 'ManualRecoveryRequired', status: 'True' }] });
    expect(planPower(broken, undefined, NOW).power.action).toBe('none');
  });

  it('ends the wait for a migration with the strategy to restore', () => {
    const vmi = instance('Running');
    vmi.metadata.annotations = { 'kubevirt.io/create-migration-target': 'true' };
    vmi.status = { ...vmi.status, migrationState: { completed: true } };
    const vm = machine({ runStrategy: 'WaitAsReceiver' });
    vm.metadata.annotations = { 'kubevirt.io/restore-run-strategy': 'Always' };
    expect(planPower(vm, vmi, NOW).power).toMatchObject({ action: 'patchSpec', path: '/spec/runStrategy', to: 'Always' });
  });
});
