import { type DataVolume, DataVolumeKind, type PersistentVolumeClaim } from '@slipway/api';
import { controllerReference } from '@slipway/apimachinery';
import { cloneAnnotations } from '../clone/clone-planner.ts';
import { Annotation, LABELS } from '../constants.ts';
import { importAnnotations } from '../import/import-annotations.ts';
import { firstStage } from '../import/stages.ts';
import { type ClaimFacts, type ClaimSpec, completeClaim } from './complete-claim.ts';

/** The claim of a DataVolume: `spec.pvc` as it is, `spec.storage` completed from the class's profile. Throws ClaimError. */
export function renderClaim(dataVolume: DataVolume, facts: ClaimFacts): PersistentVolumeClaim {
  const { spec, metadata } = dataVolume;
  const { name = '', namespace = '', labels, annotations = {} } = metadata;
  const claimSpec = spec.storage === undefined ? (spec.pvc as ClaimSpec) : completeClaim(spec.storage, spec.contentType, facts); // same fields
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      name,
      namespace,
      labels: {
        ...labels,
        ...LABELS,
        ...(claimSpec.volumeMode !== 'Block' && { 'alerts.k8s.io/KubePersistentVolumeFillingUp': 'disabled' }),
      },
      annotations: { ...copied(annotations), ...sourceAnnotations(dataVolume, facts, claimSpec) },
      ownerReferences: [controllerReference(dataVolume, DataVolumeKind)],
    },
    spec: claimSpec,
  };
}

/** Say something of the DataVolume alone, or would be a request of the claim's own. */
const NOT_COPIED: ReadonlySet<string> = new Set([
  Annotation.populatedFor,
  Annotation.requester,
  Annotation.cloneRequest,
  Annotation.snapshotRequest,
  Annotation.clonePhase,
  'kubectl.kubernetes.io/last-applied-configuration',
]);

const copied = (annotations: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(annotations).filter(([name]) => !NOT_COPIED.has(name)));

/** The PVC-level request that the import, clone and upload controllers act upon. */
function sourceAnnotations(
  dataVolume: DataVolume,
  { clone, planClone }: ClaimFacts,
  claimSpec: ClaimSpec,
): Record<string, string> {
  const { spec, metadata } = dataVolume;
  return {
    ...firstStage(dataVolume),
    [Annotation.ownDataVolume]: metadata.uid ?? '',
    [Annotation.contentType]: spec.contentType || 'kubevirt',
    ...((claimSpec.dataSourceRef ?? claimSpec.dataSource) && { [Annotation.externalPopulation]: 'true' }),
    ...(spec.preallocation !== undefined && { [Annotation.preallocation]: String(spec.preallocation) }),
    ...(spec.priorityClassName && { [Annotation.priorityClass]: spec.priorityClassName }),
    ...(spec.serviceAccountName && { [Annotation.serviceAccount]: spec.serviceAccountName }),
    ...(clone === undefined
      ? importAnnotations(spec.source ?? {})
      : cloneAnnotations(clone, planClone?.(claimSpec, clone) ?? { strategy: 'csi-clone' })),
  };
}
