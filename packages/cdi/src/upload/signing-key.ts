import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import { SecretKind } from '@slipway/api';
import { ignoreNotFound, isAlreadyExists } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type UploadTokens, uploadTokens } from './upload-token.ts';

const SECRET_NAME = 'cdi-api-signing-key';
const PRIVATE_KEY = 'id_rsa';
const MODULUS_BITS = 2048;

/** Tokens signed by the key in the platform's namespace, which is made when it is first needed. */
export function clusterUploadTokens(client: Client, namespace: string, nowMs: () => number): () => Promise<UploadTokens> {
  let tokens: Promise<UploadTokens> | undefined;
  return () => {
    tokens ??= signingKey(client, { namespace, name: SECRET_NAME })
      .then((key) => uploadTokens(key, nowMs))
      .catch((error: unknown) => {
        tokens = undefined; // the next caller tries again
        throw error;
      });
    return tokens;
  };
}

async function signingKey(client: Client, key: { readonly namespace: string; readonly name: string }): Promise<string> {
  const found = await readKey(client, key);
  if (found !== undefined) return found;
  const { privateKey, publicKey } = await promisify(generateKeyPair)('rsa', {
    modulusLength: MODULUS_BITS,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const data = { [PRIVATE_KEY]: encoded(privateKey), 'id_rsa.pub': encoded(publicKey) };
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { ...key }, type: 'Opaque', data };
  try {
    await client.create(SecretKind, secret);
    return privateKey;
  } catch (error) {
    const other = isAlreadyExists(error) ? await readKey(client, key) : undefined;
    if (other === undefined) throw error;
    return other;
  }
}

const encoded = (text: string): string => Buffer.from(text).toString('base64');

async function readKey(client: Client, key: { readonly namespace: string; readonly name: string }): Promise<string | undefined> {
  const secret = await client.get(SecretKind, key).catch(ignoreNotFound);
  const value = secret?.data?.[PRIVATE_KEY];
  return value === undefined ? undefined : Buffer.from(value, 'base64').toString('utf8');
}
