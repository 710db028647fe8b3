import type { VirtualMachine } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { type Outcome, play, type Step, type Timeline } from './timeline.ts';

const machine = (power: object): VirtualMachine =>
  ({
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name: 'web', namespace: 'default' },
    spec: {
      ...power,
      template: {
        spec: {
          domain: { devices: { interfaces: [{ name: 'net', masquerade: {} }] }, memory: { guest: '64Mi' } },
          networks: [{ name: 'net', pod: {} }],
        },
      },
    },
  }) as VirtualMachine; // the power field is one of two

interface Row {
  readonly power: object;
  readonly fate?: Timeline['fate'];
  readonly steps: readonly Step[];
  readonly seconds?: number;
  /** Codes, lasting statuses since the last step, queues of requests, instances in all. */
  readonly expected: readonly [codes: string, statuses: string, requests: string, instances: number];
}

const at = (seconds: number, act: Step['act'], more: Partial<Step> = {}): Step => ({ atMs: seconds * 1_000, act, ...more });
const always = { runStrategy: 'Always' };
const rerun = { runStrategy: 'RerunOnFailure' };
const manual = { runStrategy: 'Manual' };
const halted = { runStrategy: 'Halted' };
const once = { runStrategy: 'Once' };

const ROWS: Readonly<Record<string, Row>> = {
  'Always runs': { power: always, steps: [], expected: ['201', 'Starting Running', '', 1] },
  'Always refuses a start': { power: always, steps: [at(3, 'start')], expected: ['201 409', 'Running', '', 1] },
  'Always restarts': {
    power: always,
    steps: [at(3, 'restart')],
    expected: ['201 202', 'Running Stopping Starting Running', 'Stop 1, Start | Start', 2],
  },
  'Always stops for good': { power: always, steps: [at(3, 'stop')], expected: ['201 202', 'Running Stopping Stopped', '', 1] },
  'Always comes back after a shutdown from inside': {
    power: always,
    steps: [at(3, 'guestEnds', { phase: 'Succeeded' })],
    expected: ['201', 'Running Starting Running', '', 2],
  },
  'Always waits between starts that fail': {
    power: always,
    fate: 'fails',
    steps: [],
    seconds: 9,
    expected: ['201', 'Starting CrashLoopBackOff', '', 1],
  },
  'RerunOnFailure stays down after a shutdown from inside': {
    power: rerun,
    steps: [at(3, 'guestEnds', { phase: 'Succeeded' })],
    expected: ['201', 'Running Stopped', '', 1],
  },
  'RerunOnFailure stops by a request and keeps its strategy': {
    power: rerun,
    steps: [at(3, 'stop')],
    expected: ['201 202', 'Running Stopping Stopped', 'Stop 1', 1],
  },
  'RerunOnFailure is stopped before its guest runs': {
    power: rerun,
    fate: 'stays-pending',
    steps: [at(2, 'stop')],
    expected: ['201 202', 'Starting Stopping Stopped', 'Stop 1', 1],
  },
  'RerunOnFailure stays down when its pod is taken away': {
    power: rerun,
    steps: [at(3, 'deletePod')],
    expected: ['201', 'Running Stopped', '', 1],
  },
  'RerunOnFailure comes back after a crash': {
    power: rerun,
    steps: [at(3, 'guestEnds')],
    expected: ['201', 'Running Starting Running', 'Start', 2],
  },
  'Manual waits for a start': { power: manual, steps: [], expected: ['201', 'Stopped', '', 0] },
  'Manual starts': { power: manual, steps: [at(1, 'start')], expected: ['201 202', 'Stopped Starting Running', 'Start', 1] },
  'Manual stays down after a crash': {
    power: manual,
    steps: [at(1, 'start'), at(4, 'guestEnds')],
    expected: ['201 202', 'Running Stopped', 'Start', 1],
  },
  'Manual refuses to stop what does not run': { power: manual, steps: [at(1, 'stop')], expected: ['201 409', 'Stopped', '', 0] },
  'Halted is turned on by a start': {
    power: halted,
    steps: [at(1, 'start')],
    expected: ['201 202', 'Stopped Starting Running', '', 1],
  },
  'Halted refuses a restart': { power: halted, steps: [at(1, 'restart')], expected: ['201 409', 'Stopped', '', 0] },
  'Once is not run twice': {
    power: once,
    steps: [at(3, 'guestEnds', { phase: 'Succeeded' })],
    expected: ['201', 'Running Stopped', '', 1],
  },
  'Once refuses a restart': { power: once, steps: [at(3, 'restart')], expected: ['201 409', 'Running', '', 1] },
  'the older field stops like Halted': {
    power: { running: true },
    steps: [at(3, 'patch', { body: { spec: { running: false } } })],
    expected: ['201 200', 'Running Stopping Stopped', '', 1],
  },
  'an instance that somebody deletes comes back': {
    power: always,
    steps: [at(3, 'deleteInstance')],
    expected: ['201 200', 'Running Stopping Starting Running', '', 2],
  },
  'a deleted VM takes its guest along': {
    power: always,
    steps: [at(3, 'delete')],
    expected: ['201 200', 'Running Terminating <deleted>', '', 1],
  },
};

/** A watcher may or may not see the moment between the end of one instance and the start of the next. */
const lasting = ({ statuses }: Outcome): string =>
  statuses.filter((status, index) => !(status === 'Stopped' && statuses[index + 1] === 'Starting' && index > 0)).join(' ');

describe('timelines of virtual machines', () => {
  it.each(Object.entries(ROWS))('%s', async (_, { power, fate = 'runs', steps, seconds = 6, expected }) => {
    const outcome = await play({ vm: machine(power), fate, steps, endMs: seconds * 1_000 });
    expect([outcome.codes.join(' '), lasting(outcome), outcome.requests.join(' | '), outcome.instances]).toEqual(expected);
  });

  it.each([
    ['guestEnds', 'Succeeded'],
    ['deletePod', undefined],
  ] as const)('RerunOnFailure deletes an instance that ended well (%s)', async (act, phase) => {
    const outcome = await play({
      vm: machine(rerun),
      fate: 'runs',
      steps: [at(3, act, { ...(phase && { phase }) })],
      endMs: 6_000,
    });
    expect(outcome.vmi).toBeUndefined();
    expect(outcome.vm?.spec.runStrategy).toBe('RerunOnFailure');
  });

  it('a paused start leaves the guest paused and turns the VM on', async () => {
    const outcome = await play({
      vm: machine(halted),
      fate: 'runs',
      steps: [at(1, 'start', { body: { paused: true } })],
      endMs: 4_000,
    });
    expect(outcome.vm?.spec.runStrategy).toBe('Always');
    expect(outcome.vmi?.spec.startStrategy).toBe('Paused');
  });

  it('a change that a running guest cannot follow is named field by field', async () => {
    const body = { spec: { template: { spec: { domain: { cpu: { cores: 2 } } } } } };
    const outcome = await play({ vm: machine(always), fate: 'runs', steps: [at(3, 'patch', { body })], endMs: 4_000 });
    const condition = outcome.vm?.status?.conditions?.find(({ type }) => type === 'RestartRequired');
    expect(condition?.message).toContain('spec.template.spec.domain.cpu');
  });
});
