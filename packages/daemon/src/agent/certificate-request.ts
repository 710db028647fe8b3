import { generateKeyPairSync, sign } from 'node:crypto';

export interface CertificateRequest {
  /** PEM, PKCS #8. */
  readonly key: string;
  /** PEM, PKCS #10. */
  readonly request: string;
}

const SEQUENCE = 0x30;
const SET = 0x31;
const UTF8_STRING = 0x0c;
const COMMON_NAME = '550403';
const ORGANIZATION = '55040a';
const ECDSA_WITH_SHA256 = '2a8648ce3d040302';

/** A new P-256 key and the request for a certificate with this subject. */
export function createCertificateRequest(commonName: string, organizations: readonly string[]): CertificateRequest {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subject = der(
    SEQUENCE,
    ...organizations.map((name) => attribute(ORGANIZATION, name)),
    attribute(COMMON_NAME, commonName),
  );
  const version = Buffer.from([0x02, 0x01, 0x00]);
  const noAttributes = Buffer.from([0xa0, 0x00]);
  const info = der(SEQUENCE, version, subject, publicKey.export({ type: 'spki', format: 'der' }), noAttributes);
  const signature = Buffer.concat([Buffer.from([0x00]), sign('sha256', info, privateKey)]); // no unused bits
  const request = der(SEQUENCE, info, der(SEQUENCE, objectId(ECDSA_WITH_SHA256)), der(0x03, signature));
  return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), request: pem('CERTIFICATE REQUEST', request) };
}

const attribute = (type: string, value: string): Buffer =>
  der(SET, der(SEQUENCE, objectId(type), der(UTF8_STRING, Buffer.from(value))));

const objectId = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));

/** Tag, length and content of one ASN.1 value. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content]);
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  const significant = bytes.subarray(bytes.findIndex((byte) => byte !== 0));
  return Buffer.concat([Buffer.from([0x80 | significant.length]), significant]);
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
