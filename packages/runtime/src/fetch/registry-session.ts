import { guardedGet, type GuardedHttpOptions, type HttpAnswer, readAtMost } from './guarded-http.ts';
import { readToken } from './registry-manifest.ts';
import type { RegistryRepository } from './registry-reference.ts';

/** Who pulls. */
export interface RegistryCredentials {
  readonly username: string;
  readonly password: string;
}

/** The errors of whoever pulls, about the repository that it pulls from. */
export interface RegistryErrors {
  unreachable(error: unknown, url: URL): Error;
  answered(answer: Pick<HttpAnswer, 'status' | 'statusText'>): Error;
  insecureLogin(): Error;
  withoutToken(host: string): Error;
  tooLarge(message: string): Error;
}

export interface RegistrySessionDeps {
  readonly http: Omit<GuardedHttpOptions, 'headers'>;
  readonly credentials?: RegistryCredentials;
  /** Spoken to over plain HTTP. */
  readonly isInsecure: boolean;
  readonly errors: RegistryErrors;
}

/** The OCI distribution protocol of one repository, reading only. */
export interface RegistrySession {
  /** Ends with a slash. */
  readonly base: URL;
  /** Who asks, once the registry has wanted to know. */
  headers(): Record<string, string>;
  /** Something small below `base`. Logs in when the registry asks for it. */
  read(path: string, headers: Readonly<Record<string, string>>, maxBytes: number, signal: AbortSignal): Promise<RegistryAnswer>;
}

export interface RegistryAnswer {
  readonly body: Buffer;
  readonly headers: HttpAnswer['headers'];
}

const MAX_TOKEN_BYTES = 4 * 1024 * 1024;

export function registrySession({ registry, repository }: RegistryRepository, deps: RegistrySessionDeps): RegistrySession {
  const { http, errors, isInsecure } = deps;
  const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
  const base = new URL(`${isInsecure ? 'http' : 'https'}://${host}/v2/${repository}/`);
  let authorization: string | undefined;
  const own = (): Record<string, string> => (authorization === undefined ? {} : { Authorization: authorization });

  const get = async (
    url: URL,
    confidential: Record<string, string>,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ) => {
    try {
      return await guardedGet(url, { ...http, headers: confidential }, headers, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw errors.unreachable(error, url);
    }
  };
  const body = (answer: HttpAnswer, maxBytes: number): Promise<Buffer> => {
    const complaint = `The answer of ${answer.url.host} is larger than ${maxBytes} bytes`;
    return readAtMost(answer.body as AsyncIterable<Buffer>, maxBytes, () => errors.tooLarge(complaint));
  };
  const refused = (answer: HttpAnswer): Error => {
    answer.body.destroy();
    return errors.answered(answer);
  };
  /** What proves to the registry who asks, by the way that it has named. */
  const login = async (challenge: string, signal: AbortSignal): Promise<string> => {
    const { credentials } = deps;
    const basic = credentials && `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
    if (/^basic/i.test(challenge) && basic !== undefined) return basic;
    const { realm, service, scope } = parametersOf(challenge);
    if (!/^bearer/i.test(challenge) || realm === undefined || !URL.canParse(realm))
      throw errors.answered({ status: 401, statusText: 'Unauthorized' });
    const url = new URL(realm);
    // credentials never travel in clear text, except to a registry that does so by configuration
    if (url.protocol !== 'https:' && base.protocol === 'https:') throw errors.insecureLogin();
    if (service !== undefined) url.searchParams.set('service', service);
    url.searchParams.set('scope', scope ?? `repository:${repository}:pull`);
    const answer = await get(url, basic === undefined ? {} : { Authorization: basic }, {}, signal);
    if (answer.status !== 200) throw refused(answer);
    const token = readToken((await body(answer, MAX_TOKEN_BYTES)).toString('utf8'));
    if (token === undefined) throw errors.withoutToken(url.host);
    return `Bearer ${token}`;
  };
  return {
    base,
    headers: own,
    async read(path, headers, maxBytes, signal) {
      const url = new URL(path, base);
      let answer = await get(url, own(), headers, signal);
      if (answer.status === 401) {
        answer.body.destroy();
        authorization = await login(answer.headers['www-authenticate'] ?? '', signal);
        answer = await get(url, own(), headers, signal);
      }
      if (answer.status !== 200) throw refused(answer);
      return { body: await body(answer, maxBytes), headers: answer.headers };
    },
  };
}

const parametersOf = (challenge: string): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', value = '']) => [key, value]));
