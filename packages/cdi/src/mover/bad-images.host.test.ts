// Every bad image is refused with a cause and a remedy, nothing of it stays, and no other file is read.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { systemClock } from '@slipway/runtime';
import { mutateBytes, seededRandom } from '@slipway/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { hostImageTools } from './host-image-tools.ts';
import type { ImageTools } from './image-tools.ts';
import { type MoverOutcome, runMover } from './main.ts';
import { BAD_IMAGES, FOREIGN_FILE } from './testing/bad-images.ts';
import { type ImageServer, startImageServer } from '@slipway/testkit';

const MiB = 1024 * 1024;
const SIZE = 8 * MiB;
const { signal } = new AbortController();
let server: ImageServer;
let tools: ImageTools;
let dir: string;
let target: string;
let work: string;

beforeAll(async () => {
  server = await startImageServer();
  tools = await hostImageTools(() => {}, signal);
});
afterAll(() => server.close());
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipbad-'));
  [target, work] = [join(dir, 'disk.img'), join(dir, 'work')];
  writeFileSync(target, '');
  truncateSync(target, SIZE);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const run = async (body: Buffer): Promise<MoverOutcome> => {
  server.files.set('/disk', { body });
  const argv = ['--target', target, '--work', work, '--size', String(SIZE), '--allow-address', '127.0.0.0/8'];
  const io = { tools, clock: systemClock, random: Math.random, bootId: 'boot', progress: () => {}, log: () => {} };
  return runMover(argv, { IMPORTER_ENDPOINT: `${server.url}/disk` }, io, signal);
};

function expectNothingLeft(): void {
  expect(statSync(target)).toMatchObject({ size: SIZE, blocks: 0 });
  expect(readdirSync(work)).toEqual([]);
}

describe('a bad image', () => {
  it.each(BAD_IMAGES)('$name is refused', async ({ bytes, message }) => {
    const outcome = await run(bytes);
    expect(outcome).toMatchObject({ exitCode: 1, message: expect.stringMatching(message) });
    expect(outcome.message).toMatch(
      /[Pp]ublish|[Cc]heck|[Dd]ecrypt|Flatten|Convert|Unpack|larger PVC|not supported|out of range|virtual size of zero/,
    );
    expect(outcome.message).not.toContain('root:');
    expect(outcome.result).toBeUndefined();
    expectNothingLeft();
  });

  it.each([
    ['bombs in bombs', () => gzipSync(gzipSync(gzipSync(Buffer.alloc(64 * MiB))))],
    ['a bomb that is compressed too often', () => gzipSync(gzipSync(gzipSync(gzipSync(Buffer.alloc(MiB)))))],
    ['a bomb of xz', () => execFileSync('xz', ['-0'], { input: Buffer.alloc(64 * MiB), maxBuffer: 64 * MiB })],
    ['a bomb of zstd', () => execFileSync('zstd', ['-q'], { input: Buffer.alloc(64 * MiB), maxBuffer: 64 * MiB })],
    ['a bomb of bzip2', () => execFileSync('bzip2', ['-1'], { input: Buffer.alloc(64 * MiB), maxBuffer: 64 * MiB })],
    ['a truncated zstd', () => execFileSync('zstd', ['-q'], { input: Buffer.alloc(4 * MiB, 'abc') }).subarray(0, 200)],
    ['a truncated bzip2', () => execFileSync('bzip2', ['-1'], { input: Buffer.alloc(MiB, 'abc') }).subarray(0, 60)],
    [
      'a gzip with the wrong sum at its end',
      () => Buffer.concat([gzipSync(Buffer.alloc(MiB, 'a')).subarray(0, -8), Buffer.alloc(8, 7)]),
    ],
    ['an xz that asks for more memory than there is', () => execFileSync('xz', ['-9e', '--lzma2=dict=1536MiB'], { input: 'x' })],
  ])('%s is refused', async (_, body) => {
    const outcome = await run(body());
    expect(outcome).toMatchObject({ exitCode: 1 });
    expect(outcome.message).toMatch(
      /larger than the reported available storage|truncated or corrupt|compressed more than|only \d+ bytes/,
    );
    expectNothingLeft();
  });

  // SLIPWAY_FUZZ_INPUTS and SLIPWAY_FUZZ_SEED as everywhere; each input costs several runs of qemu-img
  it(
    'that is nearly a good one is imported whole or refused, and reads no other file',
    async () => {
      const secret = createHash('sha256').update(readFileSync(FOREIGN_FILE)).digest('hex');
      const good = ['qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc'].map((format) => {
        const image = join(dir, `good.${format}`);
        execFileSync('qemu-img', ['create', '-q', '-f', format, image, '1M']);
        return readFileSync(image).subarray(0, 4 * MiB);
      });
      const samples = [...good, ...BAD_IMAGES.map(({ bytes }) => bytes)];
      const inputs = Number(process.env['SLIPWAY_FUZZ_INPUTS'] ?? 12);
      const first = Number(process.env['SLIPWAY_FUZZ_SEED'] ?? 1);
      for (let seed = first; seed < first + inputs; seed++) {
        const random = seededRandom(Math.imul(seed, 0x9e3779b1));
        const sample = random.pick(samples);
        const head = 4096 + random.below(65_536);
        const image = Buffer.concat([mutateBytes(random, sample.subarray(0, head)), sample.subarray(head)]);
        const outcome = await run(image);
        const shown = `SLIPWAY_FUZZ_SEED=${seed} SLIPWAY_FUZZ_INPUTS=1: ${outcome.message}`;
        const disk = readFileSync(target);
        expect(disk.length, shown).toBe(SIZE);
        expect(disk.includes('root:x:0:0'), shown).toBe(false);
        expect(outcome.message, shown).not.toContain(secret);
        if (outcome.result !== undefined) {
          execFileSync('fallocate', ['--punch-hole', '--offset', '0', '--length', String(SIZE), target]);
          continue;
        }
        expect(['InvalidImage', 'ImageTooLarge'], shown).toContain(outcome.reason);
        expectNothingLeft();
      }
    },
    6 * 3600_000,
  );
});
