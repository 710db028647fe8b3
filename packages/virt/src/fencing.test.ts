import type { Pod } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { ARMED, DISARMED, fenceAfterSeconds, FencingAnnotation, fencingVerdict, UNREACHABLE_TAINT } from './fencing.ts';

const podWith = (...tolerations: object[]) => ({ spec: { tolerations, containers: [] } }) as unknown as Pod;
const unreachable = { key: UNREACHABLE_TAINT, operator: 'Exists', effect: 'NoExecute' };

describe('fenceAfterSeconds', () => {
  it.each([
    ['nothing tolerated', [], 40],
    ['the default', [{ ...unreachable, tolerationSeconds: 300 }], 340],
    ['a short one', [{ ...unreachable, tolerationSeconds: 5 }], 45],
    [
      'the shortest of several',
      [
        { ...unreachable, tolerationSeconds: 30 },
        { operator: 'Exists', tolerationSeconds: 10 },
      ],
      50,
    ],
    ['a negative one', [{ ...unreachable, tolerationSeconds: -3 }], 40],
    ['for good', [unreachable], undefined],
    ['everything for good', [{ operator: 'Exists' }], undefined],
    ['another taint', [{ key: 'mine', operator: 'Exists' }], 40],
    ['another effect', [{ ...unreachable, effect: 'NoSchedule' }], 40],
  ])('%s', (_, tolerations, seconds) => {
    expect(fenceAfterSeconds(podWith(...tolerations), 40)).toBe(seconds);
  });
});

describe('fencingVerdict', () => {
  const armed = { [FencingAnnotation.node]: ARMED };
  const promised = { [FencingAnnotation.pod]: '340' };
  it.each([
    ['a node that has promised nothing', {}, promised, 1e9, { state: 'unknown' }],
    ['a node that takes its promise back', { [FencingAnnotation.node]: DISARMED }, promised, 1e9, { state: 'unknown' }],
    ['a guest that is bound to its node', armed, {}, 1e9, { state: 'unknown' }],
    ['an annotation that says nothing', armed, { [FencingAnnotation.pod]: '' }, 1e9, { state: 'unknown' }],
    ['a negative promise', armed, { [FencingAnnotation.pod]: '-1' }, 1e9, { state: 'unknown' }],
    ['a node that is heard', armed, promised, 0, { state: 'waiting', leftMs: 350_000 }],
    ['the moment the node ends it', armed, promised, 340_000, { state: 'waiting', leftMs: 10_000 }],
    ['a margin later', armed, promised, 350_000, { state: 'fenced' }],
  ])('%s', (_, nodeAnnotations, podAnnotations, silentMs, verdict) => {
    expect(fencingVerdict({ nodeAnnotations, podAnnotations, silentMs })).toEqual(verdict);
  });
});
