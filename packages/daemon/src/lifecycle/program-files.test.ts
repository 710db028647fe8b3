import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { installProgramFiles } from './program-files.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sw-programs-'));
  mkdirSync(join(directory, 'checkout', 'dist'), { recursive: true });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const write = (bundles: Record<string, string>): void => {
  for (const [name, text] of Object.entries(bundles)) writeFileSync(join(directory, 'checkout', 'dist', name), text);
};
const install = () => installProgramFiles(join(directory, 'data'), join(directory, 'checkout'));

describe('program files', () => {
  it('tell the builds of the server and of the agents apart', () => {
    write({ 'start.cjs': 'a1', 'server.program': 's1', 'node.program': 'n1', 'mover.mjs': 'm1' });
    const first = install();
    expect(install().builds).toEqual(first.builds);
    write({ 'mover.mjs': 'm2, longer' });
    const second = install();
    expect(readFileSync(join(second.bundles, 'mover.mjs'), 'utf8')).toBe('m2, longer');
    expect(second.builds.server).toBe(first.builds.server);
    expect(second.builds.node).not.toBe(first.builds.node);
    write({ 'server.program': 's2, longer' });
    expect(install().builds.server).not.toBe(first.builds.server);
  });
});
