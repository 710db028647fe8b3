import { isObject } from '@slipway/apimachinery';
import { createLocalJWKSet, type JSONWebKeySet } from 'jose';
import { fetchJson } from './fetch-json.ts';
import type { OidcIssuer } from './oidc-config.ts';

export type KeyResolver = ReturnType<typeof createLocalJWKSet>;

/** Tokens with made-up key ids must not make us hammer the issuer. */
const REFETCH_AFTER_MS = 10_000;

export interface IssuerKeys {
  /** The keys as last read; reads them when nobody did yet. Rejects when the issuer cannot be reached. */
  current(): Promise<KeyResolver>;
  /** Keys that may be newer than `known`: the issuer may have changed them. The same ones when they were read just now. */
  newer(known: KeyResolver): Promise<KeyResolver>;
}

/** Reads an issuer's discovery document and its key set; one request at a time, whoever asks. */
export function issuerKeys(issuer: OidcIssuer, nowMs: () => number): IssuerKeys {
  let keys: KeyResolver | undefined;
  let lastTryMs = Number.NEGATIVE_INFINITY;
  let lastError: unknown;
  let reading: Promise<KeyResolver> | undefined;
  const read = (): Promise<KeyResolver> => {
    lastTryMs = nowMs();
    reading ??= readKeys(issuer)
      .then(
        (found) => {
          lastError = undefined;
          return (keys = found);
        },
        (error: unknown) => {
          lastError = error;
          throw error;
        },
      )
      .finally(() => (reading = undefined));
    return reading;
  };
  const isTooSoon = (): boolean => reading === undefined && nowMs() - lastTryMs < REFETCH_AFTER_MS;
  return {
    async current() {
      if (keys !== undefined) return keys;
      if (lastError !== undefined && isTooSoon()) throw lastError;
      return read();
    },
    async newer(known) {
      if (keys !== undefined && keys !== known) return keys;
      return isTooSoon() ? known : read();
    },
  };
}

async function readKeys(issuer: OidcIssuer): Promise<KeyResolver> {
  const { issuerUrl, ca } = issuer;
  const discovery = await fetchJson(
    issuer.discoveryUrl ?? `${issuerUrl.replace(/\/$/, '')}/.well-known/openid-configuration`,
    ca,
  );
  if (!isObject(discovery) || discovery['issuer'] !== issuerUrl)
    throw new Error(`The discovery document of ${issuerUrl} is one of another issuer`);
  const url = discovery['jwks_uri'];
  if (typeof url !== 'string' || !url.startsWith('https://'))
    throw new Error(`The discovery document of ${issuerUrl} has no jwks_uri with https://`);
  const set = await fetchJson(url, ca);
  if (!isObject(set) || !Array.isArray(set['keys'])) throw new Error(`${url} is no key set`);
  return createLocalJWKSet(set as unknown as JSONWebKeySet); // jose checks each key when it is used
}
