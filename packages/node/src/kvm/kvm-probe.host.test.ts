import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { hostRunner } from '@slipway/hostapi';
import { afterAll, describe, expect, it } from 'vitest';
import { probeKvm, runProbeGuest } from './kvm-probe.ts';

const qemu = '/usr/bin/qemu-system-x86_64';
const signal = new AbortController().signal;

describe('the KVM probe', () => {
  const dir = mkdtempSync('/tmp/sw-kvm-');
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('has a guest that reaches long mode and reports', async () => {
    expect(await runProbeGuest({ runner: hostRunner, qemu }, 'tcg', signal)).toBeUndefined();
  });

  it('comes to a verdict, gives a reason unless usable, and keeps it', async () => {
    const deps = { runner: hostRunner, qemu, cacheFile: join(dir, 'kvm.json') };
    const verdict = await probeKvm(deps, signal);
    expect(verdict.reason === '').toBe(verdict.state === 'usable');
    expect(JSON.parse(readFileSync(deps.cacheFile, 'utf8')).verdict).toEqual(verdict);
    expect(await probeKvm(deps, signal)).toEqual(verdict);
  });
});
