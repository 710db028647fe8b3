import { type Agent, type IncomingMessage, request as httpRequest } from 'node:http';
import { type Agent as TlsAgent, request as httpsRequest } from 'node:https';
import type { AddressGuard } from './address-guard.ts';
import { codeOf, ImportError } from './import-error.ts';
import { readAll } from './read-all.ts';

/** Member of `spec.source` that a transfer comes from: what messages call it. */
export type SourceName = 'http' | 's3' | 'gcs' | 'registry';

/** Headers that prove to a server who asks; made anew for every request. */
export interface Authorizer {
  headers(url: URL, signal: AbortSignal): Promise<Readonly<Record<string, string>>>;
  /** Takes in what a refusal says; true when a request would be authorized otherwise now. */
  mayTryAgain(answer: Pick<HttpAnswer, 'status' | 'headers'>): boolean;
}

export interface HttpOptions {
  readonly source: SourceName;
  readonly guard: AddressGuard;
  /** Like `headers`, for sources whose requests are signed. */
  readonly authorizer?: Authorizer;
  /** `Name: value` lines; they are not sent to another origin than the first. */
  readonly headers: Readonly<Record<string, string>>;
  /** PEM of further certificate authorities. */
  readonly ca?: readonly string[];
  readonly insecureSkipVerify?: boolean;
  /** A connection without a byte for this long is given up. */
  readonly stallMs: number;
  /** Keep connections for the next request; absent: each request has one of its own. */
  readonly agents?: { readonly http: Agent; readonly https: TlsAgent };
}

export interface HttpAnswer {
  readonly status: number;
  readonly statusText: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: IncomingMessage;
  /** After redirects. */
  readonly url: URL;
}

const MAX_REDIRECTS = 10;
// CDI's name: servers in the field have rules for it
const USER_AGENT = 'cdi-golang-importer';

/** GET that follows redirects and checks every address on the way. Rejects with ImportError for a refused address. */
export async function httpGet(
  target: URL,
  options: HttpOptions,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  let url = target;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const confidential = url.origin === target.origin ? await confidentialHeaders(url, options, signal) : {};
    const answer = await send(url, options, { headers: { ...confidential, ...headers } }, signal);
    if (options.authorizer?.mayTryAgain(answer)) {
      answer.body.destroy();
      continue;
    }
    const { location } = answer.headers;
    if (answer.status < 300 || answer.status > 399 || answer.status === 304 || location === undefined) return answer;
    answer.body.destroy();
    url = redirectTarget(location, url);
  }
  throw new ImportError('SourceUnreachable', `${withoutSecrets(target)} redirects more than ${MAX_REDIRECTS} times`);
}

const confidentialHeaders = async (url: URL, { headers, authorizer }: HttpOptions, signal: AbortSignal) => ({
  ...headers,
  ...(await authorizer?.headers(url, signal)),
});

/** POST of a form, to exactly this address. */
export function httpPost(url: URL, options: HttpOptions, form: URLSearchParams, signal: AbortSignal): Promise<HttpAnswer> {
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
  return send(url, options, { headers, body: form.toString() }, signal);
}

function redirectTarget(location: string, from: URL): URL {
  const next = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  if (next === undefined || !['http:', 'https:'].includes(next.protocol))
    throw new ImportError('SourceRefused', `${withoutSecrets(from)} redirects to something that is neither http nor https`);
  if (from.protocol === 'https:' && next.protocol === 'http:')
    throw new ImportError(
      'SourceRefused',
      `${withoutSecrets(from)} redirects from https to http (${next.host}), which would give up its protection`,
    );
  return next;
}

interface Outgoing {
  readonly headers: Readonly<Record<string, string>>;
  /** Makes it a POST. */
  readonly body?: string;
}

function send(url: URL, options: HttpOptions, { headers, body: content }: Outgoing, signal: AbortSignal): Promise<HttpAnswer> {
  const isTls = url.protocol === 'https:';
  options.guard.checkHost(url.hostname, Number(url.port || (isTls ? 443 : 80)));
  return new Promise((resolve, reject) => {
    const requestOptions = {
      method: content === undefined ? 'GET' : 'POST',
      headers: { 'User-Agent': USER_AGENT, 'Accept-Encoding': 'identity', ...headers },
      lookup: options.guard.lookup,
      signal,
      agent: (isTls ? options.agents?.https : options.agents?.http) ?? false,
      ...(isTls && options.ca && options.ca.length > 0 && { ca: [...options.ca] }),
      ...(isTls && options.insecureSkipVerify && { rejectUnauthorized: false }),
    };
    const request = isTls ? httpsRequest(url, requestOptions) : httpRequest(url, requestOptions);
    request.setTimeout(options.stallMs, () => request.destroy(stalled(url, options.stallMs)));
    request.once('error', (error) => reject(error));
    request.once('response', (body) => {
      body.setTimeout(options.stallMs, () => body.destroy(stalled(url, options.stallMs)));
      resolve({ status: body.statusCode ?? 0, statusText: body.statusMessage ?? '', headers: body.headers, body, url });
    });
    request.end(content);
  });
}

const stalled = (url: URL, stallMs: number): Error =>
  Object.assign(new Error(`${url.host} sent nothing for ${Math.round(stallMs / 1000)} s`), { code: 'ETIMEDOUT' });

/** The body of a small answer. Throws ImportError beyond `maxBytes`. */
export const readBody = ({ body, url }: HttpAnswer, maxBytes: number): Promise<Buffer> =>
  readAll(body as AsyncIterable<Buffer>, maxBytes, `The answer of ${url.host} is larger than ${maxBytes} bytes`);

/** A URL for messages: user, password and query may be secrets. */
export function withoutSecrets(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

const TLS_PROBLEM = /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL|HOSTNAME|EPROTO/;

/** True for failures that a new attempt may cure by itself. */
export function isTransient(error: unknown): boolean {
  return !(error instanceof ImportError) && !TLS_PROBLEM.test(codeOf(error) ?? '');
}

/** What to tell people when no answer came. */
export function explainConnectError(error: unknown, url: URL, source: SourceName): ImportError {
  if (error instanceof ImportError) return error;
  const code = codeOf(error) ?? '';
  const text = error instanceof Error ? error.message || code : String(error);
  const remedy = tlsRemedy(code, source) ?? connectRemedy(code);
  return new ImportError(
    'SourceUnreachable',
    `Unable to connect to ${source} data source: ${withoutSecrets(url)}: ${text}. ${remedy}`,
    {
      cause: error,
    },
  );
}

function tlsRemedy(code: string, source: SourceName): string | undefined {
  if (code === 'EPROTO') return 'The server does not speak TLS on this port: check the port, or write http:// if that is meant';
  if (!TLS_PROBLEM.test(code)) return undefined;
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID')
    return 'Renew the certificate of the server, and check the clocks';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return 'Use a name of the server that its certificate holds, or give it another certificate';
  return `Name a ConfigMap with the CA certificate in ${certField(source)}`;
}

const connectRemedy = (code: string): string =>
  code.startsWith('HPE_')
    ? 'What answers there does not speak HTTP as it should: check the address and what stands before the server'
    : 'Check the address and that the server can be reached from this node; the import is tried again by itself';

// a GCS source has no field of its own for a CA
const certField = (source: SourceName): string => `spec.source.${source === 'gcs' ? 'http' : source}.certConfigMap`;

/** The error of an answer that is not the file. */
export function explainStatus(answer: Pick<HttpAnswer, 'status' | 'statusText'>, url: URL, source: SourceName): ImportError {
  const { status, statusText } = answer;
  const field = `spec.source.${source}.secretRef`;
  const remedies: Readonly<Record<number, string>> = {
    301: 'Name the endpoint of the region that holds the bucket',
    401: `Give a Secret with ${source === 'gcs' ? 'credentials.json' : 'accessKeyId and secretKey'} in ${field}`,
    403: `Check the credentials in ${field}`,
    404: 'Check the URL',
    410: 'Check the URL',
  };
  const remedy = remedies[status] ?? 'The import is tried again by itself';
  return new ImportError(
    status === 404 || status === 410 ? 'SourceNotFound' : 'SourceUnreachable',
    `Unable to connect to ${source} data source: ${withoutSecrets(url)}: expected status code 200, got ${status}. Status: ${status} ${statusText}. ${remedy}`,
  );
}
