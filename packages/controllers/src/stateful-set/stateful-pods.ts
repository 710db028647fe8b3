import { controllerReference, type KubeObject } from '@slipway/apimachinery';
import {
  type ControllerRevision,
  type core,
  type PersistentVolumeClaim,
  type Pod,
  type StatefulSet,
  StatefulSetKind,
} from '@slipway/api';
import { podFromTemplate } from '../workload/owned-pods.ts';
import { REVISION_LABEL, templateOf } from '../workload/revision-history.ts';

type ClaimTemplate = core.PersistentVolumeClaim;

/** Number at the end of a pod's name; undefined for a pod that is named otherwise. */
export function ordinalOf({ metadata }: StatefulSet, pod: Pod): number | undefined {
  const name = pod.metadata.name ?? '';
  const prefix = `${metadata.name}-`;
  const text = name.startsWith(prefix) ? name.slice(prefix.length) : '';
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

export const revisionNameOf = (pod: Pod): string => pod.metadata.labels?.[REVISION_LABEL] ?? '';

const claimName = (set: StatefulSet, template: ClaimTemplate, ordinal: number): string =>
  `${template.metadata?.name}-${set.metadata.name}-${ordinal}`;

/** The pod of one ordinal from the template of a revision, with its claims in place of volumes of the same name. */
export function statefulPod(set: StatefulSet, revision: ControllerRevision, ordinal: number): Pod {
  const name = `${set.metadata.name}-${ordinal}`;
  const pod = podFromTemplate(set, StatefulSetKind, templateOf(revision), { name });
  const templates = set.spec?.volumeClaimTemplates ?? [];
  const claimed = templates.map((template) => ({
    name: template.metadata?.name ?? '',
    persistentVolumeClaim: { claimName: claimName(set, template, ordinal) },
  }));
  const others = (pod.spec?.volumes ?? []).filter((volume) => !claimed.some((claim) => claim.name === volume.name));
  const volumes = [...others, ...claimed];
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      labels: {
        ...pod.metadata.labels,
        [REVISION_LABEL]: revision.metadata.name ?? '',
        'statefulset.kubernetes.io/pod-name': name,
        'apps.kubernetes.io/pod-index': String(ordinal),
      },
    },
    spec: {
      containers: [],
      ...pod.spec,
      hostname: name,
      ...(set.spec?.serviceName && { subdomain: set.spec.serviceName }),
      ...(volumes.length > 0 && { volumes }),
    },
  };
}

/** The claims of one ordinal. They outlive their pod, and the set unless its retention policy says otherwise. */
export function claimsOf(set: StatefulSet, ordinal: number): readonly PersistentVolumeClaim[] {
  const { name = '', namespace = '' } = set.metadata;
  const endsWithSet = set.spec?.persistentVolumeClaimRetentionPolicy?.whenDeleted === 'Delete' && name !== '';
  return (set.spec?.volumeClaimTemplates ?? []).map((template) => {
    // the published metadata type allows what our own names exactly
    const { labels, annotations } = (template.metadata ?? {}) as KubeObject['metadata'];
    return {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: {
        name: claimName(set, template, ordinal),
        namespace,
        labels: { ...labels, ...set.spec?.selector.matchLabels },
        ...(annotations && { annotations: { ...annotations } }),
        ...(endsWithSet && { ownerReferences: [controllerReference(set, StatefulSetKind)] }),
      },
      ...(template.spec && { spec: structuredClone(template.spec) }),
    };
  });
}
