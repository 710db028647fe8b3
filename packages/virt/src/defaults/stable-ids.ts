import { createHash, hash } from 'node:crypto';

// KubeVirt-compat: the name space of firmware UUIDs that are derived from VM names.
const FIRMWARE_UUID_NAMESPACE = Buffer.from('6a1a24a1406146078bf4a3963d0c5895', 'hex');

/** The last one made: checking one VM asks for that of its name several times. */
let lastUuid = { name: '', uuid: '' };

/** A version 5 UUID in the name space above. */
function uuidOf(name: string): string {
  if (lastUuid.uuid !== '' && lastUuid.name === name) return lastUuid.uuid;
  const bytes = hash('sha1', Buffer.concat([FIRMWARE_UUID_NAMESPACE, Buffer.from(name)]), 'buffer');
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x50;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  const uuid = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
  lastUuid = { name, uuid };
  return uuid;
}

/** The firmware UUID that a VM of this name has when its spec gives none. */
export const firmwareUuid = (vmName: string): string => uuidOf(vmName);

/** A locally administered unicast MAC address that an interface of a VM keeps over restarts. */
export function stableMac(vmUid: string, interfaceName: string): string {
  const digest = createHash('sha256').update(`${vmUid}/${interfaceName}`).digest();
  return ['02', ...[...digest.subarray(0, 5)].map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

/** On a VM that was made again from a snapshot or an export: the uid from which its MAC addresses are still derived. */
export const IDENTITY_ANNOTATION = 'slipway.dev/identity';

/** The uid from which the MAC addresses of a VM are derived. */
export const identityOf = ({ uid, annotations }: IdentityMetadata): string | undefined =>
  annotations?.[IDENTITY_ANNOTATION] || uid;

interface IdentityMetadata {
  readonly uid?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Any random-looking but reproducible UUID for the owner of this identity. */
export const derivedUuid = (identity: string): string => uuidOf(identity);
