import type { WhyReport } from '@slipway/controllers';
import { describe, expect, it } from 'vitest';
import { formatWhy } from './format-why.ts';
import { parseSubject } from './why.ts';

const REPORT: WhyReport = {
  state: 'waiting',
  summary: 'waits (ErrorUnschedulable): none of 2 nodes takes it',
  causes: [
    { about: 'Pod p', reason: 'Unschedulable', message: '0/2 nodes are available: y.' },
    { about: 'VirtualMachine web', reason: 'Failure', message: 'a text that is too long for the narrow screen it is shown on' },
  ],
  nodes: [
    {
      node: 'box-1',
      status: 'Ready',
      isPossible: false,
      reasons: ['Insufficient memory'],
      details: ['memory: asks for 6Gi, free are 5Gi of 8Gi'],
    },
    { node: 'box-2', status: 'NotReady', isPossible: true, reasons: [], details: [] },
  ],
  scheduling: '0/2 nodes are available: y.',
  migration: undefined,
  warnings: [{ age: '5s', about: 'Pod p', reason: 'FailedSync', message: 'no' }],
};

describe('slipway why', () => {
  it('fits on the screen', () => {
    const text = formatWhy('VirtualMachine default/web', REPORT, { columns: 60, isColored: false });
    expect(`\n${text}\n`).toMatchInlineSnapshot(`
      "
      VirtualMachine default/web waits (ErrorUnschedulable): none
      of 2 nodes takes it

      Because
        VirtualMachine web: Failure: a text that is too long for
          the narrow screen it is shown on

      Nodes
        NODE   STATUS    WHY NOT
        box-1  Ready     Insufficient memory
                         memory: asks for 6Gi, free are 5Gi of 8Gi
        box-2  NotReady  can take it

        0/2 nodes are available: y.

      Last warnings
           5s  Pod p: FailedSync: no
      "
    `);
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(60);
  });

  it('is coloured for a terminal only', () => {
    // eslint-disable-next-line no-control-regex
    expect(formatWhy('x', REPORT, { columns: 80, isColored: true })).toMatch(/\u001B\[1m/);
    expect(formatWhy('x', REPORT, { columns: 80, isColored: false })).not.toContain('\u001B');
  });

  it.each([
    [['web'], { kind: undefined, name: 'web' }],
    [['vm/web'], { kind: 'vm', name: 'web' }],
    [['VirtualMachineInstances', 'web'], { kind: 'vmi', name: 'web' }],
    [['pods/web'], { kind: 'pod', name: 'web' }],
  ])('understands %j', (args, subject) => {
    expect(parseSubject(args)).toEqual(subject);
  });

  it.each([[['a', 'b', 'c']], [['node/x']], [['vm/']], [['constructor/x']]])('refuses %j', (args) => {
    expect(() => parseSubject(args)).toThrow();
  });
});
