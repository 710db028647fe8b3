import {
  type GuardedHttpOptions,
  guardedGet,
  guardedPost,
  type HttpAnswer,
  type HttpErrors,
  isTlsProblem,
  withoutSecrets,
} from '@slipway/runtime';
import { codeOf, ImportError } from './import-error.ts';
import { readAll } from './read-all.ts';

export type { Authorizer, HttpAnswer } from '@slipway/runtime';

/** Member of `spec.source` that a transfer comes from: what messages call it. */
export type SourceName = 'http' | 's3' | 'gcs' | 'registry';

export interface HttpOptions extends Omit<GuardedHttpOptions, 'errors' | 'userAgent'> {
  readonly source: SourceName;
}

const HTTP_ERRORS: HttpErrors = {
  refused: (message) => new ImportError('SourceRefused', message),
  unreachable: (message) => new ImportError('SourceUnreachable', message),
};
// CDI's name: servers in the field have rules for it
const USER_AGENT = 'cdi-golang-importer';

/** How a data mover asks: as an importer, with errors that end a transfer. */
export const moverHttp = <Options extends object>(options: Options) => ({
  ...options,
  errors: HTTP_ERRORS,
  userAgent: USER_AGENT,
});

/** GET that follows redirects and checks every address on the way. Rejects with ImportError for a refused address. */
export const httpGet = (
  target: URL,
  options: HttpOptions,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<HttpAnswer> => guardedGet(target, moverHttp(options), headers, signal);

/** POST of a form, to exactly this address. */
export const httpPost = (url: URL, options: HttpOptions, form: URLSearchParams, signal: AbortSignal): Promise<HttpAnswer> =>
  guardedPost(url, moverHttp(options), form, signal);

/** The body of a small answer. Throws ImportError beyond `maxBytes`. */
export const readBody = ({ body, url }: HttpAnswer, maxBytes: number): Promise<Buffer> =>
  readAll(body as AsyncIterable<Buffer>, maxBytes, `The answer of ${url.host} is larger than ${maxBytes} bytes`);

/** True for failures that a new attempt may cure by itself. */
export function isTransient(error: unknown): boolean {
  return !(error instanceof ImportError) && !isTlsProblem(codeOf(error) ?? '');
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
  if (!isTlsProblem(code)) return undefined;
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
