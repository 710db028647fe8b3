import { sign } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Clock } from '@slipway/runtime';
import { type Authorizer, explainConnectError, type HttpOptions, httpPost, readBody } from './http-client.ts';
import { ImportError } from './import-error.ts';

const STORAGE = 'https://storage.googleapis.com/';
const SCOPE = 'https://www.googleapis.com/auth/devstorage.read_only';
const TOKEN_SECONDS = 3600;
const MAX_ANSWER_BYTES = 64 * 1024;

/** Where the bytes of `gs://bucket/object` are; an `http(s)://host/bucket/object` URL is its own place. */
export function gcsObject(source: URL): URL {
  if (source.protocol !== 'gs:') return source;
  const path = `${source.host}${source.pathname}`;
  if (source.host === '' || source.pathname.length < 2)
    throw new ImportError('InvalidRequest', 'The source URL is not of the form gs://bucket/object');
  return new URL(path, STORAGE);
}

interface ServiceAccountKey {
  readonly client_email: string;
  readonly private_key: string;
  readonly token_uri: string;
}

/**
 * Reads a service account's key file and gets bearer tokens for it. Throws ImportError for a file that is no such key, and
 * for a token server that refuses it or would get it in clear text.
 */
export async function gcsAuthorizer(keyFile: string, http: HttpOptions, clock: Clock): Promise<Authorizer> {
  const key = parseKey(await readFile(keyFile, 'utf8').catch(() => ''));
  let token: { readonly text: string; readonly renewAtMs: number } | undefined;
  return {
    async headers(url, signal) {
      if (token === undefined || clock.now() >= token.renewAtMs) token = await fetchToken(key, url, http, clock, signal);
      return { Authorization: `Bearer ${token.text}` };
    },
    mayTryAgain: () => false,
  };
}

function parseKey(text: string): ServiceAccountKey {
  const wanted = ['client_email', 'private_key', 'token_uri'] as const;
  try {
    const key = JSON.parse(text) as Partial<ServiceAccountKey>;
    if (wanted.every((name) => typeof key[name] === 'string') && URL.canParse(key.token_uri ?? ''))
      return key as ServiceAccountKey; // just checked
  } catch {
    // said below, without a word of the file
  }
  throw new ImportError(
    'InvalidRequest',
    'The Secret in spec.source.gcs.secretRef has no service account key in credentials.json. Store the JSON key file under that name',
  );
}

async function fetchToken(key: ServiceAccountKey, source: URL, http: HttpOptions, clock: Clock, signal: AbortSignal) {
  const server = new URL(key.token_uri);
  if (server.protocol !== 'https:' && source.protocol === 'https:')
    throw new ImportError('SourceRefused', `credentials.json names the token server ${server.host} over plain HTTP`);
  const now = Math.floor(clock.now() / 1000);
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    assertion: assertion(key, now),
  });
  // the key may be refused, the server unknown: neither has to do with the object
  const answer = await httpPost(server, http, form, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw explainConnectError(error, server, http.source);
  });
  const body = await readBody(answer, MAX_ANSWER_BYTES);
  const parsed = answer.status === 200 ? accessToken(body.toString('utf8')) : undefined;
  if (parsed === undefined)
    throw new ImportError(
      'SourceUnreachable',
      `Unable to connect to gcs data source: ${server.host} answered ${answer.status} ${answer.statusText} to the request for a token. ` +
        'Check the service account key in spec.source.gcs.secretRef',
    );
  return { text: parsed, renewAtMs: (now + TOKEN_SECONDS - 300) * 1000 };
}

function accessToken(text: string): string | undefined {
  try {
    const { access_token: token } = JSON.parse(text) as { access_token?: unknown };
    return typeof token === 'string' && /^[\x21-\x7e]+$/.test(token) ? token : undefined;
  } catch {
    return undefined;
  }
}

function assertion(key: ServiceAccountKey, now: number): string {
  const claims = { iss: key.client_email, scope: SCOPE, aud: key.token_uri, iat: now, exp: now + TOKEN_SECONDS };
  const text = [{ alg: 'RS256', typ: 'JWT' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  try {
    return `${text}.${sign('sha256', Buffer.from(text), key.private_key).toString('base64url')}`;
  } catch {
    throw new ImportError('InvalidRequest', 'The private key in credentials.json of spec.source.gcs.secretRef cannot be used');
  }
}
