import { type Agent, type IncomingMessage, request as httpRequest } from 'node:http';
import { type Agent as TlsAgent, request as httpsRequest } from 'node:https';
import type { AddressGuard } from '../address-guard.ts';

/** Headers that prove to a server who asks; made anew for every request. */
export interface Authorizer {
  headers(url: URL, signal: AbortSignal): Promise<Readonly<Record<string, string>>>;
  /** Takes in what a refusal says; true when a request would be authorized otherwise now. */
  mayTryAgain(answer: Pick<HttpAnswer, 'status' | 'headers'>): boolean;
}

/** The errors of whoever fetches. */
export interface HttpErrors {
  /** A redirect leads where nobody should be sent. */
  refused(message: string): Error;
  unreachable(message: string): Error;
}

export interface GuardedHttpOptions {
  readonly guard: AddressGuard;
  readonly errors: HttpErrors;
  readonly userAgent: string;
  /** Like `headers`, for sources whose requests are signed. */
  readonly authorizer?: Authorizer;
  /** `Name: value` lines; they are not sent to another origin than the first. */
  readonly headers: Readonly<Record<string, string>>;
  /** PEM of further certificate authorities. */
  readonly ca?: readonly string[];
  /** PEM of a certificate of the client and its key, for the first origin only. */
  readonly clientCertificate?: { readonly cert: string; readonly key: string };
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

/** GET that follows redirects and checks every address on the way. Rejects with an error of the guard for a refused one. */
export async function guardedGet(
  target: URL,
  options: GuardedHttpOptions,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  let url = target;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const isFirstOrigin = url.origin === target.origin;
    const confidential = isFirstOrigin ? await confidentialHeaders(url, options, signal) : {};
    const answer = await send(url, options, { headers: { ...confidential, ...headers }, isFirstOrigin }, signal);
    if (options.authorizer?.mayTryAgain(answer)) {
      answer.body.destroy();
      continue;
    }
    const { location } = answer.headers;
    if (answer.status < 300 || answer.status > 399 || answer.status === 304 || location === undefined) return answer;
    answer.body.destroy();
    url = redirectTarget(location, url, options.errors);
  }
  throw options.errors.unreachable(`${withoutSecrets(target)} redirects more than ${MAX_REDIRECTS} times`);
}

const confidentialHeaders = async (url: URL, { headers, authorizer }: GuardedHttpOptions, signal: AbortSignal) => ({
  ...headers,
  ...(await authorizer?.headers(url, signal)),
});

/** POST of a form, to exactly this address. */
export function guardedPost(
  url: URL,
  options: GuardedHttpOptions,
  form: URLSearchParams,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
  return send(url, options, { headers, body: form.toString(), isFirstOrigin: true }, signal);
}

function redirectTarget(location: string, from: URL, errors: HttpErrors): URL {
  const next = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  if (next === undefined || !['http:', 'https:'].includes(next.protocol))
    throw errors.refused(`${withoutSecrets(from)} redirects to something that is neither http nor https`);
  if (from.protocol === 'https:' && next.protocol === 'http:')
    throw errors.refused(
      `${withoutSecrets(from)} redirects from https to http (${next.host}), which would give up its protection`,
    );
  return next;
}

interface Outgoing {
  readonly headers: Readonly<Record<string, string>>;
  /** Makes it a POST. */
  readonly body?: string;
  readonly isFirstOrigin: boolean;
}

function send(
  url: URL,
  options: GuardedHttpOptions,
  { headers, body: content, isFirstOrigin }: Outgoing,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const isTls = url.protocol === 'https:';
  options.guard.checkHost(url.hostname, Number(url.port || (isTls ? 443 : 80)));
  return new Promise((resolve, reject) => {
    const requestOptions = {
      method: content === undefined ? 'GET' : 'POST',
      headers: { 'User-Agent': options.userAgent, 'Accept-Encoding': 'identity', ...headers },
      lookup: options.guard.lookup,
      signal,
      agent: (isTls ? options.agents?.https : options.agents?.http) ?? false,
      ...(isTls && options.ca && options.ca.length > 0 && { ca: [...options.ca] }),
      ...(isTls && isFirstOrigin && options.clientCertificate),
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

/** A URL for messages: user, password and query may be secrets. */
export function withoutSecrets(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

const TLS_PROBLEM = /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL|HOSTNAME|EPROTO/;

/** Whether the code of a failed connection is about certificates or TLS: another attempt does not cure it. */
export const isTlsProblem = (code: string): boolean => TLS_PROBLEM.test(code);

/** All bytes of something small; `tooLarge` makes the error of more than `maxBytes`. */
export async function readAtMost(stream: AsyncIterable<Buffer>, maxBytes: number, tooLarge: () => Error): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > maxBytes) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
