// Documents that strangers write beside the bytes of a disk: OVF, image layouts, configurations, credentials.
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fuzz, mutateBytes, mutateJson, type Random, randomText, seededRandom } from '@slipway/testkit';
import { isDescriptor, systemClock } from '@slipway/runtime';
import { pack } from 'tar-stream';
import { expect, it } from 'vitest';
import { disksOf } from './appliance.ts';
import { gcsObject } from './gcs.ts';
import { type ImageFiles, importImageFiles, isImageArchive } from './image-archive.ts';
import { imageLabels } from './image-labels.ts';
import { ImportError } from './import-error.ts';
import { ingest, type IngestDeps } from './ingest.ts';
import { ProgressReporter } from './progress.ts';
import { registryCredentials } from './registry-credentials.ts';
import { parseImageReference } from './registry-reference.ts';
import { s3Object, s3Region } from './s3.ts';

const CLAIM = 1024 * 1024;
const { signal } = new AbortController();
const OVF = `<?xml version="1.0"?><Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
<References><File ovf:href="a.vmdk" ovf:id="f1" ovf:size="9"/><File ovf:href="b.vmdk" ovf:id="f2"/></References>
<DiskSection><Disk ovf:capacity="4" ovf:diskId="d1" ovf:fileRef="f1"/><Disk ovf:fileRef = "f2"/></DiskSection></Envelope>`;

it('reads OVF documents of any text, in time that grows with their length', async () => {
  const words = ['<File ', '<Disk ', 'ovf:', 'href', 'id', 'fileRef', '=', '"', '>', '/>', ' ', 'a'.repeat(50), '<x:'];
  await fuzz({
    name: 'OVF documents',
    inputs: 3000,
    make: (random) =>
      random.chance(0.5)
        ? mutateBytes(random, Buffer.from(OVF), [Buffer.from(OVF)]).toString('utf8')
        : randomText(random, words).repeat(1 + random.below(200)),
    run(text) {
      for (const name of disksOf(text)) expect(name).toMatch(/^[^"<>]+$/);
    },
  });
  for (const text of [
    '<File '.repeat(150_000),
    `<File ${'a'.repeat(4000)}>`.repeat(200),
    `<File ${'a '.repeat(2000)}>`.repeat(200),
  ])
    await fuzz({ name: 'long OVF documents', inputs: 1, make: () => text, run: (long) => expect(disksOf(long)).toEqual([]) });
});

it('reads settings, labels and credentials of any shape', async () => {
  const image = parseImageReference('docker://quay.io/a/b:1');
  const auths = {
    'quay.io/a': { auth: Buffer.from('joe:secret').toString('base64') },
    'https://x/v1/': { username: 'u', password: 'p' },
  };
  const config = { architecture: 'amd64', config: { Env: ['INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE=fedora', 'A=b'] } };
  await fuzz({
    name: 'settings of images',
    inputs: 4000,
    make: (random) => mutateJson(random, mutateJson(random, random.pick<unknown>([{ auths }, config]))),
    run(value) {
      for (const [key, label] of Object.entries(imageLabels(value))) {
        expect(key).toMatch(/^[a-z0-9.]+\.kubevirt\.io\/[a-z0-9-]{1,63}$/);
        expect(label.length).toBeLessThanOrEqual(63);
      }
      try {
        const found = registryCredentials(JSON.stringify(value) ?? '', image);
        if (found !== undefined) expect([typeof found.username, typeof found.password]).toEqual(['string', 'string']);
      } catch (error) {
        expect(error).toBeInstanceOf(ImportError);
        expect(String(error)).not.toContain('secret:');
      }
    },
  });
});

it('makes no address of another host from the URL of an object', async () => {
  await fuzz({
    name: 'URLs of objects',
    inputs: 3000,
    make: (random) =>
      randomText(random, ['gs://', 'https://', 's3.eu-west-1.amazonaws.com', '/', 'b', '@', ':', '..', '%2f', '\\', '#', '?']),
    run(text) {
      if (!URL.canParse(text)) return;
      const url = new URL(text);
      try {
        if (url.protocol === 'https:') {
          expect(s3Object(url).host).toBe(url.host);
          // it becomes part of a header
          expect(s3Region(url)).toMatch(/^[^\s,/]+$/);
        }
        const object = gcsObject(url);
        expect(object.host).toBe(url.protocol === 'gs:' ? 'storage.googleapis.com' : url.host);
      } catch (error) {
        expect(error).toBeInstanceOf(ImportError);
      }
    },
  });
});

it.each([null, 'x', [], {}, { digest: 'sha256:0', size: 1 }, { digest: `sha256:${'0'.repeat(64)}`, size: -1 }])(
  'takes %j for no descriptor',
  (value) => expect(isDescriptor(value)).toBe(false),
);

const hex = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

async function tarOf(files: ReadonlyMap<string, Buffer>): Promise<Buffer> {
  const tar = pack();
  for (const [name, data] of files) tar.entry({ name }, data);
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A layout whose documents were changed before they were named by their digests, so that more than digests is tried. */
async function hostileLayout(random: Random, disk: Buffer): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const add = (data: Buffer) => {
    files.set(`blobs/sha256/${hex(data)}`, data);
    return { digest: `sha256:${hex(data)}`, size: data.length };
  };
  const changed = (value: unknown): Buffer =>
    Buffer.from(JSON.stringify(random.chance(0.5) ? mutateJson(random, value) : value) ?? '');
  const name = random.pick(['disk/a', './disk/a', '/disk/a', 'disk/../disk/a', 'disk/.wh.a', 'etc/a']);
  const layer = await tarOf(new Map([[name, disk]]));
  const layers = [add(random.chance(0.3) ? mutateBytes(random, layer, [layer]) : layer)];
  const manifest = add(changed({ schemaVersion: 2, config: add(changed({ config: { Env: [] } })), layers }));
  files.set(
    'index.json',
    changed({ manifests: [random.chance(0.5) ? manifest : { ...manifest, platform: { architecture: 'amd64' } }] }),
  );
  const docker = [{ Config: 'c.json', Layers: [...files.keys()].slice(0, 1) }];
  if (random.chance(0.3)) files.delete('index.json');
  return files.set('manifest.json', changed(docker));
}

it('imports images of any documents whole, or refuses them, and writes nowhere else', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sliphostile-'));
  const [path, workDir] = [join(dir, 'disk.img'), join(dir, 'work')];
  const none = (): never => {
    throw new Error('a raw disk needs no tool');
  };
  const deps: IngestDeps = {
    ...{ workDir, architecture: 'amd64', tools: { run: none, filter: none }, clock: systemClock, bootId: 'b' },
    destination: { path, maxBytes: CLAIM, isClaim: true, preallocates: false },
    progress: new ProgressReporter(systemClock, () => {}),
  };
  const disk = seededRandom(3).bytes(4096);
  try {
    // not by `fuzz`, which would take the time that files cost for a stall
    const inputs = Number(process.env['SLIPWAY_FUZZ_INPUTS'] ?? 60);
    const first = Number(process.env['SLIPWAY_FUZZ_SEED'] ?? 1);
    for (let seed = first; seed < first + inputs; seed++) {
      const shown = `SLIPWAY_FUZZ_SEED=${seed} SLIPWAY_FUZZ_INPUTS=1`;
      const random = seededRandom(Math.imul(seed, 0x9e3779b1));
      rmSync(workDir, { recursive: true, force: true });
      writeFileSync(path, '');
      truncateSync(path, CLAIM);
      const layout = await hostileLayout(random, disk);
      const files: ImageFiles = async (name) => stream(layout.get(name));
      const running = random.chance(0.5)
        ? importImageFiles(files, deps, signal)
        : ingest(stream(await tarOf(layout)) ?? none(), deps, signal);
      const failure: unknown = await running.then(() => undefined).catch((error: unknown) => error);
      if (failure !== undefined) expect(failure, shown).toBeInstanceOf(ImportError);
      else expect(statSync(path).size, shown).toBe(CLAIM);
      expect(
        readdirSync(dir).filter((name) => name !== 'work'),
        shown,
      ).toEqual(['disk.img']);
      if (existsSync(workDir)) expect(readdirSync(workDir), shown).toEqual(['archive']);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

const stream = (data: Buffer | undefined): AsyncGenerator<Buffer> | undefined => data && pieces(data);

async function* pieces(data: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += 1000) yield data.subarray(at, at + 1000);
}

it('takes names alone for what an archive is', async () => {
  await fuzz({
    name: 'first files of archives',
    inputs: 2000,
    make: (random) => randomText(random, ['blobs/', 'sha256/', 'a'.repeat(64), '/', '..', 'index.json', 'oci-layout', './']),
    run: (name) => void isImageArchive(name),
  });
});
