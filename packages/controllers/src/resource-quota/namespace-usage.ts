import {
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type Pod,
  PodKind,
  type ResourceQuota,
  ServiceKind,
} from '@slipway/api';
import type { KubeObject, ObjectKey, ResourceKind } from '@slipway/apimachinery';
import { discoverKinds } from '@slipway/client';
import {
  claimUsage,
  type Controller,
  type ControllerDeps,
  countUsage,
  type Informer,
  type InformerEvent,
  isInScopes,
  type Lister,
  podUsage,
  quotaNameOf,
  serviceUsage,
  sumUsage,
  type Usage,
  type Watch,
  watchOf,
} from '@slipway/runtime';
import { isFinished } from '../workload/pod-state.ts';

type QuotasOf = (object: KubeObject) => readonly ObjectKey[];

/** What is in use in a namespace, as far as a quota asks, and when that changes. */
export interface NamespaceUsage {
  of(quota: ResourceQuota, namespace: string, signal: AbortSignal): Promise<Usage>;
  /** Watches of what every quota may count. */
  readonly watches: readonly Watch[];
  /** Hears of objects of kinds that only some quota makes worth watching. */
  readonly run: NonNullable<Controller['run']>;
}

/** Counts from the shared caches; `quotasOf` names the quotas that an object counts for. */
export function namespaceUsage(deps: ControllerDeps, quotasOf: QuotasOf): NamespaceUsage {
  const pods = deps.informers.lister(PodKind);
  const claims = deps.informers.lister(PersistentVolumeClaimKind);
  const services = deps.informers.lister(ServiceKind);
  let add = (_key: ObjectKey): void => {};
  const counted = new CountedKinds(deps, (object) => {
    for (const key of quotasOf(object)) add(key);
  });
  return {
    watches: usageWatches(quotasOf),
    async run(queue) {
      add = (key) => queue.add(key);
    },
    async of(quota, namespace, signal) {
      const names = Object.keys(quota.spec?.hard ?? {});
      const types = new Set(names.map((name) => quotaNameOf(name).type));
      const usages: Usage[] = [];
      if (types.has('pod'))
        usages.push(
          ...pods
            .list(namespace)
            .filter((pod) => isInScopes(quota, pod))
            .map(podUsage),
        );
      if (types.has('claim')) usages.push(...claims.list(namespace).map(claimUsage));
      if (types.has('service')) usages.push(...services.list(namespace).map(serviceUsage));
      for (const name of names) {
        const lister = await counted.listerFor(name, signal);
        if (lister) usages.push(countUsage(name, lister.list(namespace)));
      }
      return sumUsage(usages);
    },
  };
}

const usageWatches = (quotasOf: QuotasOf): readonly Watch[] => [
  watchOf(PodKind, quotasOf, changesPodUsage),
  watchOf(PersistentVolumeClaimKind, quotasOf, changesClaimUsage),
  watchOf(
    ServiceKind,
    quotasOf,
    ({ type, object, old }) => type !== 'updated' || JSON.stringify(object.spec) !== JSON.stringify(old.spec),
  ),
];

const changesPodUsage = ({ type, object, old }: InformerEvent<Pod>): boolean =>
  type !== 'updated' || isFinished(object) !== isFinished(old) || object.metadata.generation !== old.metadata.generation;

const storageOf = (claim: PersistentVolumeClaim): unknown => claim.spec?.resources?.requests?.['storage'];
const changesClaimUsage = ({ type, object, old }: InformerEvent<PersistentVolumeClaim>): boolean =>
  type !== 'updated' || storageOf(object) !== storageOf(old) || object.spec?.storageClassName !== old.spec?.storageClassName;

/** Caches of the kinds that some quota counts; a kind that none names costs nothing. */
class CountedKinds {
  private readonly deps: ControllerDeps;
  private readonly onChange: (object: KubeObject) => void;
  private readonly informers = new Map<string, Informer<KubeObject>>();

  constructor(deps: ControllerDeps, onChange: (object: KubeObject) => void) {
    this.deps = deps;
    this.onChange = onChange;
  }

  /** The objects that a name in a quota counts; undefined when it counts something else or a kind nobody serves. */
  async listerFor(name: string, signal: AbortSignal): Promise<Lister<KubeObject> | undefined> {
    const quotaName = quotaNameOf(name);
    if (quotaName.type !== 'count') return undefined;
    let informer = this.informers.get(name);
    if (informer === undefined) {
      const kind = await this.findKind(quotaName.plural, quotaName.group, signal);
      if (kind === undefined) return undefined;
      informer = this.deps.informers.metadata(kind);
      this.informers.set(name, informer);
      await informer.whenSynced();
      informer.addHandler(({ type, object }) => {
        if (type !== 'updated') this.onChange(object);
      });
    }
    return informer.lister;
  }

  private async findKind(plural: string, group: string, signal: AbortSignal): Promise<ResourceKind<KubeObject> | undefined> {
    const kinds = await discoverKinds(this.deps.client, signal);
    return kinds.find(
      (kind) => kind.plural === plural && kind.group === group && kind.namespaced && kind.verbs.includes('watch'),
    );
  }
}
