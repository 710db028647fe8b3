import {
  type AddressGuard,
  guardedGet,
  type GuardedHttpOptions,
  type HttpAnswer,
  isTlsProblem,
  readAtMost,
  withoutSecrets,
} from '@slipway/runtime';
import type { Credentials } from './credentials.ts';
import { SourceError } from './source-error.ts';

const STALL_MS = 30_000;
/** All of one question to a repository, a download too. */
export const DEADLINE_MS = 90_000;

export const CREDENTIALS_HINT =
  'Give a Secret with the label argocd.argoproj.io/secret-type: repository (or repo-creds) and url, username and password';

/** How charts are fetched: what may be reached, and whom to trust. */
export const chartHttp = (guard: AddressGuard, credentials: Credentials): Omit<GuardedHttpOptions, 'headers'> => ({
  guard,
  userAgent: 'slipway-gitops',
  stallMs: STALL_MS,
  errors: {
    refused: (message) => new SourceError(message),
    unreachable: (message) => new SourceError(message),
  },
  ...(credentials.ca !== undefined && { ca: [credentials.ca] }),
  ...(credentials.clientCertificate && { clientCertificate: credentials.clientCertificate }),
  ...(credentials.insecure && { insecureSkipVerify: true }),
});

export const basicAuth = ({ username = '', password }: Credentials): Readonly<Record<string, string>> =>
  password === undefined ? {} : { Authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };

/** GET; answers that are neither 200 nor one of `accepted` become errors that say what to do. */
export async function getChartFile(
  url: URL,
  options: GuardedHttpOptions,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
  accepted: readonly number[] = [],
): Promise<HttpAnswer> {
  const answer = await guardedGet(url, options, headers, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw explainConnect(error, url);
  });
  if (answer.status === 200 || accepted.includes(answer.status)) return answer;
  answer.body.destroy();
  throw explainAnswer(answer, withoutSecrets(url));
}

/** The body of an answer, of at most so many bytes. */
export async function bodyOf({ body, url }: HttpAnswer, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
  const tooLarge = (): Error =>
    new SourceError(`${withoutSecrets(url)} is larger than ${maxBytes / 1024 / 1024} MiB, which is refused`);
  try {
    return await readAtMost(body as AsyncIterable<Buffer>, maxBytes, tooLarge);
  } catch (error) {
    signal.throwIfAborted();
    throw explainConnect(error, url);
  }
}

/** What to tell people when no answer came. */
export function explainConnect(error: unknown, url: URL): SourceError {
  if (error instanceof SourceError) return error;
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  const text = error instanceof Error ? error.message || code : String(error);
  const remedy = isTlsProblem(code)
    ? `Put the CA certificate into ConfigMap argocd-tls-certs-cm under the key ${url.hostname}`
    : 'Check the address, and that this machine reaches it';
  return new SourceError(`unable to read ${withoutSecrets(url)}: ${text}. ${remedy}`);
}

export function explainAnswer({ status, statusText }: Pick<HttpAnswer, 'status' | 'statusText'>, what: string): SourceError {
  const remedies: Readonly<Record<number, string>> = {
    401: CREDENTIALS_HINT,
    403: `Check that the credentials may read it. ${CREDENTIALS_HINT}`,
    404: 'Check repoURL, chart and targetRevision',
    410: 'Check repoURL, chart and targetRevision',
    429: 'The server limits how often it is asked: give credentials, or wait',
  };
  const remedy = remedies[status] ?? 'It is tried again by itself';
  return new SourceError(`unable to read ${what}: the server answered ${status} ${statusText}. ${remedy}`);
}

/** Runs something that asks a server, and ends it when that takes too long. */
export async function withDeadline<T>(what: string, signal: AbortSignal, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  try {
    return await act(AbortSignal.any([signal, deadline]));
  } catch (error) {
    signal.throwIfAborted();
    if (!deadline.aborted) throw error;
    throw new SourceError(`unable to read ${what}: it took longer than ${DEADLINE_MS / 1000} s. It is tried again by itself`);
  }
}
