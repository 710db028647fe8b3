import { isConflict, isNotFound, formatTime, keyOf } from '@slipway/apimachinery';
import { type Pod, PodKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import type { Clock } from '@slipway/runtime';
import { HOTPLUG_IMAGE } from '@slipway/virt';
import type { PodRunner } from '../contracts.ts';

export interface AttachmentRunnerDeps {
  readonly client: Client;
  readonly clock: Clock;
  readonly hostIP: string;
}

/**
 * Pods that hold hotplugged claims. Nothing runs in them: they bind claims that wait for a consumer, keep claims from
 * being deleted, and are where clients look for them. The disk itself goes straight to the guest's sandbox.
 */
export class AttachmentRunner implements PodRunner {
  readonly image = HOTPLUG_IMAGE;
  private readonly deps: AttachmentRunnerDeps;

  constructor(deps: AttachmentRunnerDeps) {
    this.deps = deps;
  }

  async sync(pod: Pod, signal: AbortSignal): Promise<void> {
    if (pod.status?.phase !== undefined && pod.status.phase !== 'Pending') return;
    const { client, clock, hostIP } = this.deps;
    const status = attachmentStatus(pod, hostIP, formatTime(clock.now()));
    try {
      const patch = { metadata: { uid: pod.metadata.uid }, status };
      await client.patch(PodKind, keyOf(pod), patch, { type: 'strategic', subresource: 'status', signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async terminate(pod: Pod, signal: AbortSignal): Promise<void> {
    const preconditions = pod.metadata.uid === undefined ? {} : { uid: pod.metadata.uid };
    try {
      await this.deps.client.delete(PodKind, keyOf(pod), { gracePeriodSeconds: 0, preconditions, signal });
    } catch (error) {
      // another pod of the same name is not this one
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }
}

/** Running and ready at once. Pure. */
export function attachmentStatus(pod: Pod, hostIP: string, now: string): NonNullable<Pod['status']> {
  const condition = (type: string) => ({ type, status: 'True', lastTransitionTime: now });
  return {
    phase: 'Running',
    startTime: now,
    hostIP,
    hostIPs: [{ ip: hostIP }],
    conditions: ['Initialized', 'ContainersReady', 'Ready'].map(condition),
    containerStatuses: (pod.spec?.containers ?? []).map(({ name, image = '' }) => ({
      ...{ name, image, imageID: '', restartCount: 0, ready: true, started: true },
      containerID: `slipway://${pod.metadata.uid}/${name}`,
      state: { running: { startedAt: now } },
    })),
  };
}
