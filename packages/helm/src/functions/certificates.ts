import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';
import { define, FunctionError, type FunctionTable } from '../template/functions.ts';
import { type GoObject, type Int, isList, isObject, type Value } from '../template/values.ts';
import { bits, boolean, implicit, integer, octets, oid, sequence, set, tagged, time, utf8 } from './der.ts';
import type { FunctionSources } from './context.ts';

const DAY_MS = 86_400_000;
const SHA256_RSA = '1.2.840.113549.1.1.11';
const SHA256_ECDSA = '1.2.840.10045.4.3.2';
const ED25519 = '1.3.101.112';

interface Request {
  readonly commonName: string;
  readonly ips: readonly string[];
  readonly names: readonly string[];
  readonly days: number;
  readonly isAuthority: boolean;
}

interface Issuer {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

/** A certificate with its key, as templates see it. */
function pair(certificate: string, key: string): GoObject {
  return {
    goType: 'sprig.certificate',
    member: (name) => (name === 'Cert' ? certificate : name === 'Key' ? key : undefined),
    toText: () => `{${certificate} ${key}}`,
    toJson: () => ({ Cert: certificate, Key: key }),
  };
}

const pem = (key: KeyObject): string => {
  const type = key.asymmetricKeyType === 'rsa' ? 'pkcs1' : key.asymmetricKeyType === 'ec' ? 'sec1' : 'pkcs8';
  return String(key.export({ format: 'pem', type }));
};

const rsaKey = (bits_ = 2048): KeyObject => generateKeyPairSync('rsa', { modulusLength: bits_ }).privateKey;

function readKey(text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch {
    throw new FunctionError('error parsing private key: unable to decode it');
  }
}

function algorithm(key: KeyObject): Buffer {
  if (key.asymmetricKeyType === 'ec') return sequence(oid(SHA256_ECDSA));
  return key.asymmetricKeyType === 'ed25519' ? sequence(oid(ED25519)) : sequence(oid(SHA256_RSA), Buffer.from([5, 0]));
}

const subjectOf = (name: string): Buffer => sequence(set(sequence(oid('2.5.4.3'), utf8(name))));

function extension(id: string, isCritical: boolean, content: Uint8Array): Buffer {
  return sequence(oid(id), ...(isCritical ? [boolean(true)] : []), octets(content));
}

function ipBytes(text: string): Buffer {
  if (isIP(text) === 4) return Buffer.from(text.split('.').map(Number));
  if (isIP(text) !== 6) throw new FunctionError(`error parsing ip: ${text}`);
  const [head = '', tail] = text.split('::');
  const words = (part: string | undefined): string[] => (part ? part.split(':') : []);
  const middle = tail === undefined ? [] : Array.from({ length: 8 - words(head).length - words(tail).length }, () => '0');
  return Buffer.from([...words(head), ...middle, ...words(tail)].map((word) => word.padStart(4, '0')).join(''), 'hex');
}

function extensions(request: Request, publicKey: Buffer, issuer: Issuer | undefined): Buffer {
  const usage = request.isAuthority ? Buffer.from([0xa4]) : Buffer.from([0xa0]);
  const id = createHash('sha1').update(publicKey).digest();
  const parts = [
    extension('2.5.29.15', true, bits(usage, request.isAuthority ? 2 : 5)),
    extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2'))),
    extension('2.5.29.19', true, request.isAuthority ? sequence(boolean(true)) : sequence()),
    ...(request.isAuthority ? [extension('2.5.29.14', false, octets(id))] : []),
  ];
  if (issuer) {
    const authority = createHash('sha1')
      .update(issuer.certificate.publicKey.export({ format: 'der', type: 'spki' }))
      .digest();
    parts.push(extension('2.5.29.35', false, sequence(implicit(0, authority))));
  }
  const names = [
    ...request.names.map((name) => implicit(2, Buffer.from(name))),
    ...request.ips.map((ip) => implicit(7, ipBytes(ip))),
  ];
  if (names.length > 0) parts.push(extension('2.5.29.17', false, sequence(...names)));
  return tagged(3, sequence(...parts));
}

function issuerName(issuer: Issuer | undefined, request: Request): Buffer {
  if (issuer === undefined) return subjectOf(request.commonName);
  const name = /^CN=(.*)$/m.exec(issuer.certificate.subject)?.[1];
  return subjectOf(name ?? '');
}

function issue({ now, randomBytes }: FunctionSources, request: Request, key: KeyObject, issuer?: Issuer): GoObject {
  const signer = issuer?.key ?? key;
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const body = sequence(
    tagged(0, integer(Buffer.from([2]))),
    integer(randomBytes(16)),
    algorithm(signer),
    issuerName(issuer, request),
    sequence(time(now()), time(now() + request.days * DAY_MS)),
    subjectOf(request.commonName),
    publicKey,
    extensions(request, publicKey, issuer),
  );
  const signature = sign(signer.asymmetricKeyType === 'ed25519' ? null : 'sha256', body, signer);
  const certificate = sequence(body, algorithm(signer), bits(signature))
    .toString('base64')
    .replace(/.{1,64}/g, '$&\n');
  return pair(`-----BEGIN CERTIFICATE-----\n${certificate}-----END CERTIFICATE-----\n`, pem(key));
}

function textList(value: Value, what: string): string[] {
  if (value === null || value === undefined) return [];
  if (!isList(value)) throw new FunctionError(`error parsing ${what}: not a list`);
  return value.map((item) => {
    if (typeof item !== 'string') throw new FunctionError(`error parsing ${what}: not a string`);
    return item;
  });
}

function issuerOf(value: Value): Issuer {
  const [certificate, key] = isObject(value) ? [value.member('Cert'), value.member('Key')] : [];
  if (typeof certificate !== 'string' || typeof key !== 'string') throw new FunctionError('the authority is no certificate');
  try {
    return { certificate: new X509Certificate(certificate), key: readKey(key) };
  } catch (error) {
    throw error instanceof FunctionError ? error : new FunctionError('error parsing certificate: unable to decode it');
  }
}

/** Sprig's functions that make keys and certificates. */
export function certificateFunctions(sources: FunctionSources): FunctionTable {
  const authority = (commonName: string, days: Int, key: KeyObject): Value =>
    issue(sources, { commonName, ips: [], names: [], days: Number(days.value), isAuthority: true }, key);
  const server = (commonName: string, ips: Value, names: Value, days: Int, key: KeyObject, issuer?: Issuer): Value => {
    const request = {
      commonName,
      ips: textList(ips, 'ips'),
      names: textList(names, 'alternate names'),
      days: Number(days.value),
    };
    return issue(sources, { ...request, isAuthority: false }, key, issuer);
  };
  const charge = (): void => sources.budget.step(20_000);
  return {
    genPrivateKey: define('string', (type: string) => {
      charge();
      return privateKey(type);
    }),
    genCA: define('string int', (name: string, days: Int) => (charge(), authority(name, days, rsaKey()))),
    genCAWithKey: define('string int string', (name: string, days: Int, key: string) => authority(name, days, readKey(key))),
    genSelfSignedCert: define('string any any int', (name: string, ips: Value, names: Value, days: Int) => {
      charge();
      return server(name, ips, names, days, rsaKey());
    }),
    genSelfSignedCertWithKey: define(
      'string any any int string',
      (name: string, ips: Value, names: Value, days: Int, key: string) => server(name, ips, names, days, readKey(key)),
    ),
    genSignedCert: define('string any any int object', (name: string, ips: Value, names: Value, days: Int, ca: Value) => {
      charge();
      return server(name, ips, names, days, rsaKey(), issuerOf(ca));
    }),
    genSignedCertWithKey: define(
      'string any any int object string',
      (name: string, ips: Value, names: Value, days: Int, ca: Value, key: string) =>
        server(name, ips, names, days, readKey(key), issuerOf(ca)),
    ),
    buildCustomCert: define('string string', (certificate: string, key: string) =>
      pair(Buffer.from(certificate, 'base64').toString('utf8'), Buffer.from(key, 'base64').toString('utf8')),
    ),
  };
}

function privateKey(type: string): string {
  switch (type) {
    case '':
    case 'rsa':
      return pem(rsaKey(4096));
    case 'ecdsa':
      return pem(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
    case 'ed25519':
      return pem(generateKeyPairSync('ed25519').privateKey);
    case 'dsa':
      return String(
        generateKeyPairSync('dsa', { modulusLength: 2048, divisorLength: 256 }).privateKey.export({
          format: 'pem',
          type: 'pkcs8',
        }),
      );
    default:
      return `Unknown type ${type}`;
  }
}
