import { PassThrough, Duplex, Readable } from 'node:stream';
import { generateKeyPairSync } from 'node:crypto';
import { PersistentVolumeClaimKind, PodKind, SecretKind, UploadVerb } from '@slipway/api';
import type { OpenRequest, OpenResponse } from '@slipway/runtime';
import { built, fakeClock, fakeNodeConnector, pvc, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FrameReader, sendMessage, type UploadAnswer } from './frames.ts';
import { boundaryOf, FormError, formFile } from './multipart.ts';
import { clusterUploadTokens } from './signing-key.ts';
import { uploadProxy } from './upload-proxy.ts';
import { type UploadTokens, uploadTokens } from './upload-token.ts';
import { uploadTokenApi } from './upload-token-api.ts';

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const PEM = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const NOW = Date.parse('2026-01-01T00:00:00Z');
const PATIENCE = { timeout: 60_000 };
const CLAIM = { namespace: 'a', name: 'disk', uid: 'claim-uid' };

describe('an upload token', () => {
  it('names its claim for five minutes', () => {
    let now = NOW;
    const tokens = uploadTokens(PEM, () => now);
    const token = tokens.issue(CLAIM);
    expect(tokens.read(token)).toEqual(CLAIM);
    now += 299_000;
    expect(tokens.read(token)).toEqual(CLAIM);
    now += 1_000;
    expect(tokens.read(token)).toBe('invalid');
  });

  const tokens = uploadTokens(PEM, () => NOW);
  const other = uploadTokens(
    generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    () => NOW,
  );
  const [head = '', body = '', signature = ''] = tokens.issue(CLAIM).split('.');
  const json = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  it.each([
    ['of another key', other.issue(CLAIM)],
    ['with other claims', [head, json({ operation: 'Upload', name: 'x', namespace: 'a' }), signature].join('.')],
    ['without signature', [json({ alg: 'none' }), body, ''].join('.')],
    ['of a weaker kind', [json({ alg: 'HS256' }), body, signature].join('.')],
    ['that is none', 'a.b.c'],
    ['that is empty', ''],
  ])('%s is refused', (_, token) => {
    expect(tokens.read(token)).toBe('invalid');
  });
});

describe('a form', () => {
  const form = Buffer.from(
    [
      'preamble',
      '--sep',
      'Content-Disposition: form-data; name="comment"',
      '',
      'not\r\n--sepal the file',
      '--sep',
      'Content-Disposition: form-data; name="file"; filename="disk.img"',
      'Content-Type: application/octet-stream',
      '',
      'one\r\n--se two\r\n\r\n--three',
      '--sep--',
      '',
    ].join('\r\n'),
  );

  async function read(bytes: Buffer, size: number, boundary = 'sep'): Promise<string> {
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
    const out: Buffer[] = [];
    for await (const piece of formFile(Readable.from(pieces).iterator(), boundary)) out.push(piece);
    return Buffer.concat(out).toString();
  }

  it.each([1, 2, 3, 7, 16, 1000])('gives its file, in pieces of %i bytes', async (size) => {
    // "sepal" begins like the boundary and is the rest of a line: as a boundary it would end the part
    expect(await read(Buffer.from(form.toString().replace('--sepal', '--se pal')), size)).toBe('one\r\n--se two\r\n\r\n--three');
  });

  it('may have an empty file', async () => {
    const empty = '--sep\r\nContent-Disposition: form-data; name="file"\r\n\r\n\r\n--sep--\r\n';
    expect(await read(Buffer.from(empty), 5)).toBe('');
  });

  it('without its end is cut off, and without a file none', async () => {
    await expect(read(form.subarray(0, form.length - 12), 100)).rejects.toThrow('connection broke');
    await expect(
      read(Buffer.from('--sep\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--sep--\r\n'), 9),
    ).rejects.toThrow(FormError);
  });

  it.each([
    ['multipart/form-data; boundary=abc', 'abc'],
    ['multipart/form-data; charset=utf-8; boundary="a b"', 'a b'],
    ['application/octet-stream', undefined],
    [undefined, undefined],
  ])('with content type %s has the boundary %s', (header, boundary) => {
    expect(boundaryOf(header)).toBe(boundary);
  });
});

describe('the upload proxy', () => {
  let world: TestWorld;
  const nodes = fakeNodeConnector();
  const clock = fakeClock(NOW);
  const tokens: UploadTokens = uploadTokens(PEM, () => clock.now());
  let asked: Record<string, unknown>[] = [];
  let received: Buffer[] = [];
  let answer: UploadAnswer;
  let answersEarly = false;
  let cutOffs = 0;

  const TARGET = { 'cdi.kubevirt.io/storage.upload.target': '', 'cdi.kubevirt.io/storage.pod.ready': 'true' };
  let uid: string;

  /** A claim with its upload server. */
  async function start(annotations: Record<string, string> = TARGET): Promise<void> {
    world = await testWorld({ controllers: [] }).with(pvc('a/disk', { metadata: { annotations } }));
    uid = (await world.get(PersistentVolumeClaimKind, 'a/disk')).metadata.uid ?? '';
    const owner = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name: 'disk', uid, controller: true };
    await world.with(
      built(PodKind, 'a/cdi-upload-disk', {
        metadata: { ownerReferences: [owner] },
        spec: { nodeName: 'node1', containers: [{ name: 'server', image: 'slipway/cdi-uploadserver' }] },
      }),
    );
  }

  beforeEach(() => {
    asked = [];
    received = [];
    answer = { status: 200, message: '' };
    answersEarly = false;
    cutOffs = 0;
    nodes.onOpen(UploadVerb.stream, fakeMover);
  });
  afterEach(() => world?.close());

  /** The other end of the node tunnel. */
  function fakeMover(): Duplex {
    const [there, back] = [new PassThrough(), new PassThrough()];
    const serve = async (): Promise<void> => {
      const reader = new FrameReader(there.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>);
      const question = await reader.message();
      asked.push(question);
      if (question['kind'] === 'upload' && !answersEarly) for await (const piece of reader.body()) received.push(piece);
      await sendMessage(back, answer, new AbortController().signal);
      back.end();
    };
    serve().catch(() => {
      cutOffs++;
      back.end();
    });
    return Duplex.from({ readable: back, writable: there });
  }

  function send(request: Partial<OpenRequest> & { readonly path: string }): Promise<OpenResponse> {
    const [route] = uploadProxy({ client: world.client, nodes, tokens: () => Promise.resolve(tokens), clock });
    if (route === undefined) throw new Error('No route');
    return route.handle({
      method: 'POST',
      query: new URLSearchParams(),
      incoming: Readable.from([]),
      signal: new AbortController().signal,
      ...request,
      headers: { authorization: `Bearer ${tokens.issue({ ...CLAIM, uid })}`, ...request.headers },
    });
  }

  it.each([
    ['/v1beta1/upload', false],
    ['/v1beta1/upload-async', true],
    ['/v1alpha1/upload-async', true],
  ])('passes what comes to %s on', async (path, isAsync) => {
    await start();
    const incoming = Readable.from([Buffer.from('abc'), Buffer.alloc(0), Buffer.from('def')]);
    expect(await send({ path, incoming, headers: { 'content-length': '6' } })).toMatchObject({ status: 200 });
    expect(asked).toEqual([{ kind: 'upload', isAsync, offset: 0, totalBytes: 6 }]);
    expect(Buffer.concat(received).toString()).toBe('abcdef');
  });

  it('takes the file out of a form', async () => {
    await start();
    const body = '--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--x--\r\n';
    const headers = { 'content-type': 'multipart/form-data; boundary=x', 'content-length': String(body.length) };
    const incoming = Readable.from([Buffer.from(body)]);
    expect(await send({ path: '/v1beta1/upload-form-async', incoming, headers })).toMatchObject({ status: 200 });
    expect(asked).toEqual([{ kind: 'upload', isAsync: true, offset: 0 }]);
    expect(Buffer.concat(received).toString()).toBe('abc');
  });

  it('says how far a named upload is, and goes on with it', async () => {
    await start();
    answer = { status: 200, message: '', id: 'me', offset: 3, totalBytes: 6 };
    const head = await send({ method: 'HEAD', path: '/v1beta1/upload-async' });
    expect(head).toMatchObject({ status: 200, headers: { 'upload-id': 'me', 'upload-offset': '3', 'upload-length': '6' } });
    const headers = { 'upload-id': 'me', 'upload-offset': '3', 'content-length': '3', 'upload-checksum': 'sha256:00' };
    await send({ method: 'PATCH', path: '/v1beta1/upload-async', incoming: Readable.from([Buffer.from('def')]), headers });
    expect(asked).toEqual([
      { kind: 'status' },
      { kind: 'upload', isAsync: true, offset: 3, totalBytes: 6, id: 'me', checksum: 'sha256:00' },
    ]);
  });

  it('gives an answer that comes before the end of the body', async () => {
    await start();
    answersEarly = true;
    answer = { status: 400, message: 'Saving stream failed: <too large>' };
    const endless = Readable.from(
      (async function* () {
        for (;;) {
          yield Buffer.alloc(64 * 1024, 1);
          await new Promise((resolve) => setImmediate(resolve));
        }
      })(),
    );
    const response = await send({ path: '/v1beta1/upload', incoming: endless });
    expect(response).toMatchObject({ status: 400, body: 'Saving stream failed: &lt;too large&gt;\n' });
  });

  it('never lets a body that breaks off look complete', async () => {
    await start();
    const incoming = Readable.from(
      (async function* () {
        yield Buffer.from('abc');
        throw new Error('aborted');
      })(),
    );
    await expect(send({ path: '/v1beta1/upload', incoming })).rejects.toThrow('aborted');
    await expect.poll(() => cutOffs, PATIENCE).toBe(1);
    // over HTTP/2 it ends like any other, and only a flag tells
    const reset = Object.assign(Readable.from([Buffer.from('abc')]), { aborted: true });
    expect(await send({ path: '/v1beta1/upload', incoming: reset })).toMatchObject({ status: 502 });
    await expect.poll(() => cutOffs, PATIENCE).toBe(2);
  });

  const done = { ...TARGET, 'cdi.kubevirt.io/storage.pod.phase': 'Succeeded' };
  it.each([
    ['a claim that is filled', done, 'rejecting Upload Request for PVC disk that already finished uploading'],
    ['a claim for something else', {}, 'PVC disk is not an upload target'],
    ['content of an unknown kind', { ...TARGET, 'cdi.kubevirt.io/storage.contentType': 'x' }, 'upload content-type x is invalid'],
  ])('refuses %s', async (_, annotations, reason) => {
    await start(annotations);
    expect(await send({ path: '/v1beta1/upload' })).toMatchObject({ status: 503, body: expect.stringContaining(reason) });
    expect(asked).toEqual([]);
  });

  it('refuses the token of a claim that was deleted and made anew', async () => {
    await start();
    uid = 'of the one before';
    expect(await send({ path: '/v1beta1/upload' })).toMatchObject({
      status: 401,
      body: expect.stringContaining('another claim'),
    });
  });

  it('refuses a token that has expired, that an upload used up, or that names a claim of another namespace', async () => {
    await start();
    const authorization = `Bearer ${tokens.issue({ ...CLAIM, uid })}`;
    expect(await send({ path: '/v1beta1/upload', headers: { authorization } })).toMatchObject({ status: 200 });
    await world.client.patch(PersistentVolumeClaimKind, CLAIM, { metadata: { annotations: done } }, { type: 'merge' });
    expect(await send({ path: '/v1beta1/upload', headers: { authorization } })).toMatchObject({
      status: 503,
      body: expect.stringContaining('already finished uploading'),
    });
    const elsewhere = `Bearer ${tokens.issue({ ...CLAIM, namespace: 'b', uid })}`;
    expect(await send({ path: '/v1beta1/upload', headers: { authorization: elsewhere } })).toMatchObject({ status: 503 });
    await world.client.patch(
      PersistentVolumeClaimKind,
      CLAIM,
      { metadata: { annotations: { ...TARGET, 'cdi.kubevirt.io/storage.pod.phase': null } } },
      { type: 'merge' },
    );
    clock.advance(300_000);
    expect(await send({ path: '/v1beta1/upload', headers: { authorization } })).toMatchObject({ status: 401 });
    expect(asked.filter(({ kind }) => kind === 'upload')).toHaveLength(1);
  });

  it('refuses a claim that does not exist, and tokens that do not fit', async () => {
    world = testWorld({ controllers: [] });
    expect(await send({ path: '/v1beta1/upload' })).toMatchObject({
      status: 503,
      body: expect.stringContaining('that doesn&#39;t exist'),
    });
    for (const [authorization, status] of [
      ['', 400],
      ['Basic abc', 400],
      ['Bearer nonsense', 400],
      ['Bearer a.b.c', 401],
    ] as const)
      expect(await send({ path: '/v1beta1/upload', headers: { authorization } })).toMatchObject({ status });
    expect(await send({ method: 'GET', path: '/v1beta1/upload' })).toMatchObject({ status: 404 });
    expect(await send({ path: '/v1beta1/upload/x' })).toMatchObject({ status: 404 });
    expect(await send({ method: 'OPTIONS', path: '/v1beta1/upload' })).toMatchObject({
      status: 204,
      headers: { 'access-control-allow-origin': '*' },
    });
  });

  it('waits for the upload server, and says when that takes too long', async () => {
    await start({ 'cdi.kubevirt.io/storage.upload.target': '' });
    const waiting = send({ path: '/v1beta1/upload' });
    let response: OpenResponse | undefined;
    void waiting.then((value) => (response = value));
    while (response === undefined) {
      clock.advance(250);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(response).toMatchObject({ status: 503, body: expect.stringContaining('timed out') });
    await world.client.patch(PersistentVolumeClaimKind, CLAIM, { metadata: { annotations: TARGET } }, { type: 'merge' });
    expect(await send({ path: '/v1beta1/upload' })).toMatchObject({ status: 200 });
  });
});

describe('an UploadTokenRequest', () => {
  let world: TestWorld;
  afterEach(() => world.close());

  it('is answered with a token for the claim, signed by a key that stays', async () => {
    world = await testWorld({ controllers: [] }).with(pvc('a/disk'));
    const tokens = clusterUploadTokens(world.client, 'platform', () => NOW);
    const api = uploadTokenApi({ client: world.client, tokens, now: () => new Date(NOW), randomName: () => 'x1' });
    const post = (body: object) =>
      api.routes[0]?.methods['POST']?.({
        ...{ user: { username: 'u', groups: [] }, method: 'POST', version: 'v1beta1', namespace: 'a', name: '', rest: [] },
        ...{ query: new URLSearchParams(), body, signal: new AbortController().signal },
      });
    const answered = await post({ metadata: { generateName: 'token-' }, spec: { pvcName: 'disk' } });
    expect(answered).toMatchObject({
      status: 201,
      body: { kind: 'UploadTokenRequest', metadata: { name: 'token-x1', namespace: 'a' }, spec: { pvcName: 'disk' } },
    });
    const { token } = (answered?.body as { status: { token: string } } | undefined)?.status ?? { token: '' };
    // another process, with the key of the first
    const again = clusterUploadTokens(world.client, 'platform', () => NOW);
    const { uid } = (await world.get(PersistentVolumeClaimKind, 'a/disk')).metadata;
    expect((await again()).read(token)).toEqual({ ...CLAIM, uid });
    expect((await world.get(SecretKind, 'platform/cdi-api-signing-key')).data).toHaveProperty(['id_rsa.pub']);
    await expect(post({ metadata: { name: 't' }, spec: {} })).rejects.toMatchObject({ code: 422 });
    await expect(post({ spec: { pvcName: 'disk' } })).rejects.toMatchObject({ code: 400 });
  });
});
