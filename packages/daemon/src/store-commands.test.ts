import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkStoreFiles } from './store-commands.ts';

describe('store check', () => {
  let dataDir: string;
  const check = (): Promise<void> => checkStoreFiles({ dataDir, output: 'text' });

  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'sw-store-check-'));
    writeFileSync(join(dataDir, 'instance.json'), JSON.stringify({ formatVersion: 1 }));
  });
  afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

  it('says when there is no store', async () => {
    await expect(check()).rejects.toThrow('There is no store in');
  });

  it('does not say so of a place that it may not look into', async () => {
    // stands for a directory of another user, which root would see
    symlinkSync('server', join(dataDir, 'server'));
    await expect(check()).rejects.toMatchObject({ cause: { code: 'ELOOP' } });
  });
});
