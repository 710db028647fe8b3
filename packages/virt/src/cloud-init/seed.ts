import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { guestHostname } from '../pod/launcher-pod.ts';
import type { IsoFile } from '../iso/layout.ts';

/** Keys of a Secret or ConfigMap with their bytes. */
export type KeyedData = Readonly<Record<string, Uint8Array>>;

/** A configuration disk: what goes on it and its volume name. */
export interface ConfigDisk {
  readonly label: string;
  readonly files: readonly IsoFile[];
}

export interface SeedInputs {
  /** Secrets that the volume refers to, by name. */
  readonly secrets: ReadonlyMap<string, KeyedData>;
  /** SSH keys of access credentials that use this disk. */
  readonly publicKeys?: readonly string[];
  /** Devices with tags, for ConfigDrive. */
  readonly devices?: readonly TaggedDevice[];
}

/** A device that the guest can find by its tag. */
export interface TaggedDevice {
  readonly type: 'nic' | 'hostdev';
  readonly bus: string;
  readonly address: string;
  readonly mac?: string;
  readonly tags: readonly string[];
}

/** A seed that cannot be built. */
export class SeedError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SeedError';
  }
}

const encoder = new TextEncoder();
const json = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value));

function fromSecret(inputs: SeedInputs, name: string, keys: readonly string[]): Uint8Array | undefined {
  const secret = inputs.secrets.get(name);
  if (!secret) throw new SeedError(`Secret ${name} is missing`);
  const key = keys.find((candidate) => secret[candidate] !== undefined);
  return key === undefined ? undefined : secret[key];
}

type CloudInitSource = kubevirt.CloudInitNoCloudSource | kubevirt.CloudInitConfigDriveSource;

const fromBase64 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'base64'));

/** The user data of a volume: from a Secret, base64 or inline text. */
export function userDataOf(source: CloudInitSource, inputs: SeedInputs): Uint8Array | undefined {
  if (source.secretRef?.name) return fromSecret(inputs, source.secretRef.name, ['userdata', 'userData']);
  if (source.userDataBase64) return fromBase64(source.userDataBase64);
  return source.userData ? encoder.encode(source.userData) : undefined;
}

/** The network data of a volume: from a Secret, base64 or inline text. */
export function networkDataOf(source: CloudInitSource, inputs: SeedInputs): Uint8Array | undefined {
  if (source.networkDataSecretRef?.name)
    return fromSecret(inputs, source.networkDataSecretRef.name, ['networkdata', 'networkData']);
  if (source.networkDataBase64) return fromBase64(source.networkDataBase64);
  return source.networkData ? encoder.encode(source.networkData) : undefined;
}

const publicKeyMap = (keys: readonly string[] | undefined): Record<string, string> | undefined =>
  keys && keys.length > 0 ? Object.fromEntries(keys.map((key, index) => [String(index), key])) : undefined;

function instanceType(vmi: VirtualMachineInstance): string | undefined {
  const annotations = vmi.metadata.annotations ?? {};
  return annotations['kubevirt.io/instancetype-name'] ?? annotations['kubevirt.io/cluster-instancetype-name'];
}

function noCloudDisk(vmi: VirtualMachineInstance, source: CloudInitSource, inputs: SeedInputs): ConfigDisk {
  const metaData = {
    'instance-type': instanceType(vmi),
    'instance-id': vmi.spec.domain.firmware?.uuid ?? vmi.metadata.uid ?? '',
    'local-hostname': guestHostname(vmi),
    'public-keys': publicKeyMap(inputs.publicKeys),
  };
  const networkData = networkDataOf(source, inputs);
  return {
    label: 'cidata',
    files: [
      { path: 'meta-data', data: json(metaData) },
      { path: 'user-data', data: userDataOf(source, inputs) ?? new Uint8Array() },
      ...(networkData ? [{ path: 'network-config', data: networkData }] : []),
    ],
  };
}

function configDriveDisk(vmi: VirtualMachineInstance, source: CloudInitSource, inputs: SeedInputs): ConfigDisk {
  const metaData = {
    instance_type: instanceType(vmi),
    instance_id: `${vmi.metadata.name}.${vmi.metadata.namespace ?? 'default'}`,
    hostname: guestHostname(vmi),
    uuid: vmi.spec.domain.firmware?.uuid,
    devices: inputs.devices && inputs.devices.length > 0 ? inputs.devices : undefined,
    public_keys: publicKeyMap(inputs.publicKeys),
  };
  const networkData = networkDataOf(source, inputs);
  const directory = 'openstack/latest';
  return {
    label: 'config-2',
    files: [
      { path: `${directory}/meta_data.json`, data: json(metaData) },
      { path: `${directory}/user_data`, data: userDataOf(source, inputs) ?? new Uint8Array() },
      ...(networkData ? [{ path: `${directory}/network_data.json`, data: networkData }] : []),
    ],
  };
}

/** The cloud-init disk of a volume; undefined when the volume is none. Throws SeedError for a missing Secret. */
export function cloudInitDisk(vmi: VirtualMachineInstance, volume: kubevirt.Volume, inputs: SeedInputs): ConfigDisk | undefined {
  if (volume.cloudInitNoCloud) return noCloudDisk(vmi, volume.cloudInitNoCloud, inputs);
  if (volume.cloudInitConfigDrive) return configDriveDisk(vmi, volume.cloudInitConfigDrive, inputs);
  return undefined;
}

/** Secrets that must be read before the disk can be built. */
export function seedSecretNames(volume: kubevirt.Volume): readonly string[] {
  const source = volume.cloudInitNoCloud ?? volume.cloudInitConfigDrive;
  return [source?.secretRef?.name, source?.networkDataSecretRef?.name].filter((name) => name !== undefined);
}

/** SSH key Secrets whose keys go onto a disk of this kind. */
export function seedKeySecretNames(vmi: VirtualMachineInstance, volume: kubevirt.Volume): readonly string[] {
  return (vmi.spec.accessCredentials ?? []).flatMap(({ sshPublicKey }) => {
    const method = sshPublicKey?.propagationMethod;
    const wanted = volume.cloudInitNoCloud ? method?.noCloud : volume.cloudInitConfigDrive ? method?.configDrive : undefined;
    const name = sshPublicKey?.source.secret?.secretName;
    return wanted && name !== undefined ? [name] : [];
  });
}
