import { describe, expect, it } from 'vitest';
import { planMigrate } from './plan-migrate.ts';

const base = { uri: 'qemu+unix:///session?socket=/s', xml: '<domain/>', memoryUri: 'unix:///m' };
const [COPY_DISKS, AUTO_CONVERGE, POST_COPY] = [64, 8192, 32768];
const ALWAYS = 1 | 2 | 8 | 32 | 512;

describe('planMigrate', () => {
  it('sends the guest live, straight to the other daemon, which holds it paused', () => {
    const { params, flags } = planMigrate(base);
    expect(flags).toBe(ALWAYS);
    expect(params.map(({ name, value }) => [name, value])).toEqual([
      ['destination_xml', '<domain/>'],
      ['persistent_xml', '<domain/>'],
      ['migrate_uri', 'unix:///m'],
    ]);
  });

  it('names the disks that go along, and the limit', () => {
    const { params, flags } = planMigrate({ ...base, copied: { uri: 'unix:///d', disks: ['vda', 'vdb'] }, bandwidthMiB: 64 });
    expect(flags).toBe(ALWAYS | COPY_DISKS);
    expect(params.slice(3).map(({ name, value }) => [name, value])).toEqual([
      ['disks_uri', 'unix:///d'],
      ['migrate_disks', 'vda'],
      ['migrate_disks', 'vdb'],
      ['bandwidth', 64],
    ]);
  });

  it.each([
    [{ autoConverge: true }, AUTO_CONVERGE],
    [{ postCopy: true }, POST_COPY],
    [{ autoConverge: false, postCopy: false, bandwidthMiB: 0 }, 0],
  ])('%j', (options, flag) => {
    expect(planMigrate({ ...base, ...options })).toEqual({ params: planMigrate(base).params, flags: ALWAYS | flag });
  });
});
