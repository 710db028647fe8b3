import type { Node, Pod } from '@slipway/api';
import { ARMED, FencingAnnotation } from '@slipway/virt';
import { describe, expect, it } from 'vitest';
import { planFencing } from './plan-fencing.ts';

const nodeWith = (ready: string, annotations: Record<string, string>, taints: object[] = []): Node =>
  ({
    metadata: { name: 'n1', annotations },
    spec: { taints },
    status: { conditions: [{ type: 'Ready', status: ready }] },
  }) as Node;
const podWith = (name: string, promised: string | undefined, isLeaving = true): Pod =>
  ({
    metadata: {
      name,
      annotations: promised === undefined ? {} : { [FencingAnnotation.pod]: promised },
      ...(isLeaving && { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    },
  }) as Pod;

const armed = { [FencingAnnotation.node]: ARMED };
const outOfService = [{ key: 'node.kubernetes.io/out-of-service', value: 'nodeshutdown', effect: 'NoExecute' }];

describe('planFencing', () => {
  it.each([
    ['nothing of a node that is heard', nodeWith('True', armed), [podWith('a', '45')], 1e9, [], undefined],
    ['nothing that was not asked to go', nodeWith('Unknown', armed), [podWith('a', '45', false)], 1e9, [], undefined],
    ['nothing that was not promised', nodeWith('Unknown', armed), [podWith('a', undefined)], 1e9, [], undefined],
    ['nothing of a node without a watchdog', nodeWith('Unknown', {}), [podWith('a', '45')], 1e9, [], undefined],
    [
      'what has ended, and looks again for the rest',
      nodeWith('Unknown', armed),
      [podWith('a', '45'), podWith('b', '90')],
      56_000,
      ['a'],
      44_000,
    ],
    [
      'all of a node that is off',
      nodeWith('Unknown', {}, outOfService),
      [podWith('a', undefined), podWith('b', '9', false)],
      0,
      ['a'],
      undefined,
    ],
    [
      'nothing of a node that is called off but lives',
      nodeWith('True', {}, outOfService),
      [podWith('a', undefined)],
      0,
      [],
      undefined,
    ],
  ])('removes %s', (_, node, pods, silentMs, removed, retryInMs) => {
    const plan = planFencing({ node, pods, silentMs });
    expect(plan.remove.map(({ pod }) => pod.metadata.name)).toEqual(removed);
    expect(plan.retryInMs).toBe(retryInMs);
  });
});
