import { describe, expect, it } from 'vitest';
import { autoLimits } from './auto-limits.ts';

const quota = (...names: string[]) => ({ spec: { hard: Object.fromEntries(names.map((name) => [name, '4'])) } });
const selector = (labels: Record<string, string>) => ({ autoCPULimitNamespaceLabelSelector: { matchLabels: labels } });

describe('limits that nobody wrote', () => {
  it.each([
    ['nothing asks for them', { labels: {}, quotas: [quota('requests.cpu', 'pods')] }, {}, { cpu: false }],
    ['a quota bounds CPU limits', { labels: {}, quotas: [quota('limits.cpu')] }, {}, { cpu: true }],
    [
      'a quota bounds memory limits',
      { labels: {}, quotas: [quota(), quota('limits.memory')] },
      {},
      { cpu: false, memoryRatio: 2 },
    ],
    [
      'the namespace says how much memory more',
      { labels: { 'alpha.kubevirt.io/auto-memory-limits-ratio': '1.5' }, quotas: [quota('limits.memory')] },
      {},
      { cpu: false, memoryRatio: 1.5 },
    ],
    [
      'the namespace says something else',
      { labels: { 'alpha.kubevirt.io/auto-memory-limits-ratio': 'lots' }, quotas: [quota('limits.memory')] },
      {},
      { cpu: false, memoryRatio: 2 },
    ],
    ['the administrator selects the namespace', { labels: { team: 'a' }, quotas: [] }, selector({ team: 'a' }), { cpu: true }],
    ['the administrator selects another', { labels: { team: 'b' }, quotas: [] }, selector({ team: 'a' }), { cpu: false }],
  ])('%s', (_, namespace, configuration, expected) => {
    expect(autoLimits(namespace, configuration)).toEqual(expected);
  });
});
