import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { StatusError } from '@slipway/apimachinery';
import { describe, expect, it } from 'vitest';
import { type PowerChange, planRestart, planStart, planStop } from './power-requests.ts';

const machine = (spec: Partial<kubevirt.VirtualMachineSpec>, status: kubevirt.VirtualMachineStatus = {}): VirtualMachine => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', namespace: 'shop' },
  spec: { ...spec, template: { spec: { domain: { devices: {} } } } },
  status,
});
const instance = (phase: string | undefined, grace?: number): VirtualMachineInstance | undefined =>
  phase === undefined
    ? undefined
    : {
        apiVersion: 'kubevirt.io/v1',
        kind: 'VirtualMachineInstance',
        metadata: { name: 'web', uid: 'vmi-1' },
        spec: { domain: { devices: {} }, ...(grace !== undefined && { terminationGracePeriodSeconds: grace }) },
        status: { phase },
      };

const START = { action: 'Start' };
const STOP = { action: 'Stop', uid: 'vmi-1' };
const toAlways = { spec: { path: '/spec/runStrategy', from: 'Halted', to: 'Always' } };
const haltFrom = (from: string) => ({ spec: { path: '/spec/runStrategy', from, to: 'Halted' } });

function outcome(plan: () => PowerChange): unknown {
  try {
    return plan();
  } catch (error) {
    if (error instanceof StatusError) return `${error.code} ${error.message}`;
    throw error;
  }
}
const refused = (message: string): string => `409 Operation cannot be fulfilled on virtualmachine.kubevirt.io "web": ${message}`;

describe('start', () => {
  it.each<[string, string | undefined, unknown]>([
    ['Halted', undefined, toAlways],
    ['Halted', 'Succeeded', toAlways],
    ['Halted', 'Running', refused('VM is already running')],
    ['Always', 'Running', refused('VM is already running')],
    ['Always', undefined, refused('Always does not support manual start requests')],
    ['Once', 'Failed', refused('Once does not support manual start requests')],
    ['Manual', undefined, { requests: [START] }],
    ['Manual', 'Scheduling', refused('VM is already running')],
    ['Manual', 'Succeeded', { requests: [STOP, START] }],
    ['Manual', 'Failed', { requests: [STOP, START] }],
    ['RerunOnFailure', undefined, { requests: [START] }],
    ['RerunOnFailure', 'Succeeded', { requests: [STOP, START] }],
    ['RerunOnFailure', 'Failed', refused('RerunOnFailure does not support starting VM from failed state')],
  ])('%s with instance %s', (runStrategy, phase, expected) => {
    expect(outcome(() => planStart(machine({ runStrategy }), instance(phase), false))).toEqual(expected);
  });

  it('paused: queues the wish, for a halted VM too', () => {
    const paused = { requests: [{ action: 'Start', data: { paused: 'true' } }] };
    expect(planStart(machine({ running: false }), undefined, true)).toEqual(paused);
    expect(planStart(machine({ runStrategy: 'Manual' }), undefined, true)).toEqual(paused);
  });

  it('refuses a second request and a VM that needs repair', () => {
    const queued = machine({ runStrategy: 'Manual' }, { stateChangeRequests: [START] });
    expect(outcome(() => planStart(queued, undefined, false))).toBe(
      refused('unable to complete request: stop/start already underway'),
    );
    const broken = machine({ runStrategy: 'Halted' }, { conditions: [{ type: 'ManualRecoveryRequired', status: 'True' }] });
    expect(outcome(() => planStart(broken, undefined, false))).toContain('409');
  });
});

describe('stop', () => {
  it.each<[string, string | undefined, number | undefined, unknown]>([
    ['Always', 'Running', undefined, haltFrom('Always')],
    ['Always', undefined, undefined, haltFrom('Always')],
    ['Always', 'Running', 0, { ...haltFrom('Always'), gracePeriodSeconds: 0 }],
    ['Once', 'Scheduling', undefined, haltFrom('Once')],
    ['Manual', 'Running', undefined, { requests: [STOP] }],
    ['Manual', 'Succeeded', undefined, refused('VM is not running')],
    ['Manual', undefined, undefined, refused('VM is not running')],
    ['RerunOnFailure', 'Running', 5, { requests: [STOP], gracePeriodSeconds: 5 }],
    ['Halted', undefined, undefined, refused('VM is not running')],
    ['Halted', 'Running', undefined, refused('Halted only supports manual stop requests with a shorter graceperiod')],
    ['Halted', 'Running', 30, refused('Halted only supports manual stop requests with a shorter graceperiod')],
    ['Halted', 'Running', 5, { gracePeriodSeconds: 5 }],
  ])('%s with instance %s, grace %s', (runStrategy, phase, grace, expected) => {
    expect(outcome(() => planStop(machine({ runStrategy }), instance(phase, 30), grace))).toEqual(expected);
  });

  it('replaces what is queued', () => {
    const queued = machine({ runStrategy: 'Manual' }, { stateChangeRequests: [STOP, START] });
    expect(planStop(queued, instance('Running'), undefined)).toEqual({ requests: [STOP] });
  });
});

describe('restart', () => {
  it.each<[string, string | undefined, number | undefined, unknown]>([
    ['Always', 'Running', undefined, { requests: [STOP, START] }],
    ['Manual', 'Running', 0, { requests: [STOP, START], gracePeriodSeconds: 1 }],
    ['Always', undefined, undefined, refused('VM is not running: Halted')],
    ['Halted', undefined, undefined, refused('RunStategy Halted does not support manual restart requests')],
    ['Once', 'Running', undefined, refused('RunStategy Once does not support manual restart requests')],
    ['Always', 'Running', 10, '400 For force restart, only gracePeriod=0 is supported for now'],
    ['Always', 'Running', -1, '400 gracePeriod has to be greater or equal to 0'],
  ])('%s with instance %s, grace %s', (runStrategy, phase, grace, expected) => {
    expect(outcome(() => planRestart(machine({ runStrategy }), instance(phase, 30), grace))).toEqual(expected);
  });
});
