import { isNotFound, keyOf, StatusError } from '@slipway/apimachinery';
import { type Pod, PodKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { backOffDelay, type EventRecorder, type Informer, type Logger, sleep, type TimerClock } from '@slipway/runtime';
import type { PodRunner } from '../contracts.ts';

export interface PodDispatcherDeps {
  readonly client: Client;
  readonly pods: Informer<Pod>;
  readonly runners: readonly PodRunner[];
  readonly events: EventRecorder;
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
}

const RETRY = { baseMs: 200, maxMs: 15_000, jitter: 0.3 };

/** Stands in the place of a time in pods whose object does not exist any more. */
const GONE = 'gone';

/** A pod without its object: nobody asks for patience any more. */
const withoutGrace = (pod: Pod): Pod => ({
  ...pod,
  metadata: { ...pod.metadata, deletionTimestamp: GONE, deletionGracePeriodSeconds: 0 },
});

/** The image without registry-independent tag and digest: `slipway/virt-launcher:v1` runs as `slipway/virt-launcher`. */
export function imageName(image: string): string {
  const withoutDigest = image.split('@')[0] ?? '';
  const colon = withoutDigest.lastIndexOf(':');
  return colon > withoutDigest.lastIndexOf('/') ? withoutDigest.slice(0, colon) : withoutDigest;
}

/** Hands every pod of this node to the runner of its image, one change of a pod at a time. */
export class PodDispatcher {
  private readonly deps: PodDispatcherDeps;
  private readonly runners: ReadonlyMap<string, PodRunner>;
  /** Pods with work going on, by uid; the newest state waits for its turn. */
  private readonly busy = new Map<string, { next: Pod | undefined }>();
  /** Pods that were ended here and whose deletion is therefore no news. */
  private readonly ended = new Set<string>();

  constructor(deps: PodDispatcherDeps) {
    this.deps = deps;
    this.runners = new Map(deps.runners.map((runner) => [runner.image, runner]));
  }

  /** Starts with the pods that are known already. */
  start(signal: AbortSignal): void {
    this.deps.pods.addHandler(({ type, object }) => {
      if (type !== 'deleted') this.enqueue(object, signal);
      else if (!this.ended.delete(object.metadata.uid ?? '')) this.enqueue(withoutGrace(object), signal);
    });
  }

  private enqueue(pod: Pod, signal: AbortSignal): void {
    const uid = pod.metadata.uid ?? '';
    const current = this.busy.get(uid);
    if (current) {
      current.next = pod;
      return;
    }
    const entry: { next: Pod | undefined } = { next: pod };
    this.busy.set(uid, entry);
    this.work(entry, signal)
      .catch((error: unknown) => {
        if (!signal.aborted) this.deps.log.error({ pod: pod.metadata.name, error: String(error) }, 'pod given up');
      })
      .finally(() => this.busy.delete(uid));
  }

  private async work(entry: { next: Pod | undefined }, signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.deps;
    let failures = 0;
    while (entry.next !== undefined && !signal.aborted) {
      const pod: Pod = entry.next;
      entry.next = undefined;
      try {
        await this.handle(pod, signal);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        log.warn(
          { pod: pod.metadata.name, failures, error: error instanceof Error ? error.message : String(error) },
          'pod failed',
        );
        await sleep(clock, backOffDelay(failures, RETRY, random), signal);
        entry.next ??= pod;
      }
    }
  }

  private async handle(pod: Pod, signal: AbortSignal): Promise<void> {
    const runner = this.runners.get(imageName(pod.spec?.containers[0]?.image ?? ''));
    const isDeleting = pod.metadata.deletionTimestamp !== undefined;
    if (isDeleting) await this.end(pod, runner, signal);
    else if (runner) await runner.sync(pod, signal);
    else if (pod.status?.phase === 'Pending' || pod.status?.phase === undefined) this.refuse(pod);
  }

  private async end(pod: Pod, runner: PodRunner | undefined, signal: AbortSignal): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    if (this.ended.has(uid)) return; // a last change of a pod that went meanwhile
    const isGone = pod.metadata.deletionTimestamp === GONE;
    if (!isGone) this.ended.add(uid);
    try {
      await (runner ? runner.terminate(pod, signal) : this.remove(pod, signal));
    } catch (error) {
      this.ended.delete(uid);
      // the object went first, by force: then there is nothing left to delete
      if (!isGone || !(error instanceof StatusError)) throw error;
    }
  }

  private refuse(pod: Pod): void {
    const image = pod.spec?.containers[0]?.image ?? '';
    const message = `Image "${image}" is an ordinary container image: running it needs a CRI runtime, and this node has none`;
    this.deps.events.warning(pod, 'FailedCreatePodSandBox', message);
  }

  private async remove(pod: Pod, signal: AbortSignal): Promise<void> {
    try {
      const preconditions = pod.metadata.uid === undefined ? {} : { uid: pod.metadata.uid };
      await this.deps.client.delete(PodKind, keyOf(pod), { gracePeriodSeconds: 0, preconditions, signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
