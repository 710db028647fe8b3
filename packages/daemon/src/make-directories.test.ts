import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeDirectories } from './make-directories.ts';

describe('makeDirectories', () => {
  let scratch: string;

  beforeEach(() => {
    scratch = mkdtempSync(join(tmpdir(), 'sw-directories-'));
  });
  afterEach(() => rmSync(scratch, { recursive: true, force: true }));

  it('makes what is missing of a path, each with the mode', () => {
    makeDirectories(join(scratch, 'a', 'b', 'c'), 0o700);
    for (const name of ['a', 'a/b', 'a/b/c']) expect(statSync(join(scratch, name)).mode & 0o777).toBe(0o700);
  });

  it('leaves one alone that is there', () => {
    mkdirSync(join(scratch, 'a'), { mode: 0o750 });
    makeDirectories(join(scratch, 'a'), 0o700);
    expect(statSync(join(scratch, 'a')).mode & 0o777).toBe(0o750);
  });

  // what Node makes recursively never ends where a parent is there and says that it is not
  it.each(['/proc/slipway', '/proc/slipway/dashboards'])('names %s, which nobody can make', (path) => {
    expect(() => makeDirectories(path)).toThrow(
      expect.objectContaining({
        message: `Cannot make the directory ${path}`,
        cause: expect.objectContaining({ code: 'ENOENT' }),
      }),
    );
  });

  it('names a file in its place', () => {
    const file = join(scratch, 'file');
    writeFileSync(file, '');
    expect(() => makeDirectories(file)).toThrow(`Cannot make the directory ${file}`);
    expect(() => makeDirectories(join(file, 'below'))).toThrow(`Cannot make the directory ${file}/below`);
  });
});
