import { createHash } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { MoverOutcome } from './main.ts';
import type { MoverEnv } from './options.ts';
import { runPoll } from './poll.ts';
import { startS3 } from '@slipway/testkit';
import { type ImageServer, startImageServer } from '@slipway/testkit';
import { testIo } from './testing/test-io.ts';

let server: ImageServer;
beforeEach(async () => {
  server = await startImageServer();
});
afterEach(() => server.close());

async function poll(env: MoverEnv): Promise<MoverOutcome> {
  const { signal } = new AbortController();
  const io = await testIo(signal);
  const registry = server.url.replace('http://', '');
  return runPoll(['--allow-address', '127.0.0.1', '--insecure-registry', registry], env, io, signal);
}

const digestOf = ({ message }: MoverOutcome): string => (JSON.parse(message) as { digest: string }).digest;

it('tells versions of a file apart, and fetches none', async () => {
  const url = `${server.url}/disk`;
  server.files.set('/disk', { body: Buffer.alloc(1024 * 1024), etag: '"1"' });
  const first = await poll({ IMPORTER_ENDPOINT: url });
  const again = await poll({ IMPORTER_ENDPOINT: url });
  server.files.set('/disk', { body: Buffer.alloc(1024 * 1024), etag: '"2"' });
  const second = await poll({ IMPORTER_ENDPOINT: url });

  expect(first).toMatchObject({ exitCode: 0, message: expect.stringMatching(/^\{"digest":"sha256:[0-9a-f]{64}"\}$/) });
  expect(digestOf(again)).toBe(digestOf(first));
  expect(digestOf(second)).not.toBe(digestOf(first));
});

it('says that a server gives no way to tell versions apart', async () => {
  server.files.set('/disk', { body: Buffer.alloc(1024), etag: '' });
  const outcome = await poll({ IMPORTER_ENDPOINT: `${server.url}/disk` });
  expect(outcome).toMatchObject({ exitCode: 1, message: expect.stringContaining('neither ETag nor Last-Modified') });
});

it('says what the server answered', async () => {
  const outcome = await poll({ IMPORTER_ENDPOINT: `${server.url}/nothing` });
  expect(outcome).toMatchObject({ exitCode: 1, message: expect.stringContaining('got 404') });
});

it('reads the digest of the manifest that a tag names', async () => {
  const body = Buffer.from(JSON.stringify({ manifests: [] }));
  server.files.set('/v2/os/debian/manifests/12', { body });
  const reference = `docker://${server.url.replace('http://', '')}/os/debian:12`;
  const outcome = await poll({ IMPORTER_SOURCE: 'registry', IMPORTER_ENDPOINT: reference });
  expect(digestOf(outcome)).toBe(`sha256:${createHash('sha256').update(body).digest('hex')}`);
});

it('polls a private S3 object', async () => {
  const store = await startS3({ region: 'us-east-1', keyId: 'id', secret: 'secret' });
  store.objects.set('/b/k', Buffer.alloc(1024));
  const env = { IMPORTER_SOURCE: 's3', IMPORTER_ACCESS_KEY_ID: 'id', IMPORTER_SECRET_KEY: 'secret' };
  const outcome = await poll({ ...env, IMPORTER_ENDPOINT: `${store.url}/b/k` });
  await store.close();
  expect(outcome).toMatchObject({ exitCode: 0 });
});
