import { controllerReference, deepEqual, type KubeObject } from '@slipway/apimachinery';
import { type core, type Deployment, DeploymentKind, type ReplicaSet } from '@slipway/api';
import { scaledValue } from '../workload/int-or-percent.ts';

export const REVISION = 'deployment.kubernetes.io/revision';
export const REVISION_HISTORY = 'deployment.kubernetes.io/revision-history';
export const DESIRED = 'deployment.kubernetes.io/desired-replicas';
export const MAXIMUM = 'deployment.kubernetes.io/max-replicas';
export const TEMPLATE_HASH = 'pod-template-hash';
/** Annotations of the Deployment that its ReplicaSets have values of their own for, or none. */
const NOT_COPIED = [
  'kubectl.kubernetes.io/last-applied-configuration',
  REVISION,
  REVISION_HISTORY,
  DESIRED,
  MAXIMUM,
  'deprecated.deployment.rollback.to',
];

/** How far a rolling update may go over and under the wanted replicas. */
export function surgeOf({ spec }: Deployment): { readonly maxSurge: number; readonly maxUnavailable: number } {
  const replicas = spec?.replicas ?? 1;
  if (spec?.strategy?.type === 'Recreate') return { maxSurge: 0, maxUnavailable: 0 };
  const { maxSurge, maxUnavailable } = spec?.strategy?.rollingUpdate ?? {};
  const surge = scaledValue(maxSurge, replicas, true) ?? 0;
  const unavailable = Math.min(replicas, scaledValue(maxUnavailable, replicas, false) ?? 0);
  // both rounded to nothing would never get anywhere
  return { maxSurge: surge, maxUnavailable: surge === 0 && unavailable === 0 ? 1 : unavailable };
}

export const replicasOf = (set: ReplicaSet): number => set.spec?.replicas ?? 0;
export const sumOfReplicas = (sets: readonly ReplicaSet[]): number => sets.reduce((sum, set) => sum + replicasOf(set), 0);
export const sumOfAvailable = (sets: readonly ReplicaSet[]): number =>
  sets.reduce((sum, set) => sum + (set.status?.availableReplicas ?? 0), 0);

export const revisionOf = (object: KubeObject): number => Number(object.metadata.annotations?.[REVISION] ?? 0) || 0;

/** Oldest first; of the same age by name, so that the order is the same every time. */
export const byAge = (a: KubeObject, b: KubeObject): number =>
  (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '') ||
  (a.metadata.name ?? '').localeCompare(b.metadata.name ?? '');

/** The ReplicaSet that has the Deployment's template now. */
export function findCurrent(deployment: Deployment, sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  const wanted = plainTemplate(deployment.spec?.template);
  return [...sets].sort(byAge).find((set) => deepEqual(plainTemplate(set.spec?.template), wanted));
}

/** A template without the label that tells ReplicaSets apart. */
function plainTemplate(template: core.PodTemplateSpec | undefined): unknown {
  const { labels = {}, ...metadata } = (template?.metadata ?? {}) as KubeObject['metadata']; // same shape
  const { [TEMPLATE_HASH]: _, ...plain } = labels;
  const { creationTimestamp: _created, ...rest } = metadata;
  return { metadata: { ...rest, labels: plain }, spec: template?.spec };
}

/** Annotations that say how large a ReplicaSet's Deployment was meant to be when the set was last scaled. */
export function sizeAnnotations(deployment: Deployment): Record<string, string> {
  const replicas = deployment.spec?.replicas ?? 1;
  return { [DESIRED]: String(replicas), [MAXIMUM]: String(replicas + surgeOf(deployment).maxSurge) };
}

/** Annotations of the Deployment that its current ReplicaSet carries too, `kubernetes.io/change-cause` among them. */
export function copiedAnnotations({ metadata }: Deployment): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata.annotations ?? {}).filter(([name]) => !NOT_COPIED.includes(name)));
}

/** A ReplicaSet for the Deployment's template as it is now. */
export function newReplicaSet(deployment: Deployment, hash: string, replicas: number, revision: number): ReplicaSet {
  const { name = '', namespace = '' } = deployment.metadata;
  const { selector, template, minReadySeconds } = deployment.spec ?? {};
  const label = { [TEMPLATE_HASH]: hash };
  const labels = { ...(template?.metadata as KubeObject['metadata'])?.labels, ...label };
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${name}-${hash}`,
      namespace,
      labels,
      annotations: { ...copiedAnnotations(deployment), ...sizeAnnotations(deployment), [REVISION]: String(revision) },
      ownerReferences: [controllerReference(deployment, DeploymentKind)],
    },
    spec: {
      replicas,
      ...(minReadySeconds && { minReadySeconds }),
      selector: { ...selector, matchLabels: { ...selector?.matchLabels, ...label } },
      template: { ...structuredClone(template ?? {}), metadata: { ...template?.metadata, labels } },
    },
  };
}
