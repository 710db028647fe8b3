import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectBeneath, openBeneath, readBeneath } from './safe-path.ts';

describe('paths that others can shape', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'slipway-path-'));
    mkdirSync(join(root, 'a'));
    writeFileSync(join(root, 'a/file'), 'content');
    writeFileSync(join(root, 'secret'), 'secret');
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('reads a file beneath the root', () => {
    expect(readBeneath(root, 'a/file', 100).toString()).toBe('content');
    expect(() => readBeneath(root, 'a/file', 3)).toThrow('larger than 3 bytes');
  });

  it.each([
    ['as the last part', 'a/link', '../secret'],
    ['on the way', 'a/link/file', '.'],
    ['to the outside', 'a/link', '/etc/hostname'],
  ])('refuses a link %s', (_where, path, target) => {
    symlinkSync(target, join(root, 'a/link'));
    expect(() => openBeneath(root, path)).toThrow(/symbolic link|ENOTDIR|ELOOP/);
  });

  it('refuses to climb', () => {
    expect(() => openBeneath(root, 'a/../../etc')).toThrow('leaves its root');
  });

  it('connects to a socket and refuses anything else', async () => {
    const server = createServer((socket) => socket.end('hello'));
    server.listen(join(root, 'a/sock'));
    await once(server, 'listening');
    const chunks = await connectBeneath(root, 'a/sock').setEncoding('utf8').toArray();
    expect(chunks.join('')).toBe('hello');
    server.close();
    expect(() => connectBeneath(root, 'a/file')).toThrow('not a socket');
  });
});
