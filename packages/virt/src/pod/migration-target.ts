import type { core, Pod, VirtualMachineInstance } from '@slipway/api';
import type { LauncherContext, RenderedPod } from './context.ts';
import { renderLauncherPod } from './launcher-pod.ts';

/** On a migration's target pod: claims that it cannot name as volumes yet, as a JSON list (ADR 0017). */
export const INCOMING_CLAIMS = 'slipway.dev/incoming-claims';
export const MIGRATION_JOB_UID = 'kubevirt.io/migrationJobUID';
export const MIGRATION_JOB_NAME = 'kubevirt.io/migrationJobName';

export interface MigrationTargetInput {
  readonly name: string;
  readonly uid: string;
  /** Selector of the migration object; keys of the VMI win. */
  readonly addedNodeSelector?: Readonly<Record<string, string>> | undefined;
  /** Claims that only the source's node has, and those of hotplugged volumes: their content comes with the guest. */
  readonly incomingClaims?: readonly string[];
  /** Labels of the source's node: what its processor is. */
  readonly sourceNodeLabels?: Readonly<Record<string, string>>;
  /** The pod that the guest is in: its images are used again to the byte. */
  readonly source?: Pick<Pod, 'spec' | 'status'>;
}

/** The claims that a target pod leaves out; none when it says nothing readable. */
export function incomingClaims({ metadata }: Pick<Pod, 'metadata'>): readonly string[] {
  try {
    const list: unknown = JSON.parse(metadata.annotations?.[INCOMING_CLAIMS] ?? '[]');
    return Array.isArray(list) ? list.filter((name) => typeof name === 'string') : [];
  } catch {
    return [];
  }
}

/** The pod that a migration moves the guest to: a launcher pod that keeps away from the source's node. */
export function renderMigrationTargetPod(
  vmi: VirtualMachineInstance,
  migration: MigrationTargetInput,
  context: LauncherContext,
): RenderedPod {
  const pod = renderLauncherPod(vmi, context);
  const incoming = migration.incomingClaims ?? [];
  const spec = withSameImages(withoutClaims(pod.spec, incoming), migration.source);
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      labels: { ...pod.metadata.labels, [MIGRATION_JOB_UID]: migration.uid },
      annotations: {
        ...pod.metadata.annotations,
        [MIGRATION_JOB_NAME]: migration.name,
        ...(incoming.length > 0 && { [INCOMING_CLAIMS]: JSON.stringify(incoming) }),
      },
    },
    spec: {
      ...spec,
      nodeSelector: {
        ...migration.addedNodeSelector,
        ...spec.nodeSelector,
        ...processorSelector(vmi, migration.sourceNodeLabels ?? {}),
      },
      affinity: awayFromGuest(vmi, spec.affinity),
    },
  };
}

function awayFromGuest(vmi: VirtualMachineInstance, base: core.Affinity = {}): core.Affinity {
  const away: core.PodAffinityTerm = {
    labelSelector: { matchLabels: { 'kubevirt.io/created-by': vmi.metadata.uid ?? '' } },
    topologyKey: 'kubernetes.io/hostname',
  };
  const required = base.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  return {
    ...base,
    podAntiAffinity: { ...base.podAntiAffinity, requiredDuringSchedulingIgnoredDuringExecution: [...required, away] },
  };
}

/** Without volumes that would bind the pod to the source's node. */
function withoutClaims(spec: core.PodSpec, claims: readonly string[]): core.PodSpec {
  const isGone = ({ persistentVolumeClaim }: core.Volume): boolean => claims.includes(persistentVolumeClaim?.claimName ?? '');
  const gone = new Set((spec.volumes ?? []).filter(isGone).map(({ name }) => name));
  if (gone.size === 0) return spec;
  const kept = <T extends { readonly name: string }>(list: readonly T[] | undefined): T[] | undefined =>
    list?.filter(({ name }) => !gone.has(name));
  const stripped = (container: core.Container): core.Container => {
    const { volumeMounts, volumeDevices, ...rest } = container;
    const mounts = kept(volumeMounts);
    const devices = kept(volumeDevices);
    return { ...rest, ...(mounts && { volumeMounts: mounts }), ...(devices && devices.length > 0 && { volumeDevices: devices }) };
  };
  return {
    ...spec,
    volumes: kept(spec.volumes) ?? [],
    containers: spec.containers.map(stripped),
    ...(spec.initContainers && { initContainers: spec.initContainers.map(stripped) }),
  };
}

const DIGEST = /^(?:docker-pullable:\/\/|.*:\/\/)?([^@\s]+@sha256:[0-9a-f]{64})$/;

/** Container disks by the digests that the source's containers run; a tag may have moved since. */
function withSameImages(spec: core.PodSpec, source: MigrationTargetInput['source']): core.PodSpec {
  const statuses = [...(source?.status?.initContainerStatuses ?? []), ...(source?.status?.containerStatuses ?? [])];
  const digests = new Map(
    statuses.flatMap(({ name, imageID }) => {
      const digest = DIGEST.exec(imageID)?.[1];
      return digest === undefined || !name.startsWith('volume') ? [] : [[name.replace(/-init$/, ''), digest] as const];
    }),
  );
  if (digests.size === 0) return spec;
  const pinned = (container: core.Container): core.Container => {
    const image = digests.get(container.name.replace(/-init$/, ''));
    return image === undefined ? container : { ...container, image };
  };
  return {
    ...spec,
    containers: spec.containers.map(pinned),
    ...(spec.initContainers && { initContainers: spec.initContainers.map(pinned) }),
  };
}

const HOST_MODEL = 'host-model-cpu.node.kubevirt.io/';
const HOST_FEATURE = 'host-model-required-features.node.kubevirt.io/';
const VENDOR = 'cpu-vendor.node.kubevirt.io/';

/** What the target's processor must be like: the vendor of the source's, and all of its model when the guest has that. */
export function processorSelector(
  vmi: VirtualMachineInstance,
  sourceLabels: Readonly<Record<string, string>>,
): Record<string, string> {
  const after = (prefix: string): string[] =>
    Object.keys(sourceLabels).flatMap((label) => (label.startsWith(prefix) ? [label.slice(prefix.length)] : []));
  const isTrue = (labels: string[]): Record<string, string> => Object.fromEntries(labels.map((label) => [label, 'true']));
  const vendors = isTrue(after(VENDOR).map((vendor) => `${VENDOR}${vendor}`));
  const model = vmi.spec.domain.cpu?.model;
  if (model !== undefined && model !== '' && model !== 'host-model') return vendors;
  return {
    ...vendors,
    ...isTrue(after(HOST_MODEL).map((name) => `cpu-model-migration.node.kubevirt.io/${name}`)),
    ...isTrue(after(HOST_FEATURE).map((name) => `cpu-feature.node.kubevirt.io/${name}`)),
  };
}
