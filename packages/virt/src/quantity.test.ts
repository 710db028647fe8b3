import { describe, expect, it } from 'vitest';
import { binaryQuantity, bytesOf, decimalQuantity, formatLike, isQuantity, malformedQuantity, milliOf } from './quantity.ts';

describe('quantities', () => {
  it.each([
    ['1Gi', 1_073_741_824],
    ['1.5Gi', 1_610_612_736],
    ['1G', 1_000_000_000],
    ['1e3', 1000],
    ['0.1', 1],
    [7, 7],
  ])('%s is %i bytes', (quantity, bytes) => expect(bytesOf(quantity)).toBe(bytes));

  it('counts thousandths exactly', () => {
    expect([milliOf('1500m'), milliOf('-0.5'), milliOf('100u')]).toEqual([1500n, -500n, 1n]);
  });

  it.each(['', '.', '1x', '1 Gi', 'Gi'])('refuses %j', (text) => expect(isQuantity(text)).toBe(false));

  it('writes the shortest form', () => {
    expect([binaryQuantity(1_610_612_736), decimalQuantity(50_000_000_000n), decimalQuantity(100n)]).toEqual([
      '1536Mi',
      '50M',
      '100m',
    ]);
    expect(formatLike(milliOf('1Gi'), '512Mi')).toBe('1Gi');
  });

  it('finds the quantity that is none', () => {
    expect(malformedQuantity({ devices: {}, memory: { guest: '1Gi' }, resources: { limits: { cpu: '12Qx' } } })).toBe('12Qx');
  });
});
