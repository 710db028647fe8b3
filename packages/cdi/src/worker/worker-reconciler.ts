import {
  CDIConfigKind,
  CDIKind,
  type core,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type Pod,
  PodKind,
  type StorageClass,
  StorageClassKind,
} from '@slipway/api';
import { ignoreAlreadyExists, ignoreNotFound, keyOf, type ObjectKey } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  allow,
  type ControllerRegistration,
  done,
  type EventRecorder,
  type Informers,
  type Lister,
  owned,
  type Reconciler,
  type Result,
} from '@slipway/runtime';
import { Annotation, PROPAGATED_LABEL } from '../constants.ts';
import { kindOf, waitsForConsumer } from '../data-volume/data-volume-status.ts';
import { type WorkerSettings, withSettings } from './worker-settings.ts';

type ContainerStatus = core.ContainerStatus;

/** One way to fill a claim by a worker pod. */
export interface Work {
  readonly kind: ReturnType<typeof kindOf>;
  readonly podName: (claim: PersistentVolumeClaim) => string;
  readonly podFor: (claim: PersistentVolumeClaim) => Pod;
  /** Annotation of the claim that names its worker. */
  readonly nameAnnotation: string;
  readonly failed: string;
  readonly succeeded: { readonly reason: string; readonly message: string; readonly condition: string };
}

/** Fills claims that ask for this work by their annotations, whoever made them, by one pod each. */
export const workerController = (name: string, work: Work): ControllerRegistration => ({
  name,
  rules: [...allow('create delete', PodKind), ...allow('patch', PersistentVolumeClaimKind)],
  create: ({ client, events, informers }) => ({
    kind: PersistentVolumeClaimKind,
    watches: [owned(PodKind, PersistentVolumeClaimKind)],
    concurrency: 3,
    reconciler: new WorkerReconciler(work, {
      client,
      events,
      claims: informers.lister(PersistentVolumeClaimKind),
      pods: informers.lister(PodKind),
      classes: informers.lister(StorageClassKind),
      settings: workerSettings(informers),
    }),
  }),
});

/** Reads what the administrator says now. */
function workerSettings(informers: Informers): () => WorkerSettings {
  const configs = informers.lister(CDIConfigKind);
  const cdis = informers.lister(CDIKind);
  return () => ({
    config: configs.get({ namespace: '', name: 'config' }),
    placement: cdis.list().find(({ status }) => status?.phase !== 'Error')?.spec.workload,
  });
}

interface WorkerDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly pods: Lister<Pod>;
  readonly classes: Lister<StorageClass>;
  readonly settings: () => WorkerSettings;
}

// KubeVirt-compat: who names one of the four has chosen all of them
const DEFAULTS: ReadonlySet<string> = new Set(
  ['instancetype', 'instancetype-kind', 'preference', 'preference-kind'].map(
    (name) => `instancetype.kubevirt.io/default-${name}`,
  ),
);

class WorkerReconciler implements Reconciler {
  private readonly work: Work;
  private readonly deps: WorkerDeps;

  constructor(work: Work, deps: WorkerDeps) {
    this.work = work;
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const claim = this.deps.claims.get(key);
    if (claim === undefined || kindOf(claim) !== this.work.kind) return done;
    const pod = this.podOf(claim);
    // the claim's protection waits for the pod, and the collector would wait for the claim
    if (claim.metadata.deletionTimestamp !== undefined) await this.removePod(pod, signal);
    else if (isFinished(claim)) await this.cleanUp(claim, pod, signal);
    else if (pod === undefined) await this.createPod(claim, signal);
    else await this.report(claim, pod, signal);
    return done;
  }

  private podOf(claim: PersistentVolumeClaim): Pod | undefined {
    const { namespace = '', uid } = claim.metadata;
    const pod = this.deps.pods.get({ namespace, name: this.work.podName(claim) });
    return pod?.metadata.ownerReferences?.some((owner) => owner.uid === uid) ? pod : undefined;
  }

  private async createPod(claim: PersistentVolumeClaim, signal: AbortSignal): Promise<void> {
    if (!this.mayStart(claim)) return;
    await this.removeEarlier(claim, signal);
    const pod = withSettings(this.work.podFor(claim), this.deps.settings());
    await this.deps.client.create(PodKind, pod, { signal }).catch(ignoreAlreadyExists);
    const name = pod.metadata.name ?? '';
    await this.annotate(claim, { [this.work.nameAnnotation]: name, [Annotation.podPhase]: 'Pending' }, signal);
  }

  /** Workers of the stages that are over. */
  private async removeEarlier({ metadata }: PersistentVolumeClaim, signal: AbortSignal): Promise<void> {
    if (metadata.annotations?.[Annotation.checkpointCurrent] === undefined) return;
    for (const pod of this.deps.pods.ownedBy(metadata.uid ?? '')) await this.removePod(pod, signal);
  }

  /** A bound claim; or one that waits for a consumer and whose owner wants the worker to be that consumer. */
  private mayStart(claim: PersistentVolumeClaim): boolean {
    if (claim.status?.phase === 'Bound') return true;
    const className = claim.spec?.storageClassName;
    const storageClass = className === undefined ? undefined : this.deps.classes.get({ namespace: '', name: className });
    const isRequested = claim.metadata.annotations?.[Annotation.immediateBinding] !== undefined;
    return isRequested && storageClass?.volumeBindingMode === 'WaitForFirstConsumer' && !waitsForConsumer(claim, storageClass);
  }

  /** Copies the worker's state to the claim, from which the DataVolume's is derived. */
  private async report(claim: PersistentVolumeClaim, pod: Pod, signal: AbortSignal): Promise<void> {
    const { failed, succeeded } = this.work;
    const state = podState(pod, this.work);
    await this.annotate(claim, state, signal, labelsIn(claim, pod));
    const before = claim.metadata.annotations ?? {};
    if (state[Annotation.runningReason] === 'Error' && before[Annotation.runningMessage] !== state[Annotation.runningMessage])
      this.deps.events.warning(claim, failed, state[Annotation.runningMessage] ?? '');
    if (state[Annotation.podPhase] === 'Succeeded') this.deps.events.normal(claim, succeeded.reason, succeeded.message);
  }

  private async cleanUp(claim: PersistentVolumeClaim, pod: Pod | undefined, signal: AbortSignal): Promise<void> {
    if (claim.metadata.annotations?.[Annotation.retainPods] !== 'true') await this.removePod(pod, signal);
  }

  private async removePod(pod: Pod | undefined, signal: AbortSignal): Promise<void> {
    if (pod === undefined || pod.metadata.deletionTimestamp !== undefined) return;
    await this.deps.client.delete(PodKind, keyOf(pod), { signal }).catch(ignoreNotFound);
  }

  private async annotate(
    claim: PersistentVolumeClaim,
    annotations: Readonly<Record<string, string>>,
    signal: AbortSignal,
    labels: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const before = claim.metadata.annotations ?? {};
    const hasLabels = Object.keys(labels).length === 0;
    if (hasLabels && Object.entries(annotations).every(([key, value]) => before[key] === value)) return;
    await this.deps.client.patch(
      PersistentVolumeClaimKind,
      keyOf(claim),
      { metadata: { annotations, ...(!hasLabels && { labels }) } },
      { type: 'merge', signal },
    );
  }
}

/** Labels of a finished worker's image that the claim does not have; those of its author stay as they are. */
function labelsIn({ metadata: { labels = {} } }: PersistentVolumeClaim, pod: Pod): Record<string, string> {
  if (pod.status?.phase !== 'Succeeded') return {};
  const said = saidLabels(pod.status.containerStatuses?.[0]?.state?.terminated?.message ?? '');
  if (Object.keys(labels).some((key) => DEFAULTS.has(key))) for (const key of DEFAULTS) delete said[key];
  return Object.fromEntries(Object.entries(said).filter(([key]) => PROPAGATED_LABEL.test(key) && labels[key] === undefined));
}

function saidLabels(message: string): Record<string, string> {
  try {
    const { labels = {} } = JSON.parse(message) as { labels?: Record<string, unknown> };
    return Object.fromEntries(Object.entries(labels).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
  } catch {
    return {}; // a message for people
  }
}

const isFinished = ({ metadata: { annotations = {} } }: PersistentVolumeClaim): boolean =>
  annotations[Annotation.podPhase] === 'Succeeded' ||
  annotations[Annotation.fatalError] === 'true' ||
  // restored or adopted with its content: whatever it once asked for is done
  annotations[Annotation.populatedFor] !== undefined;

/** CDI's annotations for the state of a worker pod. */
function podState(pod: Pod, { nameAnnotation, succeeded }: Work): Record<string, string> {
  const container = pod.status?.containerStatuses?.[0];
  const phase = pod.status?.phase ?? 'Pending';
  const { restartCount = 0, ready = false } = container ?? {};
  const shared = {
    [nameAnnotation]: pod.metadata.name ?? '',
    ...stageOf(pod),
    [Annotation.podRestarts]: String(restartCount),
    [Annotation.podReady]: String(ready),
  };
  const message = container?.state?.terminated?.message ?? '';
  // KubeVirt-compat: a wrong checksum ends the pod as completed, and only its message tells.
  if (phase === 'Succeeded' && message.includes('checksum mismatch'))
    return {
      ...shared,
      ...running('false', 'ChecksumError', message),
      [Annotation.podPhase]: 'Failed',
      [Annotation.fatalError]: 'true',
    };
  return { ...shared, ...runningState(container, phase, succeeded.condition), [Annotation.podPhase]: phase };
}

/** Which pod copies the present checkpoint, for an import that has some. */
function stageOf({ metadata, spec }: Pod): Record<string, string> {
  const isStage = spec?.containers[0]?.env?.some(({ name }) => name === 'IMPORTER_CURRENT_CHECKPOINT');
  return isStage ? { [Annotation.checkpointPod]: metadata.uid ?? '' } : {};
}

const running = (status: string, reason: string, message: string): Record<string, string> => ({
  [Annotation.running]: status,
  [Annotation.runningReason]: reason,
  [Annotation.runningMessage]: message,
});

function runningState(container: ContainerStatus | undefined, phase: string, completed: string): Record<string, string> {
  if (phase === 'Succeeded') return running('false', 'Completed', completed);
  const { state, lastState } = container ?? {};
  if (state?.running) return running('true', 'Pod is running', '');
  // the reason of the failure, not that of the pause before the next attempt
  const terminated = state?.terminated ?? lastState?.terminated;
  if (terminated) return running('false', reasonOf(terminated), terminated.message ?? '');
  const { reason = 'ContainerCreating', message: waitsFor = '' } = state?.waiting ?? {};
  return running('false', reason, waitsFor);
}

function reasonOf({ reason, message }: core.ContainerStateTerminated): string {
  return /failed to pull image/i.test(message ?? '') ? 'ImagePullFailed' : (reason ?? 'Error');
}
