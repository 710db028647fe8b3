import { generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto';

/** How an agent shows itself to other agents; PEM texts. Lives as long as the agent. */
export interface PeerIdentity {
  readonly key: string;
  readonly cert: string;
  /** SHA-256 of the certificate, as `tls` writes it: `AB:CD:…`. */
  readonly fingerprint: string;
}

const TAG = { integer: 0x02, bits: 0x03, oid: 0x06, utf8: 0x0c, time: 0x18, sequence: 0x30, set: 0x31, version: 0xa0 } as const;
const COMMON_NAME = Buffer.from('550403', 'hex');
const ECDSA_SHA256 = Buffer.from('2a8648ce3d040302', 'hex');
/** Nobody looks at it: the fingerprint of a certificate is trusted, and only while a node shows it. */
const [NOT_BEFORE, NOT_AFTER] = ['20200101000000Z', '99991231235959Z'];

/** A new key and its self-signed certificate (X.509 version 3, ECDSA P-256). */
export function createPeerIdentity(nodeName: string): PeerIdentity {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const algorithm = der(TAG.sequence, der(TAG.oid, ECDSA_SHA256));
  const name = der(
    TAG.sequence,
    der(TAG.set, der(TAG.sequence, der(TAG.oid, COMMON_NAME), der(TAG.utf8, Buffer.from(nodeName.slice(0, 64))))),
  );
  const content = der(
    TAG.sequence,
    der(TAG.version, der(TAG.integer, Buffer.from([2]))),
    der(TAG.integer, Buffer.from([1]), randomBytes(15)),
    algorithm,
    name,
    der(TAG.sequence, ...[NOT_BEFORE, NOT_AFTER].map((time) => der(TAG.time, Buffer.from(time)))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const signature = der(TAG.bits, Buffer.from([0]), sign('sha256', content, privateKey));
  const certificate = new X509Certificate(der(TAG.sequence, content, algorithm, signature));
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: certificate.toString(),
    fingerprint: certificate.fingerprint256,
  };
}

/** One value of ASN.1's distinguished encoding. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
