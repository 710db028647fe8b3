import { UploadVerb } from '@slipway/api';
import { StatusError } from '@slipway/apimachinery';
import type { NodeConnector, OpenRequest, OpenResponse, OpenRoute } from '@slipway/runtime';
import { CutOffError, type UploadAnswer, type UploadQuestion } from './frames.ts';
import { boundaryOf, FormError, formFile } from './multipart.ts';
import { ask, StalledError } from './send-upload.ts';
import { type TargetDeps, UploadRefusal, uploadTarget } from './upload-target.ts';
import type { UploadGrant, UploadTokens } from './upload-token.ts';

export interface UploadProxyDeps extends TargetDeps {
  readonly nodes: NodeConnector;
  readonly tokens: () => Promise<UploadTokens>;
}

const PATH = /^\/v1(?:alpha1|beta1)\/upload(-form)?(-async)?$/;
const COMMON = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, HEAD, OPTIONS, PATCH, POST, PUT',
  'access-control-allow-headers': '*, authorization',
  'access-control-expose-headers': 'Upload-Id, Upload-Length, Upload-Offset',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
};

/** The paths of CDI's upload proxy: whoever has a token for a claim may send it its content. */
export const uploadProxy = (deps: UploadProxyDeps): readonly OpenRoute[] =>
  ['/v1beta1/upload', '/v1alpha1/upload'].map((prefix) => ({ prefix, handle: (request) => handle(deps, request) }));

async function handle(deps: UploadProxyDeps, request: OpenRequest): Promise<OpenResponse> {
  try {
    return await answer(deps, request);
  } catch (error) {
    if (error instanceof UploadRefusal) return text(error.status, error.message);
    if (error instanceof FormError) return text(400, error.message);
    if (error instanceof StalledError) return text(408, error.message);
    // KubeVirt-compat: the proxy marks what went wrong on the way to the upload server
    if (error instanceof CutOffError) return text(502, `error in upload-proxy: ${error.message}`);
    if (error instanceof StatusError && error.code >= 500) return text(503, `error in upload-proxy: ${error.message}`);
    throw error;
  }
}

async function answer(deps: UploadProxyDeps, request: OpenRequest): Promise<OpenResponse> {
  const [path, form, isAsync] = PATH.exec(request.path) ?? [];
  if (path === undefined) return text(404, 'Not found');
  if (request.method === 'OPTIONS') return { status: 204, headers: COMMON };
  const isBody = request.method === 'POST' || request.method === 'PATCH';
  if (!isBody && request.method !== 'HEAD') return text(404, 'Only POST, PATCH and HEAD are answered');
  const grant = await authorize(deps, request.headers['authorization']);
  const question = isBody ? questionOf(request, { isForm: form !== undefined, isAsync: isAsync !== undefined }) : STATUS;
  const { node, podUid } = await uploadTarget(deps, grant, request.signal);
  const stream = await deps.nodes.open(node, { verb: UploadVerb.stream, params: { podUid } }, request.signal);
  try {
    return response(
      await ask(stream, question, isBody ? bodyOf(request, form !== undefined) : undefined, { ...deps, ...request }),
    );
  } finally {
    stream.end();
    stream.resume();
    stream.once('end', () => stream.destroy());
  }
}

const STATUS: UploadQuestion = { kind: 'status' };

async function authorize({ tokens }: UploadProxyDeps, header: string | undefined): Promise<UploadGrant> {
  const [, token] = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(header ?? '') ?? [];
  if (token === undefined) throw new UploadRefusal(400, 'the request has no token: send "Authorization: Bearer TOKEN"');
  const grant = (await tokens()).read(token);
  if (grant === 'invalid') throw new UploadRefusal(401, 'the token is not valid or has expired: ask for a new one');
  if (grant === 'foreign') throw new UploadRefusal(400, 'the token is not for uploads');
  return grant;
}

function questionOf(
  { method, headers }: OpenRequest,
  { isForm, isAsync }: { readonly isForm: boolean; readonly isAsync: boolean },
): UploadQuestion {
  const [id, checksum] = [headers['upload-id'], headers['upload-checksum']];
  const offset = method === 'PATCH' ? (count(headers['upload-offset'], 'Upload-Offset') ?? 0) : 0;
  const length = isForm ? undefined : count(headers['content-length'], 'Content-Length');
  const totalBytes = count(headers['upload-length'], 'Upload-Length') ?? (length === undefined ? undefined : offset + length);
  if (method === 'PATCH' && id === undefined)
    throw new UploadRefusal(400, 'PATCH needs the Upload-Id that the upload began with');
  return {
    kind: 'upload',
    isAsync,
    offset,
    ...(totalBytes !== undefined && { totalBytes }),
    ...(id !== undefined && { id }),
    ...(checksum !== undefined && { checksum }),
  };
}

function count(header: string | undefined, name: string): number | undefined {
  if (header === undefined) return undefined;
  const value = /^\d{1,16}$/.test(header) ? Number(header) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new UploadRefusal(400, `${name} is not a number of bytes`);
  return value;
}

function bodyOf({ incoming, headers }: OpenRequest, isForm: boolean): AsyncIterator<Buffer> {
  // an answer that comes before the end of the body must still be able to leave
  const bytes = untilEnd(incoming);
  if (!isForm) return bytes;
  const boundary = boundaryOf(headers['content-type']);
  if (boundary === undefined) throw new FormError('the body is not multipart/form-data with a boundary');
  return formFile(bytes, boundary);
}

/** The body, whose iterator may be left without harm. Throws when the client went away before its end. */
function untilEnd(incoming: OpenRequest['incoming']): AsyncIterator<Buffer> {
  const bytes = incoming.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  return {
    async next() {
      const next = await bytes.next();
      // over HTTP/2, a request that was reset ends like any other
      if (next.done && 'aborted' in incoming && incoming.aborted === true) throw new CutOffError();
      return next;
    },
  };
}

function response({ status, message, id, offset, totalBytes }: UploadAnswer): OpenResponse {
  const headers = {
    ...COMMON,
    ...(id !== undefined && { 'upload-id': id }),
    ...(offset !== undefined && { 'upload-offset': String(offset) }),
    ...(totalBytes !== undefined && { 'upload-length': String(totalBytes) }),
  };
  return message === '' ? { status, headers } : text(status, message, headers);
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&#34;', "'": '&#39;' };

function text(status: number, message: string, headers: Readonly<Record<string, string>> = COMMON): OpenResponse {
  const body = `${message.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')}\n`;
  return { status, headers: { ...headers, 'content-type': 'text/plain; charset=utf-8' }, body };
}
