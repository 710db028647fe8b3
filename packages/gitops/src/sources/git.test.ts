import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostRunner } from '@slipway/hostapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gitRepositories } from './git.ts';
import { placeOf } from './reach.ts';

const COMMIT = '1234567890123456789012345678901234567890';
const line = (text: string): string => `${(text.length + 4).toString(16).padStart(4, '0')}${text}`;

/** Answers as a git server that has one branch. */
const REFS = `${line('# service=git-upload-pack\n')}0000${line(`${COMMIT} HEAD\0 agent=t\n`)}${line(`${COMMIT} refs/heads/main\n`)}0000`;

describe('repositories over the network', () => {
  const cacheDir = mkdtempSync(join(tmpdir(), 'slipway-git-'));
  const servers: Server[] = [];
  let asked = 0;

  async function serve(location?: string): Promise<number> {
    const server = createServer((request, response) => {
      if (location !== undefined) {
        response.writeHead(302, { location: `${location}${request.url ?? ''}` }).end();
        return;
      }
      asked++;
      response.writeHead(200, { 'content-type': 'application/x-git-upload-pack-advertisement' }).end(REFS);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    servers.push(server);
    const address = server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  }

  let target: number;
  let redirect: number;
  beforeAll(async () => {
    target = await serve();
    redirect = await serve(`http://127.0.0.1:${target}`);
  });
  afterAll(() => {
    for (const server of servers) server.close();
    rmSync(cacheDir, { recursive: true, force: true });
  });

  const resolve = (url: string, addresses: readonly string[]): Promise<string> =>
    gitRepositories({ runner: hostRunner, cacheDir, reach: { addresses } }).resolve(
      url,
      'main',
      {},
      new AbortController().signal,
    );

  it('are read where an administrator has allowed the address, redirects too', { timeout: 60_000 }, async () => {
    expect(await resolve(`http://127.0.0.1:${target}/a.git`, ['127.0.0.0/8'])).toBe(COMMIT);
    expect(await resolve(`http://127.0.0.1:${redirect}/a.git`, ['127.0.0.1'])).toBe(COMMIT);
  });

  it('are not read at addresses of this machine, by name or after a redirect either', { timeout: 60_000 }, async () => {
    asked = 0;
    await expect(resolve(`http://127.0.0.1:${target}/a.git`, [])).rejects.toThrow('are refused');
    await expect(resolve(`http://localhost:${target}/a.git`, [])).rejects.toThrow('are refused');
    await expect(resolve(`http://[::ffff:127.0.0.1]:${target}/a.git`, [])).rejects.toThrow('are refused');
    await expect(resolve(`http://127.0.0.1:${redirect}/a.git`, [`127.0.0.1:${redirect}`])).rejects.toThrow('are refused');
    expect(asked).toBe(0);
  });
});

describe('placeOf', () => {
  it.each([
    ['https://git.example/a.git', { type: 'http' }],
    ['HTTP://git.example/a.git', { type: 'http' }],
    ['ssh://git@git.example:2222/a.git', { type: 'ssh', host: 'git.example', port: 2222 }],
    ['ssh://git@[fe80::1]/a.git', { type: 'ssh', host: 'fe80::1', port: 22 }],
    ['git@git.example:team/a.git', { type: 'ssh', host: 'git.example', port: 22 }],
    ['file:///srv/git/a%20b', { type: 'file', path: '/srv/git/a b' }],
    ['/srv/git/a', { type: 'file', path: '/srv/git/a' }],
  ])('%s', (url, place) => {
    expect(placeOf(url)).toEqual(place);
  });

  it.each([
    'ext::sh -c id',
    'fd::17',
    'git://git.example/a',
    'ftp://git.example/a',
    'file://git.example/a',
    'ssh://-oProxyCommand=id/a',
    'git@-oProxyCommand=id:a',
    'relative/path',
    '',
    'https://git.example/a b',
  ])('refuses %s', (url) => {
    expect(() => placeOf(url)).toThrow('is not supported');
  });
});
