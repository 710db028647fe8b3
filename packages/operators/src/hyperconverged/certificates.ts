import type { Fields } from '../kinds.ts';
import { fieldsAt } from './spec-paths.ts';

export interface CertificateTimes {
  readonly duration: string;
  readonly renewBefore: string;
}

const DEFAULTS = {
  ca: { duration: '48h0m0s', renewBefore: '24h0m0s' },
  server: { duration: '24h0m0s', renewBefore: '12h0m0s' },
} as const;

/** How long certificates live, and when they are renewed. */
export function certificates(spec: Fields | undefined): { readonly ca: CertificateTimes; readonly server: CertificateTimes } {
  const part = (name: 'ca' | 'server'): CertificateTimes => ({
    ...DEFAULTS[name],
    ...fieldsAt(spec, `security.certConfig.${name}`),
  });
  return { ca: part('ca'), server: part('server') };
}
