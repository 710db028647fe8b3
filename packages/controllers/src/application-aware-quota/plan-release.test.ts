import { parseQuantity } from '@slipway/apimachinery';
import { pod } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { planRelease, type QuotaState } from './plan-release.ts';

const amounts = (of: Record<string, string>) => new Map(Object.entries(of).map(([name, text]) => [name, parseQuantity(text)]));
const waiting = (name: string, second: number, memory: string) => ({
  pod: pod(`a/${name}`, { metadata: { name, namespace: 'a', creationTimestamp: `2026-01-01T00:00:0${second}Z` } }).object,
  charge: amounts({ 'requests.memory/vmi': memory, pods: '1' }),
});
const quota = (name: string, hard: Record<string, string>, used: Record<string, string> = {}): QuotaState => ({
  ...{ name, hard, used: amounts(used), counts: () => true },
});
const plan = (pods: ReturnType<typeof waiting>[], quotas: QuotaState[]) => {
  const { released, held } = planRelease(pods, quotas);
  return { released: released.map(({ metadata }) => metadata.name), held: held.map(({ why }) => why) };
};

describe('pods that wait', () => {
  it('go where there is no quota', () => expect(plan([waiting('one', 1, '1Gi')], [])).toEqual({ released: ['one'], held: [] }));

  it('go in the order of their age, as many as fit', () =>
    expect(plan([waiting('two', 2, '1Gi'), waiting('one', 1, '1Gi')], [quota('q', { 'requests.memory/vmi': '1536Mi' })])).toEqual(
      {
        released: ['one'],
        held: [
          'exceeded quota: q, requested: requests.memory/vmi=1Gi, used: requests.memory/vmi=1Gi, limited: requests.memory/vmi=1536Mi',
        ],
      },
    ));

  it('do not hold up a smaller one', () =>
    expect(
      plan([waiting('large', 1, '4Gi'), waiting('small', 2, '1Gi')], [quota('q', { 'requests.memory/vmi': '2Gi' })]),
    ).toMatchObject({
      released: ['small'],
    }));

  it('fit into each of several quotas', () => {
    const quotas = [
      quota('own', { pods: '5' }),
      quota('wide', { 'requests.memory/vmi': '4Gi' }, { 'requests.memory/vmi': '3584Mi' }),
    ];
    expect(plan([waiting('one', 1, '1Gi')], quotas)).toMatchObject({
      released: [],
      held: [expect.stringContaining('exceeded quota: wide')],
    });
  });

  it('pass a quota that is exceeded in what they do not take', () =>
    expect(plan([waiting('one', 1, '1Gi')], [quota('q', { 'requests.cpu': '1' }, { 'requests.cpu': '2' })]).released).toEqual([
      'one',
    ]));

  it('pass a quota that does not count them', () =>
    expect(plan([waiting('one', 1, '1Gi')], [{ ...quota('q', { pods: '0' }), counts: () => false }]).released).toEqual(['one']));
});
