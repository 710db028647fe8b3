import { createHash } from 'node:crypto';

// KubeVirt-compat: the name space of firmware UUIDs that are derived from VM names.
const FIRMWARE_UUID_NAMESPACE = '6a1a24a1-4061-4607-8bf4-a3963d0c5895';

function uuidV5(namespace: string, name: string): string {
  const digest = createHash('sha1')
    .update(Buffer.from(namespace.replace(/-/g, ''), 'hex'))
    .update(name)
    .digest();
  const bytes = digest.subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x50;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** The firmware UUID that a VM of this name has when its spec gives none. */
export function firmwareUuid(vmName: string): string {
  return uuidV5(FIRMWARE_UUID_NAMESPACE, vmName);
}

/** A locally administered unicast MAC address that an interface of a VM keeps over restarts. */
export function stableMac(vmUid: string, interfaceName: string): string {
  const digest = createHash('sha256').update(`${vmUid}/${interfaceName}`).digest();
  return ['02', ...[...digest.subarray(0, 5)].map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

/** Any random-looking but reproducible UUID for the owner of this identity. */
export function derivedUuid(identity: string): string {
  return uuidV5(FIRMWARE_UUID_NAMESPACE, identity);
}
