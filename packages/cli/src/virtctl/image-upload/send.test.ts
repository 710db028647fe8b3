import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Exchange, ExchangeRequest } from '../io.ts';
import { virtctl } from '../testing.ts';

let dir: string;
let file: string;
const CONTENT = '0123456789';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'virtctl-upload-'));
  file = join(dir, 'disk.img');
  writeFileSync(file, CONTENT);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const CONFIG = { status: { uploadProxyURL: 'proxy.example:8443', uploadProxyCA: 'PEM' } };
const READY = { metadata: { uid: 'u' }, status: { phase: 'UploadReady' } };
const CLAIM = {
  metadata: { annotations: { 'cdi.kubevirt.io/storage.upload.target': '', 'cdi.kubevirt.io/storage.pod.ready': 'true' } },
};
const DONE = { metadata: { annotations: { 'cdi.kubevirt.io/storage.pod.phase': 'Succeeded' } } };

interface Sent {
  readonly method: string;
  readonly body: string;
  readonly offset: string | undefined;
}

/** One run of image-upload against a proxy that breaks off where `answers` says so. */
async function upload(answers: readonly ((request: ExchangeRequest) => Exchange | Error)[]) {
  const sent: Sent[] = [];
  let isSent = false;
  const exchanges = async (request: ExchangeRequest): Promise<Exchange> => {
    expect(request).toMatchObject({ url: 'https://proxy.example:8443/v1beta1/upload-async', ca: 'PEM', insecure: false });
    let body = '';
    for await (const piece of request.body ?? []) body += Buffer.from(piece).toString();
    sent.push({ method: request.method, body, offset: request.headers['upload-offset'] });
    const answer = answers[sent.length - 1]?.(request);
    if (answer === undefined || answer instanceof Error) throw answer ?? new Error('Not expected');
    const isWhole = answer.headers['upload-offset'] === String(CONTENT.length);
    isSent = isWhole || (request.method !== 'HEAD' && answer.status === 200);
    return answer;
  };
  const result = await virtctl(['image-upload', 'dv', 'd', `--image-path=${file}`, '--no-create'], {
    exchanges,
    answers: {
      'GET /apis//v1/namespaces/default/persistentvolumeclaims/d': () => (isSent ? DONE : CLAIM),
      'GET /apis/cdi.kubevirt.io/v1/namespaces/default/datavolumes/d': () => READY,
      'GET /apis/cdi.kubevirt.io/v1/namespaces//cdiconfigs/config': () => CONFIG,
      'POST /apis/upload.cdi.kubevirt.io/v1beta1/namespaces/default/uploadtokenrequests': () => ({ status: { token: 't' } }),
    },
  });
  return { ...result, sent };
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
const answer =
  (status: number, headers: Record<string, string> = {}) =>
  (): Exchange => ({ status, headers, body: nothing() });
const broken = (): Error => new Error('socket hang up');
const ID = 'x'.repeat(24);

describe('image-upload', () => {
  it('trusts the authority that the CDI configuration names', async () => {
    const { status, sent } = await upload([answer(200), answer(200)]);
    expect(status).toBe(0);
    expect(sent).toEqual([
      { method: 'HEAD', body: '', offset: undefined },
      { method: 'POST', body: CONTENT, offset: undefined },
    ]);
  });

  it('goes on where the server has kept what came', async () => {
    const kept = answer(200, { 'upload-id': ID, 'upload-offset': '4' });
    const { status, sent, err } = await upload([answer(200), broken, kept, answer(200)]);
    expect({ status, err }).toEqual({ status: 0, err: expect.stringContaining('trying again') });
    expect(sent.slice(2)).toEqual([
      { method: 'HEAD', body: '', offset: undefined },
      { method: 'PATCH', body: CONTENT.slice(4), offset: '4' },
    ]);
  });

  it.each([
    ['that keeps nothing', answer(200)],
    ['that has another upload', answer(200, { 'upload-id': 'other', 'upload-offset': '4' })],
    ['that cannot say', answer(503)],
  ])('begins again with a server %s', async (_, head) => {
    const { status, sent } = await upload([answer(200), broken, head, answer(200)]);
    expect(status).toBe(0);
    expect(sent.at(-1)).toEqual({ method: 'POST', body: CONTENT, offset: undefined });
  });

  it('is done when only the answer was lost', async () => {
    const whole = answer(200, { 'upload-id': ID, 'upload-offset': String(CONTENT.length) });
    const { status, sent } = await upload([answer(200), broken, whole]);
    expect(status).toBe(0);
    expect(sent).toHaveLength(3);
  });

  it('gives up on an image that is refused', async () => {
    const { status, err, sent } = await upload([answer(200), answer(400)]);
    expect({ status, err }).toEqual({ status: 1, err: expect.stringContaining('unexpected return value 400') });
    expect(sent).toHaveLength(2);
  });
});
