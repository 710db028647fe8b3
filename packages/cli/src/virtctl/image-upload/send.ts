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

/** Where images are sent. */
export interface UploadProxy {
  /** With a scheme. */
  readonly url: string;
  /** PEM of the authority of its certificate; undefined: one that the machine knows. */
  readonly ca: string | undefined;
}

/** Throws CommandFailure when nobody says where to send images. */
export async function findProxy({ client }: ActionContext, { flags }: UploadRequest): Promise<UploadProxy> {
  const config =
    flags.uploadproxyUrl === undefined ? await client.get(CDIConfigKind, { namespace: '', name: 'config' }) : undefined;
  const url = flags.uploadproxyUrl ?? config?.spec?.uploadProxyURLOverride ?? config?.status?.uploadProxyURL ?? '';
  if (url === '') throw new CommandFailure('uploadproxy URL not found: give --uploadproxy-url');
  // the authority is that of the address beside it
  const ca = url === config?.status?.uploadProxyURL ? config.status.uploadProxyCA : undefined;
  return { url: (/^https?:\/\//.test(url) ? url : `https://${url}`).replace(/\/$/, ''), ca };
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

/** Sends the file until the server has it: again, or from where it broke off when the server has kept that. */
export async function send(context: ActionContext, proxy: UploadProxy, request: UploadRequest): Promise<void> {
  const { io } = context;
  const size = (await stat(request.file)).size;
  print(io, `Uploading data to ${proxy.url}\n`);
  const target = { ...proxy, request, size, id: io.randomName(ID_LENGTH) };
  let token = await newToken(context, request.name);
  let tokens = 1;
  let offset = 0;
  const path = (await probe(io, target, token)) ? ASYNC : SYNC;
  for (let attempt = 0; ; attempt++) {
    const answer = await post(io, target, { path, token, offset }).catch((error: unknown) => String(error));
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
    offset = await keptBytes(io, target, path, token);
    if (offset === size) break; // only the answer was lost
  }
  print(io, '\n');
}

/** Long enough that no two uploads have the same. */
const ID_LENGTH = 24;

interface Target extends UploadProxy {
  readonly request: UploadRequest;
  readonly size: number;
  /** Names this upload to a server that can go on with it. */
  readonly id: string;
}

const common = ({ url, ca, request: { flags } }: Target, path: string, token: string) => ({
  url: `${url}${path}`,
  headers: { authorization: `Bearer ${token}` },
  ca,
  insecure: flags.insecure === true,
});

/** How much of this very upload the server has kept. */
async function keptBytes(io: VirtctlIo, target: Target, path: string, token: string): Promise<number> {
  const answer = await io.exchange({ ...common(target, path, token), method: 'HEAD' }).catch(() => undefined);
  if (answer === undefined) return 0; // the next attempt says why
  await drain(answer.body);
  const { 'upload-id': id, 'upload-offset': offset } = answer.headers;
  const kept = answer.status === 200 && id === target.id ? Number(offset) : 0;
  return Number.isSafeInteger(kept) && kept <= target.size ? kept : 0;
}

/** Whether the server can go on with its work after the last byte has come. */
async function probe(io: VirtctlIo, target: Target, token: string): Promise<boolean> {
  const { status, body } = await io.exchange({ ...common(target, ASYNC, token), method: 'HEAD' });
  await drain(body);
  return status === 200;
}

interface Sending {
  readonly path: string;
  readonly token: string;
  /** Where in the file to begin. */
  readonly offset: number;
}

function post(io: VirtctlIo, target: Target, { path, token, offset }: Sending): Promise<Exchange> {
  const exchange = common(target, path, token);
  const headers = {
    ...exchange.headers,
    'content-type': 'application/octet-stream',
    'content-length': String(target.size - offset),
    'upload-id': target.id,
    ...(offset > 0 && { 'upload-offset': String(offset), 'upload-length': String(target.size) }),
  };
  return io.exchange({ ...exchange, headers, method: offset > 0 ? 'PATCH' : 'POST', body: counted(io, target, offset) });
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

async function* counted(io: VirtctlIo, { request, size }: Target, offset: number): AsyncGenerator<Uint8Array> {
  const startedAt = io.now();
  let bytes = offset;
  let shownAt = startedAt;
  const show = (): void => {
    const share = size === 0 ? 100 : (bytes / size) * 100;
    const sent = size === offset ? 100 : ((bytes - offset) / (size - offset)) * 100;
    io.stdout.write(
      `\r ${sizeText(bytes)} / ${sizeText(size)} ${share.toFixed(2).padStart(7)}%${rest(io.now() - startedAt, sent)}`,
    );
  };
  show();
  for await (const piece of createReadStream(request.file, { start: offset })) {
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
