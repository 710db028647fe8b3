import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { detectCgroupMode, planCpuShares, planLimits, prepareCgroup } from './cgroups.ts';

describe('cgroups', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'slipway-cgroup-'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it.each([
    ['none', []],
    ['v1', ['memory', 'cpu', 'pids']],
    ['hybrid', ['memory', 'cpu', 'pids', 'unified']],
  ] as const)('detects %s', (mode, directories) => {
    for (const directory of directories) mkdirSync(join(root, directory));
    expect(detectCgroupMode(root)).toBe(mode);
  });

  it('writes limits where each version wants them', async () => {
    writeFileSync(join(root, 'cgroup.controllers'), 'memory cpu pids');
    const options = { parent: 'ab12cd', name: 'pod', limits: { memoryBytes: 1024, cpus: 0.5 } };
    expect(await prepareCgroup(options, root)).toEqual({
      membershipFiles: [join(root, 'ab12cd/pod/cgroup.procs')],
      missing: [],
    });
    expect(readFileSync(join(root, 'ab12cd/pod/memory.max'), 'utf8')).toBe('1024');
    expect(readFileSync(join(root, 'ab12cd/pod/cpu.max'), 'utf8')).toBe('50000 100000');
    expect(planLimits('hybrid', { processes: 7 }).get('pids')).toEqual([['pids.max', '7']]);
  });

  it('says which limits this host cannot set', async () => {
    const { missing } = await prepareCgroup({ parent: 'p', name: 'n', limits: { memoryBytes: 1 } }, root);
    expect(missing).toEqual(['cgroups']);
  });

  it.each([
    ['v1', 102, ['cpu.shares', '102']],
    ['v1', 0, ['cpu.shares', '2']],
    ['v2', 1024, ['cpu.weight', '39']],
    ['v2', 2, ['cpu.weight', '1']],
    ['v2', 1_000_000, ['cpu.weight', '10000']],
    ['none', 102, undefined],
  ] as const)('writes a share of the processor: %s %d', (mode, shares, expected) => {
    expect(planCpuShares(mode, shares)).toEqual(expected);
  });
});
