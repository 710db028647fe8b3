import { controllerOf, type KubeObject, keyOf, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { TimerClock } from './clock.ts';
import type { EventRecorder } from './event-recorder.ts';
import type { InformerEvent } from './informer.ts';
import type { Informers } from './informer-factory.ts';
import type { Logger } from './logger.ts';
import type { MetricFamily, MetricFilter } from './metric-family.ts';
import type { NodeConnector } from './node-connector.ts';
import type { PolicyRule } from './policy-rule.ts';
import type { Reconciler } from './reconciler.ts';

/** Decides whether a change is worth a reconcile. */
export type Predicate<T> = (event: InformerEvent<T>) => boolean;

/** Objects of another kind whose changes concern the reconciled objects. */
export interface Watch {
  readonly kind: ResourceKind<KubeObject>;
  /** Keys to reconcile; asked for the new and, on an update, also for the old state of the object. */
  readonly keysOf: (object: KubeObject) => readonly ObjectKey[];
  readonly predicate?: Predicate<KubeObject>;
}

/** What a controller consists of. At least one of `reconciler` (with `kind` or `watches`), `install` and `run` is needed. */
export interface Controller {
  /** Its objects are reconciled by their own key. */
  readonly kind?: ResourceKind<KubeObject>;
  readonly predicate?: Predicate<KubeObject>;
  readonly watches?: readonly Watch[];
  /** Keys that are reconciled at once; default 2. */
  readonly concurrency?: number;
  readonly reconciler?: Reconciler;
  /**
   * Makes the objects that it starts with and that people expect as soon as the platform says that it is ready. Waits for no
   * cache; tried again until it succeeds, so it must not mind what is there already.
   */
  readonly install?: (signal: AbortSignal) => Promise<void>;
  /** Work beside the queue, which it may fill; starts when the caches are filled and ends when aborted. */
  readonly run?: (queue: { add(key: ObjectKey): void }, signal: AbortSignal) => Promise<void>;
  /** What `GET /metrics` of the server shows for it, computed when it is asked for; more than is wanted does no harm. */
  readonly metrics?: (wanted: MetricFilter) => readonly MetricFamily[] | Promise<readonly MetricFamily[]>;
  /** False while `run` has work to do that tests must wait for. */
  readonly isIdle?: () => boolean;
}

/** Settings that platform-wide controllers share; read once by the daemon. */
export interface PlatformSettings {
  /** Namespace of the HyperConverged object and its operands. */
  readonly installNamespace: string;
  /** Namespace of the golden images. */
  readonly osImagesNamespace: string;
  /** PEM of the API server's CA, published to pods as `kube-root-ca.crt`. */
  readonly caBundle: string;
  /** Where clients reach the API server, for example `https://127.0.0.1:6443`; absent in a cluster that says it otherwise. */
  readonly apiUrl?: string;
  /** False for an installation whose KubeVirt and CDI objects an administrator writes; the default is true. */
  readonly withHyperConverged?: boolean;
  /** Cluster address of the API server itself; absent: pods have no way to it, or somebody else makes one. */
  readonly apiClusterIP?: string;
  /** What Services of type LoadBalancer get; absent: nothing, somebody else gives them theirs. */
  readonly loadBalancerAddresses?: readonly string[];
  /** After so many seconds of silence a node is not known to be alive; default 40. */
  readonly nodeMonitorGraceSeconds?: number;
  /** Version of the platform, shown in the status of its operators. */
  readonly version: string;
}

export interface ControllerDeps {
  readonly client: Client;
  readonly informers: Informers;
  readonly events: EventRecorder;
  readonly clock: TimerClock;
  readonly log: Logger;
  /** 0 inclusive to 1 exclusive. */
  readonly random: () => number;
  /** A new UUID. */
  readonly uid: () => string;
  readonly nodes: NodeConnector;
  readonly settings: PlatformSettings;
}

/** What packages of controllers export and the daemon lists. */
export interface ControllerRegistration {
  /** Kebab-case, unique; appears in logs and metrics, and as the source of events. */
  readonly name: string;
  /** What it may do besides reading through the shared caches and reporting events; see `allow`. */
  readonly rules?: readonly PolicyRule[];
  /** Makes the controller, without starting anything. Kinds whose lister it takes here are cached before it starts. */
  readonly create: (deps: ControllerDeps) => Controller;
}

/** A watch with the object type of its kind. */
export function watchOf<T extends KubeObject>(
  kind: ResourceKind<T>,
  keysOf: (object: T) => readonly ObjectKey[],
  predicate?: Predicate<T>,
): Watch {
  // the host passes objects of `kind` only
  return {
    kind,
    keysOf: keysOf as (object: KubeObject) => readonly ObjectKey[],
    ...(predicate && { predicate: predicate as Predicate<KubeObject> }),
  };
}

/** Reconciles the controlling owner, when it is of `owner`'s kind, of every changed object of `kind`. */
export function owned<T extends KubeObject>(
  kind: ResourceKind<T>,
  owner: ResourceKind<KubeObject>,
  predicate?: Predicate<T>,
): Watch {
  return watchOf(
    kind,
    (object) => {
      const reference = controllerOf(object);
      if (reference === undefined || reference.kind !== owner.kind || groupOf(reference.apiVersion) !== owner.group) return [];
      return [{ namespace: owner.namespaced ? (object.metadata.namespace ?? '') : '', name: reference.name }];
    },
    predicate,
  );
}

/** Group of an `apiVersion`; empty for the core group. */
export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? '' : apiVersion.slice(0, slash);
}

/** Lets changes through that a user or another controller asked for, not those of status alone. */
export const specOrMetaChanged: Predicate<KubeObject> = ({ type, object, old }) =>
  type !== 'updated' ||
  object.metadata.generation !== old?.metadata.generation ||
  object.metadata.deletionTimestamp !== old?.metadata.deletionTimestamp ||
  JSON.stringify(object.metadata.annotations) !== JSON.stringify(old?.metadata.annotations) ||
  JSON.stringify(object.metadata.labels) !== JSON.stringify(old?.metadata.labels);

/** Watches objects that all concern one reconciled object, for example a singleton of configuration. */
export const watchFor = <T extends KubeObject>(kind: ResourceKind<T>, key: ObjectKey, predicate?: Predicate<T>): Watch =>
  watchOf(kind, () => [key], predicate);

/** Reconciles the objects whose keys equal the changed object's. */
export const watchSameKey = <T extends KubeObject>(kind: ResourceKind<T>): Watch => watchOf(kind, (object) => [keyOf(object)]);
