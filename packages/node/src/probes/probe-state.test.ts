import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { pod as buildPod, vmi as buildVmi } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { planProbes } from './probe-spec.ts';
import { initialState, nextState } from './probe-state.ts';

/** The verdict after each answer: `+` passed, `-` failed. */
function verdicts(
  kind: 'readiness' | 'liveness',
  answers: string,
  thresholds: readonly [number, number],
  known?: boolean,
): string {
  const [successThreshold, failureThreshold] = thresholds;
  let state = initialState(kind, known);
  return answers
    .split('')
    .map((answer) => {
      state = nextState(state, answer === '+', { successThreshold, failureThreshold });
      return state.isPassing ? '+' : '-';
    })
    .join('');
}

describe('what the answers of a probe amount to', () => {
  it.each([
    ['one success makes a guest ready', 'readiness', '-+', [1, 3], undefined, '-+'],
    ['several are asked for', 'readiness', '+++', [3, 3], undefined, '--+'],
    ['a failure between starts the count anew', 'readiness', '++-++', [3, 3], undefined, '-----'],
    ['a ready guest stays so below the threshold', 'readiness', '+--+--', [1, 3], undefined, '++++++'],
    ['and is not ready at it', 'readiness', '+---+', [1, 3], undefined, '+++-+'],
    ['what an earlier agent found out holds', 'readiness', '--', [1, 3], true, '++'],
    ['also when it was nothing good', 'readiness', '+', [2, 3], false, '-'],
    ['a guest is alive until the opposite is known', 'liveness', '--', [1, 3], undefined, '++'],
    ['which takes as many failures as asked for', 'liveness', '-+---', [1, 3], undefined, '++++-'],
  ] as const)('%s', (_name, kind, answers, thresholds, known, expected) => {
    expect(verdicts(kind, answers, thresholds, known)).toBe(expected);
  });
});

describe('the probes of an instance', () => {
  const plan = (probes: object, container: object = {}) => {
    const vmi = { ...buildVmi('vm').object, spec: { domain: { devices: {} }, ...probes } } as VirtualMachineInstance;
    const pod = { ...buildPod('p').object, spec: { containers: [{ name: 'compute', image: 'x', ...container }] } } as Pod;
    return planProbes(vmi, pod);
  };

  it('are none for most', () => expect(plan({})).toEqual([]));

  it('have defaults, and begin when the pod says so', () => {
    expect(plan({ readinessProbe: { tcpSocket: { port: 22 } } }, { readinessProbe: { initialDelaySeconds: 10 } })).toEqual([
      {
        ...{ kind: 'readiness', handler: { type: 'tcpSocket', port: 22 }, initialDelayMs: 10_000, periodMs: 10_000 },
        ...{ timeoutMs: 1_000, successThreshold: 1, failureThreshold: 3 },
      },
    ]);
  });

  it.each([
    [{ httpGet: { port: 80 } }, { type: 'httpGet', scheme: 'http', path: '/', headers: [], port: 80 }],
    [
      { httpGet: { port: 'web', scheme: 'HTTPS', path: '/up', host: '192.0.2.1', httpHeaders: [{ name: 'X-A', value: 'b' }] } },
      { type: 'httpGet', scheme: 'https', path: '/up', headers: [{ name: 'X-A', value: 'b' }], port: 8443, host: '192.0.2.1' },
    ],
    [{ tcpSocket: { port: 'nobody' } }, { type: 'tcpSocket', port: Number.NaN }],
    [{ exec: { command: ['test', '-f', '/x'] } }, { type: 'exec', command: 'test', args: ['-f', '/x'] }],
    [{ guestAgentPing: {} }, { type: 'guestAgentPing' }],
  ])('take %j', (probe, handler) => {
    const [spec] = plan({ livenessProbe: probe }, { ports: [{ name: 'web', containerPort: 8443 }] });
    expect(spec).toMatchObject({ kind: 'liveness', handler });
  });
});
