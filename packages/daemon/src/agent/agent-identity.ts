import { createPublicKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Credentials, parseKubeconfig, renderKubeconfig } from '@slipway/client';
import { replaceFile } from '@slipway/hostapi';

/** The certificate an agent shows, as it is in its kubeconfig. */
export interface AgentIdentity {
  /** Asked before each request: a new certificate is used from the next one on. */
  credentials(): Promise<Credentials>;
  /** Share of the certificate's life that is left. */
  lifeLeft(nowMs: number): number;
  /** Takes over a new certificate, on disk first. Throws when it is not for the same subject and this key. */
  replace(pair: { readonly cert: string; readonly key: string }): void;
}

/** Reads the identity that `up` made, or that an earlier run of the agent renewed. */
export function loadIdentity(file: string): AgentIdentity {
  const config = parseKubeconfig(readFileSync(file, 'utf8'), dirname(file));
  const user = config.users[0]?.user;
  const decode = (text: string | undefined): string => Buffer.from(text ?? '', 'base64').toString();
  let current = { cert: decode(user?.['client-certificate-data']), key: decode(user?.['client-key-data']) };
  let certificate = new X509Certificate(current.cert);
  return {
    credentials: async () => current,
    lifeLeft(nowMs) {
      const from = Date.parse(certificate.validFrom);
      const to = Date.parse(certificate.validTo);
      return (to - nowMs) / (to - from);
    },
    replace(pair) {
      const next = new X509Certificate(pair.cert);
      if (next.subject !== certificate.subject) throw new Error('The new certificate is for another subject');
      if (next.publicKey.export({ type: 'spki', format: 'pem' }) !== publicKeyOf(pair.key))
        throw new Error('The new certificate is for another key');
      const data = (text: string): string => Buffer.from(text).toString('base64');
      const users = config.users.map((entry, index) =>
        index > 0
          ? entry
          : {
              ...entry,
              user: { ...entry.user, 'client-certificate-data': data(pair.cert), 'client-key-data': data(pair.key) },
            },
      );
      replaceFile(file, renderKubeconfig({ ...config, users }), 0o600);
      current = { cert: pair.cert, key: pair.key };
      certificate = next;
    },
  };
}

const publicKeyOf = (privateKeyPem: string): string | Buffer =>
  createPublicKey(privateKeyPem).export({ type: 'spki', format: 'pem' });
