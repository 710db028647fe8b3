import { X509Certificate } from 'node:crypto';

/** PEM texts of a key and its certificate. */
export interface KeyPair {
  readonly key: string;
  readonly cert: string;
}

export interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface CertificateOptions extends Validity {
  readonly commonName: string;
  /** Kubernetes groups. */
  readonly organizations?: readonly string[];
  readonly usages: readonly ('server' | 'client')[];
  /** DNS names and IP addresses a server certificate is good for. */
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
}

/** What a PKCS #10 request asks for. */
export interface SigningRequest {
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly hasExtensions: boolean;
}

/** Loading the library costs more than most steps of a start, and a server that starts again makes no certificate. */
const library = () => import('./x509.ts');

/** A new self-signed authority (ECDSA P-256). */
export async function createAuthority(options: { commonName: string } & Validity): Promise<KeyPair> {
  return (await library()).createAuthority(options);
}

/** A certificate signed by `authority`, with a new key. */
export async function issueCertificate(authority: KeyPair, options: CertificateOptions): Promise<KeyPair> {
  return (await library()).issueCertificate(authority, options);
}

/** What a PKCS #10 request asks for; undefined when it cannot be read or its key has not signed it. */
export async function readRequest(pem: string): Promise<SigningRequest | undefined> {
  return (await library()).readRequest(pem);
}

/** A client certificate for the subject and the key of a PKCS #10 request that was read before. */
export async function signRequest(authority: KeyPair, pem: string, validity: Validity): Promise<string> {
  return (await library()).signRequest(authority, pem, validity);
}

/** End of a certificate's validity. */
export function expiryOf(certificatePem: string): Date {
  return new Date(new X509Certificate(certificatePem).validTo);
}
