import { describe, expect, it } from 'vitest';
import { formatRows, makeRow, median } from './rows.ts';

describe('bench rows', () => {
  it('takes the median', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(() => median([])).toThrow();
  });

  it('judges a ratio against the floor of the same run', () => {
    const input = { promise: 'S2', name: 'x', unit: 's', runs: [0.5], goal: { max: 2.5, of: 'ratio' } } as const;
    expect(makeRow({ ...input, floor: { name: 'libvirt', runs: [0.25] } })).toMatchObject({
      ratio: 2,
      met: true,
      floorName: 'libvirt',
    });
    expect(makeRow({ ...input, floor: { name: 'libvirt', runs: [0.1] } }).met).toBe(false);
    expect(() => makeRow(input)).toThrow(/needs a floor/);
  });

  it('does not judge what is not promised', () => {
    const row = makeRow({ promise: 'S1', name: 'x', unit: 's', runs: [2] });
    expect(row).not.toHaveProperty('met');
    expect(formatRows([row])).not.toMatch(/met|MISSED/);
  });

  it('judges a value', () => {
    expect(makeRow({ promise: 'S6', name: 'idle', unit: 'MiB', runs: [181], goal: { max: 180, of: 'value' } }).met).toBe(false);
  });
});
