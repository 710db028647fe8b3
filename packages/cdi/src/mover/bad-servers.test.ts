// A server that fails, lies or leads astray: what people are told, that it is tried again when that can help, and that
// nothing incomplete stays.
import type { lookup } from 'node:dns';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority, issueCertificate } from '@slipway/testkit';
import { systemClock } from '@slipway/runtime';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { addressGuard } from './address-guard.ts';
import { type MoverOutcome, runMover } from './main.ts';
import type { MoverEnv } from './options.ts';

const MiB = 1024 * 1024;
const SIZE = 4 * MiB;
const DISK = Buffer.alloc(3 * MiB, 'disk');
let dir: string;
let target: string;
let work: string;
const servers: Server[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipbadsrv-'));
  [target, work] = [join(dir, 'disk.img'), join(dir, 'work')];
  writeFileSync(target, '');
  truncateSync(target, SIZE);
});
afterEach(async () => {
  for (const server of servers.splice(0)) {
    if ('closeAllConnections' in server && typeof server.closeAllConnections === 'function') server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  rmSync(dir, { recursive: true, force: true });
});

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port; // listens on TCP
}

const none = (): never => {
  throw new Error('a raw disk needs no tool');
};

async function run(url: string, env: MoverEnv = {}): Promise<MoverOutcome> {
  const argv = [
    ...['--target', target, '--work', work, '--size', String(SIZE), '--allow-address', '127.0.0.1'],
    ...['--stall-ms', '5000', '--retry-base-ms', '1', '--retry-attempts', '3'],
  ];
  const tools = { run: none, filter: none };
  const io = { tools, clock: systemClock, random: Math.random, bootId: 'boot', progress: () => {}, log: () => {} };
  return runMover(argv, { IMPORTER_ENDPOINT: url, ...env }, io, new AbortController().signal);
}

const expectDisk = (): void => expect(readFileSync(target).subarray(0, DISK.length).equals(DISK)).toBe(true);
const expectNothing = (): void => {
  expect(statSync(target)).toMatchObject({ size: SIZE, blocks: 0 });
  expect(readdirSync(work)).toEqual([]);
};

describe('an answer', () => {
  let requests = 0;
  const answering = async (answer: RequestListener): Promise<string> => {
    requests = 0;
    const port = await listen(createHttp((request, response) => (requests++, answer(request, response))));
    return `http://127.0.0.1:${port}/disk`;
  };

  it.each([
    [301, {}, /got 301/, 1],
    [400, {}, /got 400/, 1],
    [401, {}, /got 401.*secretRef/, 1],
    [403, {}, /got 403.*Check the credentials/, 1],
    [404, {}, /got 404.*Check the URL/, 1],
    [410, {}, /got 410.*Check the URL/, 1],
    [416, {}, /got 416/, 1],
    [204, {}, /got 204/, 1],
    [304, {}, /got 304/, 1],
    [429, { 'retry-after': '0' }, /got 429.*by itself/, 3],
    [500, {}, /got 500.*by itself/, 3],
    [502, {}, /got 502.*by itself/, 3],
    [503, { 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }, /got 503.*by itself/, 3],
    [504, { 'retry-after': '-5' }, /got 504.*by itself/, 3],
  ])('of %i is explained', async (status, headers, message, attempts) => {
    const url = await answering((_request, response) => response.writeHead(status, headers).end());
    expect(await run(url)).toMatchObject({ exitCode: 1, message: expect.stringMatching(message) });
    expect(requests).toBe(attempts);
    expectNothing();
  });

  it('of a server that recovers is the disk', async () => {
    const url = await answering((_request, response) => {
      if (requests < 3) response.writeHead(requests === 1 ? 503 : 429, { 'retry-after': '0' }).end();
      else response.end(DISK);
    });
    expect(await run(url)).toMatchObject({ exitCode: 0 });
    expectDisk();
  });

  it('without end is cut off at the size of the claim', async () => {
    const url = await answering((request, response) => {
      const block = Buffer.alloc(64 * 1024, 'x');
      const more = (): void => {
        while (!request.destroyed && response.write(block));
        if (!request.destroyed) response.once('drain', more);
      };
      more();
    });
    expect(await run(url)).toMatchObject({
      exitCode: 1,
      reason: 'ImageTooLarge',
      message: expect.stringContaining('larger PVC'),
    });
    expectNothing();
  });

  it('that promises more than it gives leaves nothing that looks complete', async () => {
    const url = await answering((request, response) => {
      const start = Number(/bytes=(\d+)/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const range = start > 0 ? { 'content-range': `bytes ${start}-${DISK.length - 1}/${DISK.length}` } : {};
      response.writeHead(start > 0 ? 206 : 200, { ...range, 'content-length': DISK.length - start, etag: '"a"' });
      if (start > 0) response.destroy();
      else response.write(DISK.subarray(0, MiB), () => response.destroy());
    });
    const outcome = await run(url);
    expect(outcome).toMatchObject({ exitCode: 1, reason: 'SourceUnreachable' });
    expect(outcome.result).toBeUndefined();
  });

  it('with another range than was asked for is refused', async () => {
    const url = await answering((request, response) => {
      if (request.headers.range === undefined) {
        response.writeHead(200, { 'content-length': DISK.length, etag: '"a"' });
        response.write(DISK.subarray(0, MiB), () => response.destroy());
      } else {
        response.writeHead(206, { 'content-range': `bytes 0-${DISK.length - 1}/${DISK.length}`, etag: '"a"' }).end(DISK);
      }
    });
    expect(await run(url)).toMatchObject({ exitCode: 1, message: expect.stringContaining('another range') });
  });

  it('that refuses to go on where it broke is asked from the beginning', async () => {
    const ranges: (string | undefined)[] = [];
    const url = await answering((request, response) => {
      ranges.push(request.headers.range);
      const isWhole = requests > 1 && request.headers.range === undefined;
      if (request.headers.range !== undefined) response.writeHead(416, { 'content-range': `bytes */${MiB}` }).end();
      else if (isWhole) response.writeHead(200, { 'content-length': DISK.length, etag: '"b"' }).end(DISK);
      else {
        response.writeHead(200, { 'content-length': DISK.length, etag: '"a"' });
        response.write(DISK.subarray(0, MiB), () => response.destroy());
      }
    });
    expect(await run(url)).toMatchObject({ exitCode: 0 });
    expectDisk();
    expect(ranges.filter((range) => range === undefined)).toHaveLength(2);
  });

  it('that is another file each time is given up', async () => {
    const url = await answering((_request, response) => {
      response.writeHead(200, { 'content-length': DISK.length, etag: `"${requests}"` });
      response.write(DISK.subarray(0, MiB), () => response.destroy());
    });
    expect(await run(url)).toMatchObject({
      exitCode: 1,
      reason: 'SourceChanged',
      message: expect.stringContaining('changed during the download'),
    });
    expectNothing();
  });

  it.each([
    ['to itself', (port: number) => `http://127.0.0.1:${port}/disk`, /redirects more than 10 times/],
    ['to a file', () => 'file:///etc/passwd', /neither http nor https/],
    ['to another scheme', () => 'gopher://127.0.0.1/', /neither http nor https/],
    ['to nowhere', () => 'http://', /neither http nor https/],
    ['to loopback by another address', () => 'http://127.0.0.2/disk', /loopback/],
    ['to loopback in decimal', () => 'http://2130706434/disk', /loopback/],
    ['to loopback in octal', () => 'http://0177.0.0.2/disk', /loopback/],
    ['to this host', () => 'http://0.0.0.0/disk', /loopback/],
    ['to metadata', () => 'http://169.254.169.254/latest/meta-data', /metadata/],
    ['to metadata by IPv6', () => 'http://[fd00:ec2::254]/latest', /metadata/],
    ['to metadata through IPv6', () => 'http://[::ffff:169.254.169.254]/latest', /metadata/],
    ['to metadata through NAT64', () => 'http://[64:ff9b::a9fe:a9fe]/latest', /metadata/],
    ['to the link', () => 'http://[fe80::1]/disk', /link-local/],
    ['to a name of loopback', () => 'http://localhost./disk', /loopback|ENOTFOUND|EAI_AGAIN/],
  ])('that redirects %s is refused', async (_, location, message) => {
    let port = 0;
    const url = await answering((_request, response) => response.writeHead(302, { location: location(port) }).end());
    port = Number(new URL(url).port);
    expect(await run(url)).toMatchObject({ exitCode: 1, message: expect.stringMatching(message) });
    expectNothing();
  });

  it.each([
    ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['endless headers', `HTTP/1.1 200 OK\r\n${'X-Filler: y\r\n'.repeat(10_000)}`],
    ['a length that is none', 'HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx'],
    ['nothing', ''],
  ])('that is %s is explained', async (_, text) => {
    const port = await listen(
      createTcp((socket) => {
        socket.on('error', () => {});
        socket.once('data', () => socket.end(text));
      }),
    );
    const outcome = await run(`http://127.0.0.1:${port}/disk`);
    expect(outcome).toMatchObject({
      exitCode: 1,
      reason: 'SourceUnreachable',
      message: expect.stringMatching(/Unable to connect.*[Cc]heck/),
    });
    expectNothing();
  });
});

describe('TLS', () => {
  const hour = 3_600_000;
  const validity = (from: number, to: number) => ({
    notBefore: new Date(Date.now() + from * hour),
    notAfter: new Date(Date.now() + to * hour),
  });

  async function serveTls(times: { notBefore: Date; notAfter: Date }, ipAddresses: readonly string[]) {
    const authority = await createAuthority({ commonName: 'a CA', ...validity(-100, 100) });
    const { cert, key } = await issueCertificate(authority, { commonName: 'images', usages: ['server'], ipAddresses, ...times });
    const port = await listen(createHttps({ cert, key }, (_request, response) => response.end(DISK)));
    const ca = join(dir, 'ca');
    mkdirSync(ca);
    writeFileSync(join(ca, 'ca.crt'), authority.cert);
    return { url: `https://127.0.0.1:${port}/disk`, ca };
  }

  it('of a CA that was named is trusted', async () => {
    const { url, ca } = await serveTls(validity(-1, 1), ['127.0.0.1']);
    expect(await run(url, { IMPORTER_CERT_DIR: ca })).toMatchObject({ exitCode: 0 });
    expectDisk();
  });

  it.each([
    ['of an unknown CA', validity(-1, 1), ['127.0.0.1'], false, /certConfigMap/],
    ['that has expired', validity(-9, -8), ['127.0.0.1'], true, /expired.*Renew the certificate/],
    ['that is not valid yet', validity(8, 9), ['127.0.0.1'], true, /Renew the certificate|clocks/],
    ['for another address', validity(-1, 1), ['192.0.2.7'], true, /another certificate/],
  ])('%s is refused, once', async (_, times, addresses, isTrusted, message) => {
    const { url, ca } = await serveTls(times, addresses);
    expect(await run(url, isTrusted ? { IMPORTER_CERT_DIR: ca } : {})).toMatchObject({
      ...{ exitCode: 1, reason: 'SourceUnreachable', message: expect.stringMatching(message) },
    });
    expectNothing();
  });

  it('is asked of a server that speaks none', async () => {
    const port = await listen(createHttp((_request, response) => response.end(DISK)));
    const outcome = await run(`https://127.0.0.1:${port}/disk`);
    expect(outcome).toMatchObject({ exitCode: 1, message: expect.stringMatching(/does not speak TLS.*http:\/\//) });
  });
});

describe('the addresses behind a name', () => {
  const named = (addresses: readonly string[]) => {
    const answer = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    const resolve = ((_name: string, _options: object, done: (error: null, found: object[]) => void) =>
      done(null, answer)) as unknown as typeof lookup;
    const guard = addressGuard([], resolve);
    guard.checkHost('images.example.com', 443);
    return new Promise<string[] | string>((done) => {
      guard.lookup('images.example.com', { all: true }, (error, found) => {
        done(error ? error.message : (found as { address: string }[]).map(({ address }) => address));
      });
    });
  };

  it('are refused when they lead inside, and left out when only some do', async () => {
    expect(await named(['127.0.0.1'])).toMatch(/images\.example\.com \(127\.0\.0\.1\).*refused/);
    expect(await named(['169.254.169.254', 'fe80::1'])).toMatch(/169\.254\.169\.254/);
    expect(await named(['192.0.2.1', '127.0.0.1', '2001:db8::1', '::1'])).toEqual(['192.0.2.1', '2001:db8::1']);
  });

  it('are refused in every way to write them', async () => {
    const octet = fc.integer({ min: 0, max: 255 });
    const inner = fc.oneof(
      fc.tuple(fc.constant(127), octet, octet, octet),
      fc.tuple(fc.constant(169), fc.constant(254), octet, octet),
      fc.tuple(fc.constant(0), octet, octet, octet),
    );
    const hex = (value: number): string => value.toString(16);
    const forms: readonly ((ip: readonly number[]) => string)[] = [
      (ip) => ip.join('.'),
      (ip) => String(ip.reduce((sum, part) => sum * 256 + part, 0)),
      (ip) => ip.map((part) => `0x${hex(part)}`).join('.'),
      (ip) => ip.map((part) => `0${part.toString(8)}`).join('.'),
      ([a = 0, b = 0, c = 0, d = 0]) => `[::ffff:${hex(a * 256 + b)}:${hex(c * 256 + d)}]`,
      ([a = 0, b = 0, c = 0, d = 0]) => `[::${hex(a * 256 + b)}:${hex(c * 256 + d)}]`,
      ([a = 0, b = 0, c = 0, d = 0]) => `[64:ff9b::${hex(a * 256 + b)}:${hex(c * 256 + d)}]`,
      ([a = 0, b = 0, c = 0, d = 0]) => `[2002:${hex(a * 256 + b)}:${hex(c * 256 + d)}::1]`,
    ];
    const guard = addressGuard([]);
    fc.assert(
      fc.property(inner, fc.constantFrom(...forms), (ip, form) => {
        const { hostname } = new URL(`http://${form(ip)}/`);
        expect(() => guard.checkHost(hostname, 80)).toThrow(/refused/);
      }),
    );
  });
});
