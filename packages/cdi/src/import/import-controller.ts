import {
  type core,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type Pod,
  PodKind,
  type StorageClass,
  StorageClassKind,
} from '@slipway/api';
import { isAlreadyExists, isNotFound, keyOf, type ObjectKey } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  allow,
  type ControllerRegistration,
  done,
  type EventRecorder,
  type Lister,
  owned,
  type Reconciler,
  type Result,
} from '@slipway/runtime';
import { Annotation } from '../constants.ts';
import { kindOf, waitsForConsumer } from '../data-volume/data-volume-status.ts';
import { importerName, importerPod } from './importer-pod.ts';

type ContainerStatus = core.ContainerStatus;

/** Fills claims that ask for an import by their annotations, whoever made them, by one worker pod each. */
export const importController: ControllerRegistration = {
  name: 'import-controller',
  rules: [...allow('create delete', PodKind), ...allow('patch', PersistentVolumeClaimKind)],
  create: ({ client, events, informers }) => ({
    kind: PersistentVolumeClaimKind,
    watches: [owned(PodKind, PersistentVolumeClaimKind)],
    concurrency: 3,
    reconciler: new ImportReconciler({
      client,
      events,
      claims: informers.lister(PersistentVolumeClaimKind),
      pods: informers.lister(PodKind),
      classes: informers.lister(StorageClassKind),
    }),
  }),
};

interface ImportDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly pods: Lister<Pod>;
  readonly classes: Lister<StorageClass>;
}

class ImportReconciler implements Reconciler {
  private readonly deps: ImportDeps;

  constructor(deps: ImportDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const claim = this.deps.claims.get(key);
    if (claim === undefined || kindOf(claim) !== 'import') return done;
    const pod = this.podOf(claim);
    // the claim's protection waits for the pod, and the collector would wait for the claim
    if (claim.metadata.deletionTimestamp !== undefined) await this.removePod(pod, signal);
    else if (isFinished(claim)) await this.cleanUp(claim, pod, signal);
    else if (pod === undefined) await this.createPod(claim, signal);
    else await this.report(claim, pod, signal);
    return done;
  }

  private podOf(claim: PersistentVolumeClaim): Pod | undefined {
    const { name = '', namespace = '', uid } = claim.metadata;
    const pod = this.deps.pods.get({ namespace, name: importerName(name) });
    return pod?.metadata.ownerReferences?.some((owner) => owner.uid === uid) ? pod : undefined;
  }

  private async createPod(claim: PersistentVolumeClaim, signal: AbortSignal): Promise<void> {
    if (!this.mayStart(claim)) return;
    const pod = importerPod(claim);
    await this.deps.client.create(PodKind, pod, { signal }).catch((error: unknown) => {
      if (!isAlreadyExists(error)) throw error;
    });
    await this.annotate(claim, { [Annotation.importPod]: pod.metadata.name ?? '', [Annotation.podPhase]: 'Pending' }, signal);
  }

  /** A bound claim; or one that waits for a consumer and whose owner wants the importer to be that consumer. */
  private mayStart(claim: PersistentVolumeClaim): boolean {
    if (claim.status?.phase === 'Bound') return true;
    const className = claim.spec?.storageClassName;
    const storageClass = className === undefined ? undefined : this.deps.classes.get({ namespace: '', name: className });
    const isRequested = claim.metadata.annotations?.[Annotation.immediateBinding] !== undefined;
    return isRequested && storageClass?.volumeBindingMode === 'WaitForFirstConsumer' && !waitsForConsumer(claim, storageClass);
  }

  /** Copies the worker's state to the claim, from which the DataVolume's is derived. */
  private async report(claim: PersistentVolumeClaim, pod: Pod, signal: AbortSignal): Promise<void> {
    const state = podState(pod);
    await this.annotate(claim, state, signal);
    const before = claim.metadata.annotations ?? {};
    if (state[Annotation.runningReason] === 'Error' && before[Annotation.runningMessage] !== state[Annotation.runningMessage])
      this.deps.events.warning(claim, 'ErrImportFailed', state[Annotation.runningMessage] ?? '');
    if (state[Annotation.podPhase] === 'Succeeded') this.deps.events.normal(claim, 'ImportSucceeded', 'Import Successful');
  }

  private async cleanUp(claim: PersistentVolumeClaim, pod: Pod | undefined, signal: AbortSignal): Promise<void> {
    if (claim.metadata.annotations?.[Annotation.retainPods] !== 'true') await this.removePod(pod, signal);
  }

  private async removePod(pod: Pod | undefined, signal: AbortSignal): Promise<void> {
    if (pod === undefined || pod.metadata.deletionTimestamp !== undefined) return;
    await this.deps.client.delete(PodKind, keyOf(pod), { signal }).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
  }

  private async annotate(
    claim: PersistentVolumeClaim,
    annotations: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<void> {
    const before = claim.metadata.annotations ?? {};
    if (Object.entries(annotations).every(([key, value]) => before[key] === value)) return;
    await this.deps.client.patch(
      PersistentVolumeClaimKind,
      keyOf(claim),
      { metadata: { annotations } },
      { type: 'merge', signal },
    );
  }
}

const isFinished = ({ metadata: { annotations = {} } }: PersistentVolumeClaim): boolean =>
  annotations[Annotation.podPhase] === 'Succeeded' || annotations[Annotation.fatalError] === 'true';

/** CDI's annotations for the state of a worker pod. */
export function podState(pod: Pod): Record<string, string> {
  const container = pod.status?.containerStatuses?.[0];
  const phase = pod.status?.phase ?? 'Pending';
  const { restartCount = 0, ready = false } = container ?? {};
  const shared = {
    [Annotation.importPod]: pod.metadata.name ?? '',
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
  return { ...shared, ...runningState(container, phase, message), [Annotation.podPhase]: phase };
}

const running = (status: string, reason: string, message: string): Record<string, string> => ({
  [Annotation.running]: status,
  [Annotation.runningReason]: reason,
  [Annotation.runningMessage]: message,
});

function runningState(container: ContainerStatus | undefined, phase: string, message: string): Record<string, string> {
  if (phase === 'Succeeded') return running('false', 'Completed', 'Import Complete');
  const { state, lastState } = container ?? {};
  if (state?.running) return running('true', 'Pod is running', '');
  // the reason of the failure, not that of the pause before the next attempt
  const terminated = state?.terminated ?? lastState?.terminated;
  if (terminated) return running('false', reasonOf(terminated), terminated.message ?? message);
  const { reason = 'ContainerCreating', message: waitsFor = '' } = state?.waiting ?? {};
  return running('false', reason, waitsFor);
}

function reasonOf({ reason, message }: core.ContainerStateTerminated): string {
  return /failed to pull image/i.test(message ?? '') ? 'ImagePullFailed' : (reason ?? 'Error');
}
