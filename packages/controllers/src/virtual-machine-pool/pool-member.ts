import type { kubevirt, VirtualMachine } from '@slipway/api';
import { cloneJson, type OwnerReference } from '@slipway/apimachinery';

type Pool = kubevirt.VirtualMachinePool;
type Spec = VirtualMachine['spec'];
type InstanceSpec = kubevirt.VirtualMachineInstanceSpec;

/** On a VM: the revision it was last brought to; on its instance: the one it was started with. */
export const REVISION_LABEL = 'kubevirt.io/vm-pool-revision-name';

/** Number of a pool's member by its name; undefined when the name is not one of the pool's. */
export function memberIndex(pool: Pool, name: string | undefined): number | undefined {
  const prefix = `${pool.metadata.name}-`;
  const rest = name?.startsWith(prefix) === true ? name.slice(prefix.length) : '';
  return /^(0|[1-9]\d{0,8})$/.test(rest) ? Number(rest) : undefined;
}

/** The numbers that the next members get: the lowest ones that nobody uses. */
export function freeIndexes(pool: Pool, names: readonly (string | undefined)[], count: number): readonly number[] {
  const used = new Set(names.map((name) => memberIndex(pool, name)));
  const free: number[] = [];
  for (let index = 0; free.length < count; index++) if (!used.has(index)) free.push(index);
  return free;
}

/** Volumes of a member that must not be shared with its siblings get its number. */
function numberVolumes(spec: Spec, index: number, names: kubevirt.VirtualMachinePoolNameGeneration): void {
  const disks = new Set((spec.dataVolumeTemplates ?? []).map(({ metadata }) => metadata.name));
  const numbered = <T extends string | undefined>(name: T): T => (name ? `${name}-${index}` : name) as T; // keeps undefined
  for (const template of spec.dataVolumeTemplates ?? [])
    template.metadata = { ...template.metadata, ...nameOf(numbered(template.metadata.name)) };
  for (const volume of spec.template.spec?.volumes ?? []) {
    if (disks.has(volume.dataVolume?.name))
      volume.dataVolume = { ...volume.dataVolume, name: numbered(volume.dataVolume?.name ?? '') };
    const claim = volume.persistentVolumeClaim;
    if (claim && disks.has(claim.claimName)) claim.claimName = numbered(claim.claimName);
    if (names.appendIndexToConfigMapRefs) numberConfigMaps(volume, numbered);
    if (names.appendIndexToSecretRefs) numberSecrets(volume, numbered);
  }
}

const nameOf = (name: string | undefined) => (name === undefined ? {} : { name });

type Numbering = <T extends string | undefined>(name: T) => T;

function numberConfigMaps(volume: kubevirt.Volume, numbered: Numbering): void {
  for (const reference of [volume.configMap, volume.sysprep?.configMap])
    if (reference) Object.assign(reference, nameOf(numbered(reference.name)));
}

function numberSecrets(volume: kubevirt.Volume, numbered: Numbering): void {
  if (volume.secret) Object.assign(volume.secret, volume.secret.secretName && { secretName: numbered(volume.secret.secretName) });
  const { cloudInitNoCloud: noCloud, cloudInitConfigDrive: drive } = volume;
  for (const reference of [
    volume.sysprep?.secret,
    noCloud?.secretRef,
    noCloud?.networkDataSecretRef,
    drive?.secretRef,
    drive?.networkDataSecretRef,
  ])
    if (reference) Object.assign(reference, nameOf(numbered(reference.name)));
}

/** Spec of the member with this number. */
export function memberSpec(pool: Pool, index: number, revision: string): Spec {
  const spec: Spec = cloneJson(pool.spec.virtualMachineTemplate.spec ?? { template: { spec: emptyInstance } });
  numberVolumes(spec, index, pool.spec.nameGeneration ?? {});
  const metadata = textual(spec.template.metadata);
  spec.template = { ...spec.template, metadata: { ...metadata, labels: { ...metadata.labels, [REVISION_LABEL]: revision } } };
  return spec;
}

const emptyInstance: InstanceSpec = { domain: { devices: {} } };

/** The published metadata type allows any JSON where the API allows text. */
function textual(metadata: unknown): { readonly labels?: Record<string, string>; readonly annotations?: Record<string, string> } {
  return (metadata ?? {}) as { labels?: Record<string, string>; annotations?: Record<string, string> };
}

export function memberLabels(pool: Pool, revision: string): Record<string, string> {
  return { ...textual(pool.spec.virtualMachineTemplate.metadata).labels, [REVISION_LABEL]: revision };
}

/** A new member of the pool. */
export function newMember(pool: Pool, index: number, revision: string, reference: OwnerReference): VirtualMachine {
  const { name = '', namespace = '' } = pool.metadata;
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: {
      name: `${name}-${index}`,
      namespace,
      labels: memberLabels(pool, revision),
      annotations: { ...textual(pool.spec.virtualMachineTemplate.metadata).annotations },
      ownerReferences: [reference],
    },
    spec: memberSpec(pool, index, revision),
  };
}
