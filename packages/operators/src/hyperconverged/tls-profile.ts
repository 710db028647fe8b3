import type { Fields } from '../kinds.ts';
import { fieldsAt, textAt, valueAt } from './spec-paths.ts';

const MODERN = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];

/** OpenSSL's names of ciphers that Go's TLS knows → IANA's. */
const IANA: Readonly<Record<string, string>> = {
  ...Object.fromEntries(MODERN.map((name) => [name, name])),
  'ECDHE-ECDSA-AES128-GCM-SHA256': 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256': 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384': 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384': 'TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305': 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256',
  'ECDHE-RSA-CHACHA20-POLY1305': 'TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-SHA256': 'TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256',
  'ECDHE-RSA-AES128-SHA256': 'TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256',
  'ECDHE-ECDSA-AES128-SHA': 'TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA',
  'ECDHE-RSA-AES128-SHA': 'TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA',
  'ECDHE-ECDSA-AES256-SHA': 'TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA',
  'ECDHE-RSA-AES256-SHA': 'TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA',
  'AES128-GCM-SHA256': 'TLS_RSA_WITH_AES_128_GCM_SHA256',
  'AES256-GCM-SHA384': 'TLS_RSA_WITH_AES_256_GCM_SHA384',
  'AES128-SHA256': 'TLS_RSA_WITH_AES_128_CBC_SHA256',
  'AES128-SHA': 'TLS_RSA_WITH_AES_128_CBC_SHA',
  'AES256-SHA': 'TLS_RSA_WITH_AES_256_CBC_SHA',
  'DES-CBC3-SHA': 'TLS_RSA_WITH_3DES_EDE_CBC_SHA',
};
const INTERMEDIATE = Object.keys(IANA).slice(0, 9);

/** Ciphers that HTTP/2 requires below TLS 1.3. */
export const HTTP2_CIPHERS: readonly string[] = ['ECDHE-RSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES128-GCM-SHA256'];

/** KubeVirt's `tlsConfiguration` of the profile; without one it is that of type Intermediate. */
export function tlsConfiguration(spec: Fields | undefined): Fields {
  const profile = fieldsAt(spec, 'security.tlsSecurityProfile');
  const [version, ciphers] = profileOf(profile);
  const names = ciphers.flatMap((cipher) => IANA[cipher] ?? []);
  return { minTLSVersion: version, ...(version !== 'VersionTLS13' && { ciphers: names }) };
}

function profileOf(profile: Fields | undefined): readonly [version: string, ciphers: readonly string[]] {
  switch (profile?.['type']) {
    case 'Old':
      return ['VersionTLS10', Object.keys(IANA)];
    case 'Modern':
      return ['VersionTLS13', MODERN];
    case 'Custom':
      return [textAt(profile, 'custom.minTLSVersion', 'VersionTLS12'), textsAt(profile, 'custom.ciphers')];
    default:
      return ['VersionTLS12', INTERMEDIATE];
  }
}

export function textsAt(spec: unknown, path: string): readonly string[] {
  const value = valueAt(spec, path);
  return Array.isArray(value) ? (value as readonly unknown[]).filter((item) => typeof item === 'string') : [];
}
