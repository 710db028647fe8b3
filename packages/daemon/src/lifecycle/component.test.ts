import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { instancePaths } from '../instance/paths.ts';
import { startComponent, tail } from './component.ts';

let scratch: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'sw-component-'));
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

describe('startComponent', () => {
  const failure = async (script: string): Promise<string> => {
    const paths = instancePaths(scratch);
    mkdirSync(paths.run, { recursive: true });
    const spec = { name: 'broken', logFile: join(scratch, 'broken.out'), cwd: scratch, build: '1' };
    const env = { PATH: process.env['PATH'] ?? '' };
    const start = startComponent(paths, { ...spec, argv: ['sh', '-c', script], env }, 120_000, new AbortController().signal);
    return start.then(
      () => 'started',
      (error: unknown) => String(error),
    );
  };

  it('shows the lines of the start that failed, not those of an earlier one', async () => {
    appendFileSync(join(scratch, 'broken.out'), 'an older fault\n');
    const text = await failure('echo a new fault; exit 1');
    expect(text).toContain(`broken did not start; the last lines of ${join(scratch, 'broken.out')}:\na new fault`);
    expect(text).not.toContain('older');
  });
});

describe('tail', () => {
  const file = (): string => join(scratch, 'log');

  it.each([
    ['the last lines', 0, 'b\nc'],
    ['what came after a place', 2, 'b\nc'],
    ['fewer lines when there are no more', 4, 'c'],
    ['nothing when nothing was written', 6, '(no lines)'],
    ['all of a log that is shorter than it was', 60, 'b\nc'],
  ])('shows %s', (_, from, text) => {
    appendFileSync(file(), 'a\nb\nc\n');
    expect(tail(file(), 2, from)).toBe(text);
  });

  it('says when there is no log', () => {
    expect(tail(file(), 2)).toBe('(no log)');
  });
});
