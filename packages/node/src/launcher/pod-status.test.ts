import type { Pod } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { podStatus } from './pod-status.ts';

const [BEFORE, NOW] = ['2026-01-01T00:00:00Z', '2026-01-01T00:01:00Z'];
const GATE = 'kubevirt.io/virtual-machine-unpaused';

const pod = (
  fields: { gates?: string[]; status?: Pod['status']; initContainers?: { name: string; image: string }[] } = {},
): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'default', uid: 'u' },
  spec: {
    containers: [{ name: 'compute', image: 'slipway/virt-launcher' }],
    ...(fields.gates && { readinessGates: fields.gates.map((conditionType) => ({ conditionType })) }),
    ...(fields.initContainers && { initContainers: fields.initContainers }),
  },
  ...(fields.status && { status: fields.status }),
});

const state = (phase: 'Running' | 'Succeeded' | 'Failed', message?: string) => ({
  ...{ phase, podIPs: ['10.244.0.2', 'fd10::2'], hostIP: '192.0.2.1', now: NOW },
  ...(message !== undefined && { message }),
});

const condition = (status: Pod['status'], type: string) => status?.conditions?.find((one) => one.type === type);

describe('status of a launcher pod', () => {
  it('names its addresses and its running containers', () => {
    const status = podStatus(pod({ initContainers: [{ name: 'guest-console-log', image: 'x' }] }), state('Running'));
    expect(status).toMatchObject({
      ...{ phase: 'Running', startTime: NOW, hostIP: '192.0.2.1', podIP: '10.244.0.2' },
      podIPs: [{ ip: '10.244.0.2' }, { ip: 'fd10::2' }],
      containerStatuses: [{ name: 'compute', ready: true, started: true, state: { running: { startedAt: NOW } } }],
      initContainerStatuses: [{ name: 'guest-console-log', state: { terminated: { exitCode: 0, reason: 'Completed' } } }],
    });
    expect(condition(status, 'Ready')).toMatchObject({ status: 'True', lastTransitionTime: NOW });
  });

  it.each([
    ['Succeeded', undefined, { exitCode: 0, reason: 'Completed' }],
    [
      'Failed',
      'The guest ended: its QEMU is gone',
      { exitCode: 1, reason: 'Error', message: 'The guest ended: its QEMU is gone' },
    ],
  ] as const)('says how a pod ended that %s', (phase, message, terminated) => {
    const started = pod({ status: { phase: 'Running', startTime: BEFORE } });
    const status = podStatus(started, state(phase, message));
    expect(status.containerStatuses?.[0]?.state?.terminated).toEqual({ ...terminated, startedAt: BEFORE, finishedAt: NOW });
    expect(condition(status, 'Ready')).toMatchObject({ status: 'False', reason: 'PodCompleted' });
  });

  it('opens its own readiness gate once, and then leaves it to whoever closes it', () => {
    const first = podStatus(pod({ gates: [GATE] }), state('Running'));
    expect([condition(first, GATE)?.status, condition(first, 'Ready')?.status]).toEqual(['True', 'True']);
    const paused = { conditions: [{ type: GATE, status: 'False' }] } as Pod['status'];
    const later = podStatus(pod({ gates: [GATE], status: paused }), state('Running'));
    expect(condition(later, GATE)).toBeUndefined();
    expect(condition(later, 'Ready')).toMatchObject({ status: 'False', reason: 'ReadinessGatesNotReady' });
  });

  it('is not ready while a gate of somebody else is closed', () => {
    const status = podStatus(pod({ gates: ['example.com/ready'] }), state('Running'));
    expect(condition(status, 'Ready')?.status).toBe('False');
    expect(condition(status, 'ContainersReady')?.status).toBe('True');
  });

  it('is not ready before its readiness probe is answered', () => {
    const status = podStatus(pod({ gates: [GATE] }), { ...state('Running'), isProbedReady: false });
    expect(status.containerStatuses).toMatchObject([{ ready: false, started: true, state: { running: {} } }]);
    for (const type of ['Ready', 'ContainersReady'])
      expect(condition(status, type)).toMatchObject({
        ...{ status: 'False', reason: 'ContainersNotReady', message: 'containers with unready status: [compute]' },
      });
  });

  it('keeps the time of a condition that stays as it is', () => {
    const known = { conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: BEFORE }] } as Pod['status'];
    expect(condition(podStatus(pod({ status: known }), state('Running')), 'Ready')?.lastTransitionTime).toBe(BEFORE);
    expect(condition(podStatus(pod({ status: known }), state('Failed')), 'Ready')?.lastTransitionTime).toBe(NOW);
  });
});
