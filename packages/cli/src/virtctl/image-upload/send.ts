import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { CDIConfigKind } from '@slipway/api';
import { isObject } from '@slipway/apimachinery';
import type { ActionContext } from '../context.ts';
import { CommandFailure, type Exchange, print, type VirtctlIo } from '../io.ts';
import { sizeText } from '../size-text.ts';
import type { UploadRequest } from './upload-flags.ts';

const TOKENS = '/apis/upload.cdi.kubevirt.io/v1beta1';
const ASYNC = '/v1beta1/upload-async';
const SYNC = '/v1beta1/upload';
/** Tokens live minutes; a slow upload needs new ones, a wrong one must not be tried for ever. */
const MAX_TOKENS = 3;
const RETRY_MS = 2_000;
const PROGRESS_MS = 200;

/** Where images are sent; always with a scheme. Throws CommandFailure when nobody says. */
export async function proxyUrl({ client }: ActionContext, { flags }: UploadRequest): Promise<string> {
  const config =
    flags.uploadproxyUrl === undefined ? await client.get(CDIConfigKind, { namespace: '', name: 'config' }) : undefined;
  const url = flags.uploadproxyUrl ?? config?.spec?.uploadProxyURLOverride ?? config?.status?.uploadProxyURL ?? '';
  if (url === '') throw new CommandFailure('uploadproxy URL not found: give --uploadproxy-url');
  return (/^https?:\/\//.test(url) ? url : `https://${url}`).replace(/\/$/, '');
}

async function newToken({ client, namespace }: ActionContext, claim: string): Promise<string> {
  const { body } = await client.raw({
    method: 'POST',
    path: `${TOKENS}/namespaces/${encodeURIComponent(namespace)}/uploadtokenrequests`,
    body: {
      apiVersion: 'upload.cdi.kubevirt.io/v1beta1',
      kind: 'UploadTokenRequest',
      metadata: { generateName: 'token-for-virtctl-' },
      spec: { pvcName: claim },
    },
  });
  const token = isObject(body) && isObject(body['status']) ? body['status']['token'] : undefined;
  if (typeof token !== 'string') throw new CommandFailure('the server has given no upload token');
  return token;
}

/** Sends the file, again where it must, until the server has it. */
export async function send(context: ActionContext, url: string, request: UploadRequest): Promise<void> {
  const { io } = context;
  const size = (await stat(request.file)).size;
  print(io, `Uploading data to ${url}\n`);
  const target = { url, request, size };
  let token = await newToken(context, request.name);
  let tokens = 1;
  const path = (await probe(io, target, token)) ? ASYNC : SYNC;
  for (let attempt = 0; ; attempt++) {
    const answer = await post(io, target, path, token).catch((error: unknown) => String(error));
    const problem = typeof answer === 'string' ? answer : await problemOf(answer);
    if (problem === undefined) break;
    const status = typeof answer === 'string' ? 0 : answer.status;
    if (status === 401 && tokens < MAX_TOKENS) {
      token = await newToken(context, request.name);
      tokens++;
    } else if (attempt >= request.retries || (status >= 400 && status < 500)) {
      throw new CommandFailure(problem);
    }
    io.stderr.write(`\nThe upload has failed (${problem}), trying again\n`);
    await io.sleep(RETRY_MS);
  }
  print(io, '\n');
}

interface Target {
  readonly url: string;
  readonly request: UploadRequest;
  readonly size: number;
}

const common = ({ url, request: { flags } }: Target, path: string, token: string) => ({
  url: `${url}${path}`,
  headers: { authorization: `Bearer ${token}` },
  ca: undefined,
  insecure: flags.insecure === true,
});

/** Whether the server can go on with its work after the last byte has come. */
async function probe(io: VirtctlIo, target: Target, token: string): Promise<boolean> {
  const { status, body } = await io.exchange({ ...common(target, ASYNC, token), method: 'HEAD' });
  await drain(body);
  return status === 200;
}

function post(io: VirtctlIo, target: Target, path: string, token: string): Promise<Exchange> {
  const exchange = common(target, path, token);
  const headers = { ...exchange.headers, 'content-type': 'application/octet-stream', 'content-length': String(target.size) };
  return io.exchange({ ...exchange, headers, method: 'POST', body: counted(io, target) });
}

async function problemOf({ status, body }: Exchange): Promise<string | undefined> {
  const text = await drain(body);
  if (status >= 200 && status < 300) return undefined;
  return `unexpected return value ${status}, ${text.trim()}`;
}

const MAX_TEXT = 4_096;

async function drain(body: AsyncIterable<Uint8Array>): Promise<string> {
  let text = '';
  for await (const piece of body) if (text.length < MAX_TEXT) text += Buffer.from(piece).toString();
  return text.slice(0, MAX_TEXT);
}

async function* counted(io: VirtctlIo, { request, size }: Target): AsyncGenerator<Uint8Array> {
  const startedAt = io.now();
  let bytes = 0;
  let shownAt = startedAt;
  const show = (): void => {
    const share = size === 0 ? 100 : (bytes / size) * 100;
    io.stdout.write(
      `\r ${sizeText(bytes)} / ${sizeText(size)} ${share.toFixed(2).padStart(7)}%${rest(io.now() - startedAt, share)}`,
    );
  };
  show();
  for await (const piece of createReadStream(request.file)) {
    const data = typeof piece === 'string' ? Buffer.from(piece) : (piece as Uint8Array); // without an encoding, streams of files give bytes
    yield data;
    bytes += data.length;
    if (io.now() - shownAt < PROGRESS_MS && bytes < size) continue;
    shownAt = io.now();
    show();
  }
}

/** Seconds that are left at this pace, once there is a pace. */
const rest = (elapsedMs: number, share: number): string =>
  share === 0 ? '' : ` ${Math.round((elapsedMs * (100 - share)) / share / 1_000)}s`;
