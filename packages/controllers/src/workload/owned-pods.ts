import {
  controllerOf,
  controllerReference,
  isAlreadyExists,
  isNotFound,
  type KubeObject,
  keyOf,
  keyString,
  type ResourceKind,
} from '@slipway/apimachinery';
import { type core, type Pod, PodKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import {
  allow,
  type ControllerDeps,
  type EventRecorder,
  type PolicyRule,
  Expectations,
  type Lister,
  type Watch,
  owned,
  watchOf,
} from '@slipway/runtime';
import { matchesLabels } from '@slipway/apimachinery';
import { claimObjects, selectorOfWorkload } from './claim-objects.ts';

/** What a controller of such workloads does to them and to their pods. */
export const workloadRules = (kind: ResourceKind<KubeObject>): readonly PolicyRule[] => [
  ...allow('get', kind),
  ...allow('update', [kind, 'status']),
  ...allow('create patch delete', PodKind),
];

/** Why a pod could not be made or removed, as conditions have it. */
export interface PodFailure {
  readonly reason: 'FailedCreate' | 'FailedDelete';
  readonly message: string;
}

export interface Workload extends KubeObject {
  readonly spec?: { readonly selector?: object };
}

/** The pods of one kind of workload: who they belong to, and the writes that the cache does not show yet. */
export class OwnedPods<O extends Workload> {
  readonly pods: Lister<Pod>;
  private readonly client: Client;
  private readonly events: EventRecorder;
  private readonly expectations: Expectations;
  private readonly kind: ResourceKind<O>;

  constructor({ client, events, clock, informers }: ControllerDeps, kind: ResourceKind<O>) {
    this.client = client;
    this.events = events;
    this.kind = kind;
    this.expectations = new Expectations({ clock });
    const informer = informers.for(PodKind);
    this.pods = informer.lister;
    informer.addHandler(({ type, object }) => {
      const owner = controllerOf(object);
      if (owner?.kind !== kind.kind) return;
      const key = keyString({ namespace: object.metadata.namespace ?? '', name: owner.name });
      if (type === 'added') this.expectations.creationObserved(key);
      if (type === 'deleted' || object.metadata.deletionTimestamp)
        this.expectations.deletionObserved(key, object.metadata.uid ?? '');
    });
  }

  /** Changes of pods that concern a workload: its own, and those without a controller that it might adopt. */
  watches(workloads: Lister<O>): readonly Watch[] {
    const adopters = (pod: Pod) =>
      controllerOf(pod) === undefined
        ? workloads
            .list(pod.metadata.namespace)
            .filter((workload) => isSelected(workload, pod))
            .map(keyOf)
        : [];
    return [owned(PodKind, this.kind), watchOf(PodKind, adopters)];
  }

  /** True when the cache shows every write of before; decisions on fewer pods would be repeated. */
  isSettled(owner: O): boolean {
    return this.expectations.isSatisfied(keyString(keyOf(owner)));
  }

  /** The owner is gone. */
  forget(key: { namespace: string; name: string }): void {
    this.expectations.forget(keyString(key));
  }

  /** The pods of a workload, after adopting and letting go. */
  async of(owner: O, signal: AbortSignal): Promise<readonly Pod[]> {
    const selector = selectorOfWorkload(owner.spec);
    if (selector === undefined || selector.length === 0) return [];
    const candidates = this.pods.list(owner.metadata.namespace);
    return claimObjects(this.client, { kind: PodKind, owner, ownerKind: this.kind, selector, candidates }, signal);
  }

  /** Creates pods in growing batches, so that a template that is refused costs one request and not hundreds. */
  async create(owner: O, pods: readonly Pod[], signal: AbortSignal): Promise<PodFailure | undefined> {
    let batch = 1;
    for (let start = 0; start < pods.length; start += batch, batch *= 2) {
      const results = await Promise.all(pods.slice(start, start + batch).map((pod) => this.createOne(owner, pod, signal)));
      const failure = results.find((result) => result !== undefined);
      if (failure) return failure;
    }
    return undefined;
  }

  async remove(owner: O, pods: readonly Pod[], signal: AbortSignal): Promise<PodFailure | undefined> {
    const results = await Promise.all(pods.map((pod) => this.removeOne(owner, pod, signal)));
    return results.find((result) => result !== undefined);
  }

  private async createOne(owner: O, pod: Pod, signal: AbortSignal): Promise<PodFailure | undefined> {
    const key = keyString(keyOf(owner));
    this.expectations.expectCreations(key, 1);
    try {
      const { metadata } = await this.client.create(PodKind, pod, { signal });
      this.events.normal(owner, 'SuccessfulCreate', `Created pod: ${metadata.name}`);
      return undefined;
    } catch (error) {
      this.expectations.creationObserved(key);
      if (signal.aborted) throw error;
      // a pod with a fixed name is there, or is on its way out: its next change tells
      if (isAlreadyExists(error) && pod.metadata.name) return undefined;
      const message = error instanceof Error ? error.message : String(error);
      this.events.warning(owner, 'FailedCreate', `Error creating: ${message}`);
      return { reason: 'FailedCreate', message };
    }
  }

  private async removeOne(owner: O, pod: Pod, signal: AbortSignal): Promise<PodFailure | undefined> {
    const key = keyString(keyOf(owner));
    const { uid = '', name = '' } = pod.metadata;
    this.expectations.expectDeletion(key, uid);
    try {
      await this.client.delete(PodKind, keyOf(pod), { preconditions: { uid }, signal });
      this.events.normal(owner, 'SuccessfulDelete', `Deleted pod: ${name}`);
      return undefined;
    } catch (error) {
      this.expectations.deletionObserved(key, uid);
      if (isNotFound(error)) return undefined;
      if (signal.aborted) throw error;
      const message = error instanceof Error ? error.message : String(error);
      this.events.warning(owner, 'FailedDelete', `Error deleting: ${message}`);
      return { reason: 'FailedDelete', message };
    }
  }
}

function isSelected(workload: Workload, pod: Pod): boolean {
  const selector = selectorOfWorkload(workload.spec);
  return selector !== undefined && selector.length > 0 && matchesLabels(selector, pod.metadata.labels);
}

type Naming = { readonly name: string } | { readonly generateName: string };

/** A pod made from a workload's template. */
export function podFromTemplate<O extends KubeObject>(
  owner: O,
  kind: ResourceKind<O>,
  template: core.PodTemplateSpec | undefined,
  naming: Naming = { generateName: `${owner.metadata.name}-` },
): Pod {
  // the published metadata type allows what our own names exactly
  const { labels = {}, annotations = {}, finalizers } = (template?.metadata ?? {}) as KubeObject['metadata'];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...naming,
      namespace: owner.metadata.namespace ?? '',
      labels: { ...labels },
      annotations: { ...annotations },
      ...(finalizers && { finalizers: [...finalizers] }),
      ownerReferences: [controllerReference(owner, kind)],
    },
    spec: structuredClone(template?.spec ?? { containers: [] }),
  };
}
