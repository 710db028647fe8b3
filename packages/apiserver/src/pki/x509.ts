import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  type Extension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  Pkcs10CertificateRequest,
  type PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { CertificateOptions, KeyPair, SigningRequest, Validity } from './certificates.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const EXTENDED_USAGE = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;

const serialNumber = (): string =>
  Buffer.from(webcrypto.getRandomValues(new Uint8Array(15)))
    .toString('hex')
    .replace(/^/, '01');

async function keyPem(key: webcrypto.CryptoKey): Promise<string> {
  return PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const [der] = PemConverter.decode(pem);
  if (der === undefined) throw new Error('No private key in the PEM text');
  return webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, true, ['sign']);
}

/** A new self-signed authority (ECDSA P-256). */
export async function createAuthority(options: { commonName: string } & Validity): Promise<KeyPair> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const cert = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [options.commonName] }],
    notBefore: options.notBefore,
    notAfter: options.notAfter,
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign | KeyUsageFlags.digitalSignature, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { key: await keyPem(keys.privateKey), cert: cert.toString('pem') };
}

/** A certificate signed by `authority`, with a new key. */
export async function issueCertificate(authority: KeyPair, options: CertificateOptions): Promise<KeyPair> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  return { key: await keyPem(keys.privateKey), cert: await signCertificate(authority, options, keys.publicKey) };
}

async function signCertificate(
  authority: KeyPair,
  options: CertificateOptions,
  publicKey: webcrypto.CryptoKey | PublicKey,
): Promise<string> {
  const issuer = new X509Certificate(authority.cert);
  const organizations = options.organizations ?? [];
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension(options.usages.map((usage) => EXTENDED_USAGE[usage])),
    await AuthorityKeyIdentifierExtension.create(await issuer.publicKey.export()),
    ...alternativeNames(options),
  ];
  const cert = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    // one attribute per organization: a group name may hold commas
    subject: [...organizations.map((name) => ({ O: [name] })), { CN: [options.commonName] }],
    issuer: issuer.subjectName,
    notBefore: options.notBefore,
    notAfter: options.notAfter,
    signingKey: await importKey(authority.key),
    publicKey,
    signingAlgorithm: ALGORITHM,
    extensions,
  });
  return cert.toString('pem');
}

/** What a PKCS #10 request asks for; undefined when it cannot be read or its key has not signed it. */
export async function readRequest(pem: string): Promise<SigningRequest | undefined> {
  try {
    const request = new Pkcs10CertificateRequest(pem);
    if (!(await request.verify())) return undefined;
    const [commonName = '', ...others] = request.subjectName.getField('CN');
    if (others.length > 0) return undefined;
    return { commonName, organizations: request.subjectName.getField('O'), hasExtensions: request.extensions.length > 0 };
  } catch {
    return undefined; // whatever a client sends, it is no request
  }
}

/** A client certificate for the subject and the key of a PKCS #10 request that was read before. */
export async function signRequest(authority: KeyPair, pem: string, validity: Validity): Promise<string> {
  const { subjectName, publicKey } = new Pkcs10CertificateRequest(pem);
  const [commonName = ''] = subjectName.getField('CN');
  const organizations = subjectName.getField('O');
  return signCertificate(authority, { commonName, organizations, usages: ['client'], ...validity }, publicKey);
}

function alternativeNames({ dnsNames = [], ipAddresses = [] }: CertificateOptions): Extension[] {
  if (dnsNames.length + ipAddresses.length === 0) return [];
  return [
    new SubjectAlternativeNameExtension([
      ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
      ...ipAddresses.map((value) => ({ type: 'ip' as const, value })),
    ]),
  ];
}
