import { createHash, createHmac, createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ObjectStore {
  readonly url: string;
  /** By path, such as `/bucket/key`. */
  readonly objects: Map<string, Buffer>;
  /** Status and path of every answer. */
  readonly answers: string[];
  close(): Promise<void>;
}

async function listen(answer: RequestListener): Promise<{ url: string; close: () => Promise<void> }> {
  const http = createServer(answer);
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo; // listens on TCP
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      http.closeAllConnections();
      http.close(() => resolve());
    });
  return { url: `http://127.0.0.1:${port}`, close };
}

/** An object, or the part that `Range` asks for; 404 for everything else. */
function sendObject(objects: ObjectStore['objects'], request: IncomingMessage, response: ServerResponse): void {
  const body = objects.get(decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname));
  if (body === undefined) return void response.writeHead(404).end();
  const [first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')?.slice(1) ?? [];
  const start = Number(first ?? 0);
  const end = last ? Math.min(Number(last) + 1, body.length) : body.length;
  const etag = `"${createHash('md5').update(body).digest('hex')}"`;
  const range = first === undefined ? {} : { 'Content-Range': `bytes ${start}-${end - 1}/${body.length}` };
  response.writeHead(first === undefined ? 200 : 206, { ...range, ETag: etag, 'Content-Length': end - start });
  response.end(body.subarray(start, end));
}

const hmac = (key: Buffer | string, text: string): Buffer => createHmac('sha256', key).update(text).digest();

/** Checks a request by the published rules of AWS Signature Version 4; returns what it was signed with, or undefined. */
function signedRegion(request: IncomingMessage, secret: string): { keyId: string; region: string } | undefined {
  const { headers, method = '', url = '/' } = request;
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? '',
    );
  if (match === null) return undefined;
  const [, keyId = '', day = '', region = '', signed = '', signature = ''] = match;
  const { pathname, searchParams } = new URL(url, 'http://x');
  searchParams.sort();
  const names = signed.split(';');
  const canonical = [
    method,
    // whatever the client left as it is, such as "+", is signed in its encoded form
    pathname
      .split('/')
      .map((part) => encodeURIComponent(decodeURIComponent(part)))
      .join('/'),
    searchParams.toString(),
    ...names.map((name) => `${name}:${String(headers[name]).trim()}`),
    '',
    signed,
    String(headers['x-amz-content-sha256']),
  ].join('\n');
  const scope = `${day}/${region}/s3/aws4_request`;
  const digest = createHash('sha256').update(canonical).digest('hex');
  const text = ['AWS4-HMAC-SHA256', String(headers['x-amz-date']), scope, digest].join('\n');
  const key = ['s3', 'aws4_request'].reduce(hmac, hmac(hmac(`AWS4${secret}`, day), region));
  const isGood = ['host', 'x-amz-date'].every((name) => names.includes(name)) && hmac(key, text).toString('hex') === signature;
  return isGood ? { keyId, region } : undefined;
}

/** An S3 store of one region that lets in one key, or everybody without one. */
export async function startS3(options: { region: string; keyId?: string; secret?: string }): Promise<ObjectStore> {
  const objects: ObjectStore['objects'] = new Map();
  const answers: string[] = [];
  const { url, close } = await listen((request, response) => {
    response.on('finish', () => answers.push(`${response.statusCode} ${request.url}`));
    const by = signedRegion(request, options.secret ?? '');
    if (options.keyId === undefined) return sendObject(objects, request, response);
    if (by?.keyId !== options.keyId) return void response.writeHead(403).end('<Error><Code>SignatureDoesNotMatch</Code></Error>');
    if (by.region === options.region) return sendObject(objects, request, response);
    response.writeHead(400, { 'x-amz-bucket-region': options.region });
    response.end('<Error><Code>AuthorizationHeaderMalformed</Code></Error>');
  });
  return { url, objects, answers, close };
}

/** A store in Google's manner: a token server that knows one service account, and objects for who has a token of it. */
export async function startGcs(): Promise<ObjectStore & { readonly keyFile: string }> {
  const objects: ObjectStore['objects'] = new Map();
  const answers: string[] = [];
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const email = 'importer@project.example.com';
  const server = await listen((request, response) => {
    response.on('finish', () => answers.push(`${response.statusCode} ${request.url}`));
    if (request.method === 'POST') return void answerToken(request, response);
    if (request.headers.authorization === 'Bearer the-token') return sendObject(objects, request, response);
    response.writeHead(401).end();
  });
  async function answerToken(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const [head = '', claims = '', signature = ''] = (new URLSearchParams(text).get('assertion') ?? '').split('.');
    const key = createPublicKey(publicKey.export({ type: 'spki', format: 'pem' }));
    const isSigned = verify('sha256', Buffer.from(`${head}.${claims}`), key, Buffer.from(signature, 'base64url'));
    const { iss, aud } = JSON.parse(Buffer.from(claims, 'base64url').toString() || '{}') as { iss?: string; aud?: string };
    if (isSigned && iss === email && aud === `${server.url}/token`)
      response.end(JSON.stringify({ access_token: 'the-token', expires_in: 3600, token_type: 'Bearer' }));
    else response.writeHead(400).end('{"error":"invalid_grant"}');
  }
  const keyFile = JSON.stringify({
    type: 'service_account',
    client_email: email,
    private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    token_uri: `${server.url}/token`,
  });
  return { url: server.url, close: server.close, objects, answers, keyFile };
}
