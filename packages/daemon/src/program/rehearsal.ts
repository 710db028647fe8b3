import { createAuthority, issueCertificate } from '@slipway/apiserver';

/** Loads and runs what the first start of a platform needs, so that V8 has compiled it when the command line is built. */
export async function rehearse(): Promise<void> {
  await import('../lifecycle/up.ts');
  const validity = { notBefore: new Date(0), notAfter: new Date(0) };
  const authority = await createAuthority({ commonName: 'nobody', ...validity });
  await issueCertificate(authority, { commonName: 'nobody', usages: ['client'], ...validity });
}
