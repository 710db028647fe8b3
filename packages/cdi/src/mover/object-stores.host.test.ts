import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { gcsObject } from './gcs.ts';
import { type MoverOutcome, runMover } from './main.ts';
import type { MoverEnv } from './options.ts';
import { s3Region } from './s3.ts';
import { type ObjectStore, startGcs, startS3 } from '@slipway/testkit';
import { testIo } from './testing/test-io.ts';

const MiB = 1024 * 1024;
const disk = Buffer.concat([randomBytes(MiB), Buffer.alloc(2 * MiB), randomBytes(MiB)]);
const [keyId, secret] = ['AKIDEXAMPLE', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'];

let dir: string;
let stores: ObjectStore[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipstore-'));
  stores = [];
  writeFileSync(join(dir, 'disk.img'), '');
  truncateSync(join(dir, 'disk.img'), 4 * MiB);
});
afterEach(async () => {
  for (const store of stores) await store.close();
  rmSync(dir, { recursive: true, force: true });
});

const opened = <T extends ObjectStore>(store: T): T => {
  stores.push(store);
  return store;
};

async function run(env: MoverEnv): Promise<MoverOutcome> {
  const { signal } = new AbortController();
  const io = await testIo(signal);
  const places = ['--target', join(dir, 'disk.img'), '--work', join(dir, 'work'), '--size', String(4 * MiB)];
  return runMover([...places, '--allow-address', '127.0.0.1', '--retry-base-ms', '5'], env, io, signal);
}

const content = (): Buffer => readFileSync(join(dir, 'disk.img'));

describe('S3', () => {
  const credentials = { IMPORTER_SOURCE: 's3', IMPORTER_ACCESS_KEY_ID: keyId, IMPORTER_SECRET_KEY: secret };

  it.each([
    ['raw', '/bucket/disk.img', disk],
    ['gzip', '/bucket/a folder/disk+1.img.gz', gzipSync(disk)],
  ])('imports a private %s object', async (_, path, body) => {
    const store = opened(await startS3({ region: 'us-east-1', keyId, secret }));
    store.objects.set(path, body);

    const outcome = await run({ ...credentials, IMPORTER_ENDPOINT: store.url + encodeURI(path) });

    expect(outcome).toMatchObject({ exitCode: 0 });
    expect(content().equals(disk)).toBe(true);
  });

  it('signs again for the region that the store names', async () => {
    const store = opened(await startS3({ region: 'eu-central-1', keyId, secret }));
    store.objects.set('/b/k', disk);

    expect(await run({ ...credentials, IMPORTER_ENDPOINT: `${store.url}/b/k` })).toMatchObject({ exitCode: 0 });

    expect(store.answers).toEqual(['400 /b/k', '200 /b/k']);
    expect(content().equals(disk)).toBe(true);
  });

  it('reads a public object without credentials', async () => {
    const store = opened(await startS3({ region: 'us-east-1' }));
    store.objects.set('/b/k', disk);
    expect(await run({ IMPORTER_SOURCE: 's3', IMPORTER_ENDPOINT: `${store.url}/b/k` })).toMatchObject({ exitCode: 0 });
  });

  it('names the Secret when the key is refused', async () => {
    const store = opened(await startS3({ region: 'us-east-1', keyId, secret: 'another' }));
    store.objects.set('/b/k', disk);
    expect(await run({ ...credentials, IMPORTER_ENDPOINT: `${store.url}/b/k` })).toMatchObject({
      exitCode: 1,
      message: expect.stringMatching(/s3 data source: .* 403.*spec\.source\.s3\.secretRef/),
    });
  });

  it.each([
    ['https://s3.eu-west-1.amazonaws.com/b/k', 'eu-west-1'],
    ['https://s3.dualstack.eu-west-1.amazonaws.com/b/k', 'eu-west-1'],
    ['https://s3-us-west-2.amazonaws.com/b/k', 'us-west-2'],
    ['https://s3.amazonaws.com/b/k', 'us-east-1'],
    ['https://minio.example.com/b/k', 'minio'],
    ['http://10.0.0.1:9000/b/k', 'us-east-1'],
    ['http://[fd00::1]:9000/b/k', 'us-east-1'],
  ])('signs for %s in %s', (endpoint, region) => {
    expect(s3Region(new URL(endpoint))).toBe(region);
  });
});

describe('Google Cloud Storage', () => {
  const keyed = (key: string): MoverEnv => {
    const file = join(dir, 'credentials.json');
    writeFileSync(file, key);
    return { IMPORTER_SOURCE: 'gcs', GOOGLE_APPLICATION_CREDENTIALS: file };
  };

  it('imports a private object with a service account', async () => {
    const store = opened(await startGcs());
    store.objects.set('/bucket/disk.img', disk);

    const outcome = await run({ ...keyed(store.keyFile), IMPORTER_ENDPOINT: `${store.url}/bucket/disk.img` });

    expect(outcome).toMatchObject({ exitCode: 0 });
    expect(content().equals(disk)).toBe(true);
    expect(store.answers).toEqual(['200 /token', '200 /bucket/disk.img']);
  });

  it('says that the token server refuses a key', async () => {
    const [store, other] = [opened(await startGcs()), opened(await startGcs())];
    const stranger = { ...JSON.parse(other.keyFile), token_uri: `${store.url}/token` };
    const outcome = await run({ ...keyed(JSON.stringify(stranger)), IMPORTER_ENDPOINT: `${store.url}/b/k` });
    expect(outcome).toMatchObject({ exitCode: 1, message: expect.stringMatching(/answered 400.*spec\.source\.gcs\.secretRef/) });
  });

  it.each([['not JSON'], ['{"client_email":"x"}']])('refuses the key file %j without repeating it', async (key) => {
    const outcome = await run({ ...keyed(key), IMPORTER_ENDPOINT: 'gs://bucket/object' });
    expect(outcome).toMatchObject({ exitCode: 1, reason: 'InvalidRequest' });
    expect(outcome.message).not.toContain(key);
  });

  it('reads gs:// URLs', () => {
    expect(gcsObject(new URL('gs://bucket/a/b.img')).href).toBe('https://storage.googleapis.com/bucket/a/b.img');
    expect(() => gcsObject(new URL('gs://bucket'))).toThrow('gs://bucket/object');
  });
});

it.each(['imageio', 'vddk'])('says what to do instead of %s', async (source) => {
  expect(await run({ IMPORTER_SOURCE: source, IMPORTER_ENDPOINT: 'https://x/' })).toMatchObject({
    exitCode: 1,
    message: expect.stringContaining('upload it'),
  });
});
