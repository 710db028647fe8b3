import { type KubeObject, keyOf, type ResourceKind } from '@slipway/apimachinery';
import {
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type Pod,
  PodKind,
  type ResourceQuota,
  ResourceQuotaKind,
  type Service,
  ServiceKind,
} from '@slipway/api';
import { discoverKinds } from '@slipway/client';
import {
  allow,
  claimUsage,
  countUsage,
  isInScopes,
  podUsage,
  quotaNameOf,
  quotaStatus,
  serviceUsage,
  sumUsage,
  type Usage,
  type ControllerDeps,
  type ControllerRegistration,
  done,
  type Informer,
  type InformerEvent,
  type Lister,
  watchOf,
} from '@slipway/runtime';
import { isFinished } from '../workload/pod-state.ts';
import { writeStatus } from '../workload/write-status.ts';

/** Keeps `status.used` of ResourceQuotas at what their namespaces really use. */
export const resourceQuotaController: ControllerRegistration = {
  name: 'resourcequota-controller',
  rules: [...allow('update', [ResourceQuotaKind, 'status'])],
  create(deps) {
    const { client, informers } = deps;
    const quotas = informers.lister(ResourceQuotaKind);
    const pods = informers.lister(PodKind);
    const claims = informers.lister(PersistentVolumeClaimKind);
    const services = informers.lister(ServiceKind);
    const quotasOf = ({ metadata }: KubeObject) => quotas.list(metadata.namespace).map(keyOf);
    let enqueue = (_object: KubeObject): void => {};
    const counted = new CountedKinds(deps, (object) => enqueue(object));

    const usageOf = async (quota: ResourceQuota, signal: AbortSignal): Promise<Usage> => {
      const { namespace = '' } = quota.metadata;
      const names = Object.keys(quota.spec?.hard ?? {});
      const types = new Set(names.map((name) => quotaNameOf(name).type));
      const usages: Usage[] = [];
      if (types.has('pod')) usages.push(...inScope(pods, quota).map(podUsage));
      if (types.has('claim')) usages.push(...claims.list(namespace).map(claimUsage));
      if (types.has('service')) usages.push(...services.list(namespace).map(serviceUsage));
      for (const name of names) {
        const lister = await counted.listerFor(name, signal);
        if (lister) usages.push(countUsage(name, lister.list(namespace)));
      }
      return sumUsage(usages);
    };

    return {
      kind: ResourceQuotaKind,
      watches: [
        watchOf(PodKind, quotasOf, changesPodUsage),
        watchOf(PersistentVolumeClaimKind, quotasOf, changesClaimUsage),
        watchOf(ServiceKind, quotasOf, changesServiceUsage),
      ],
      run: async (queue) => {
        enqueue = (object) => {
          for (const key of quotasOf(object)) queue.add(key);
        };
      },
      reconciler: {
        async reconcile(key, signal) {
          const quota = quotas.get(key);
          if (quota === undefined || quota.metadata.deletionTimestamp) return done;
          await writeStatus(client, ResourceQuotaKind, quota, quotaStatus(quota, await usageOf(quota, signal)), signal);
          return done;
        },
      },
    };
  },
};

const inScope = (pods: Lister<Pod>, quota: ResourceQuota): readonly Pod[] =>
  pods.list(quota.metadata.namespace).filter((pod) => isInScopes(quota, pod));

const changesPodUsage = ({ type, object, old }: InformerEvent<Pod>): boolean =>
  type !== 'updated' || isFinished(object) !== isFinished(old) || object.metadata.generation !== old.metadata.generation;

const storageOf = (claim: PersistentVolumeClaim): unknown => claim.spec?.resources?.requests?.['storage'];
const changesClaimUsage = ({ type, object, old }: InformerEvent<PersistentVolumeClaim>): boolean =>
  type !== 'updated' || storageOf(object) !== storageOf(old) || object.spec?.storageClassName !== old.spec?.storageClassName;

const changesServiceUsage = ({ type, object, old }: InformerEvent<Service>): boolean =>
  type !== 'updated' || JSON.stringify(object.spec) !== JSON.stringify(old.spec);

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
