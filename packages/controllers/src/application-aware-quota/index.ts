import {
  type Aaq,
  AaqKind,
  ApplicationAwareClusterResourceQuotaKind as ClusterQuotaKind,
  ApplicationAwareResourceQuotaKind as QuotaKind,
  type Namespace,
  NamespaceKind,
  type Pod,
  PodKind,
  type ResourceQuota,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
} from '@slipway/api';
import { controllerOf, type KubeObject, type ObjectKey } from '@slipway/apimachinery';
import {
  allow,
  asResourceQuota,
  clusterQuotaStatus,
  type ControllerDeps,
  type ControllerRegistration,
  done,
  type Informers,
  type InformerEvent,
  isInScopes,
  quotaStatus,
  selectsNamespace,
  specOrMetaChanged,
  sumUsage,
  type Usage,
  watchOf,
} from '@slipway/runtime';
import { isFinished } from '../workload/pod-state.ts';
import { writeStatus } from '../workload/write-status.ts';
import { isGated, isNamespaceGated, withoutGate } from './gate.ts';
import { planRelease, type QuotaState } from './plan-release.ts';
import { DEFAULT_CALCULATOR, podCharge } from './pod-charge.ts';

export { type GateDeps, quotaGateAdmission } from './gate.ts';

/** Whether pods of a namespace wait, from the controllers' caches. */
export function gatingFrom(informers: Informers): (namespace: string) => boolean {
  const aaqs = informers.lister(AaqKind);
  const namespaces = informers.lister(NamespaceKind);
  return (name) => {
    const [aaq] = aaqs.list();
    return aaq !== undefined && isNamespaceGated(aaq, namespaces.get({ namespace: '', name }));
  };
}

/** Lets pods go that fit into the quotas they wait for, and keeps the status of those quotas. */
export const applicationAwareQuotaController: ControllerRegistration = {
  name: 'aaq-controller',
  rules: [...allow('update', PodKind, [QuotaKind, 'status'], [ClusterQuotaKind, 'status'])],
  create(deps) {
    const quotas = new WaitingQuotas(deps);
    return {
      // one after the other: quotas of several namespaces are shared
      concurrency: 1,
      watches: [
        watchOf(PodKind, quotas.namespaceOf, changesUsage),
        watchOf(VirtualMachineInstanceKind, quotas.namespaceOf, changesSize),
        watchOf(QuotaKind, quotas.namespaceOf, specOrMetaChanged),
        watchOf(ClusterQuotaKind, () => quotas.allNamespaces(), specOrMetaChanged),
        watchOf(NamespaceKind, quotas.concernedBy, specOrMetaChanged),
        watchOf(AaqKind, () => quotas.allNamespaces(), specOrMetaChanged),
      ],
      reconciler: {
        async reconcile({ name }, signal) {
          await quotas.settle(name, signal);
          return done;
        },
      },
    };
  },
};

const changesUsage = ({ type, object, old }: InformerEvent<Pod>): boolean =>
  type !== 'updated' ||
  isFinished(object) !== isFinished(old) ||
  isGated(object) !== isGated(old) ||
  object.spec?.nodeName !== old.spec?.nodeName;

const sizeOf = ({ spec, status }: VirtualMachineInstance): string =>
  JSON.stringify([spec.domain.cpu, spec.domain.memory, status?.memory, status?.currentCPUTopology, status?.nodeName]);
const changesSize = ({ type, object, old }: InformerEvent<VirtualMachineInstance>): boolean =>
  type === 'updated' && sizeOf(object) !== sizeOf(old);

class WaitingQuotas {
  private readonly deps: ControllerDeps;
  private readonly listers;
  /** Pods that were let go, until the cache knows it. */
  private readonly released = new Set<string>();
  /** What was said last of a pod that waits. */
  private readonly said = new Map<string, string>();

  constructor(deps: ControllerDeps) {
    this.deps = deps;
    const { informers } = deps;
    this.listers = {
      aaqs: informers.lister(AaqKind),
      quotas: informers.lister(QuotaKind),
      clusterQuotas: informers.lister(ClusterQuotaKind),
      pods: informers.lister(PodKind),
      vmis: informers.lister(VirtualMachineInstanceKind),
      namespaces: informers.lister(NamespaceKind),
    };
  }

  /** Nothing where there is neither a quota nor a pod that waits for one. */
  readonly namespaceOf = (object: KubeObject): readonly ObjectKey[] => {
    const { aaqs, quotas, clusterQuotas } = this.listers;
    const isGatedPod = object.kind === 'Pod' && isGated(object as Pod);
    if (!isGatedPod && aaqs.list().length + quotas.list().length + clusterQuotas.list().length === 0) return [];
    return [{ namespace: '', name: object.metadata.namespace ?? '' }];
  };

  /** A namespace may come under quotas that others have too, or leave them. */
  readonly concernedBy = ({ metadata: { name = '' } }: Namespace): readonly ObjectKey[] => {
    if (this.listers.aaqs.list().length === 0) return [];
    return this.listers.clusterQuotas.list().length > 0 ? this.allNamespaces() : [{ namespace: '', name }];
  };

  allNamespaces(): readonly ObjectKey[] {
    return this.listers.namespaces.list().map(({ metadata: { name = '' } }) => ({ namespace: '', name }));
  }

  async settle(namespace: string, signal: AbortSignal): Promise<void> {
    const { client, events } = this.deps;
    const { aaqs, pods } = this.listers;
    const [aaq] = aaqs.list();
    const all = pods.list(namespace).filter((pod) => pod.metadata.deletionTimestamp === undefined);
    for (const pod of all) if (!isGated(pod)) this.forget(pod);
    const waiting = all.filter((pod) => this.isWaiting(pod));
    const charged = waiting.map((pod) => ({ pod, charge: this.chargeOf(aaq, pod) }));
    const plan = planRelease(charged, aaq === undefined ? [] : this.quotasOf(aaq, namespace));
    for (const pod of plan.released) {
      await client.update(PodKind, withoutGate(pod), { signal });
      this.released.add(pod.metadata.uid ?? '');
    }
    for (const { pod, why } of plan.held) {
      const uid = pod.metadata.uid ?? '';
      if (this.said.get(uid) !== why) events.warning(pod, 'QuotaExceeded', why);
      this.said.set(uid, why);
    }
    if (aaq !== undefined) await this.writeStatuses(aaq, namespace, signal);
  }

  private isWaiting(pod: Pod): boolean {
    return isGated(pod) && !isFinished(pod) && !this.released.has(pod.metadata.uid ?? '');
  }

  private forget({ metadata: { uid = '' } }: Pod): void {
    this.released.delete(uid);
    this.said.delete(uid);
  }

  private chargeOf(aaq: Aaq | undefined, pod: Pod): Usage {
    const owner = controllerOf(pod);
    const isGuest = owner?.kind === VirtualMachineInstanceKind.kind;
    const key = { namespace: pod.metadata.namespace ?? '', name: owner?.name ?? '' };
    const vmi = isGuest ? this.listers.vmis.get(key) : undefined;
    const calculator = aaq?.spec?.configuration?.vmiCalculatorConfiguration?.configName ?? DEFAULT_CALCULATOR;
    return podCharge(pod, vmi, calculator);
  }

  /** What the pods that do not wait take of a quota in one namespace. */
  private usedIn(aaq: Aaq, quota: ResourceQuota, namespace: string): Usage {
    const counted = this.listers.pods.list(namespace).filter((pod) => !this.isWaiting(pod) && isInScopes(quota, pod));
    return sumUsage(counted.map((pod) => this.chargeOf(aaq, pod)));
  }

  private clusterQuotasOf(aaq: Aaq, namespace: Namespace | undefined) {
    const isAllowed = aaq.spec?.configuration?.allowApplicationAwareClusterResourceQuota === true;
    if (!isAllowed || namespace === undefined) return [];
    return this.listers.clusterQuotas.list().filter((quota) => selectsNamespace(quota, namespace));
  }

  private quotasOf(aaq: Aaq, name: string): readonly QuotaState[] {
    const { quotas, namespaces } = this.listers;
    const state = (quota: ResourceQuota, used: Usage): QuotaState => ({
      name: quota.metadata.name ?? '',
      hard: quota.spec?.hard ?? {},
      used,
      counts: (pod) => isInScopes(quota, pod),
    });
    const own = quotas.list(name).map(asPlain);
    const wide = this.clusterQuotasOf(aaq, namespaces.get({ namespace: '', name })).map((quota) => ({
      as: asResourceQuota(quota),
      selected: namespaces.list().filter((namespace) => selectsNamespace(quota, namespace)),
    }));
    return [
      ...own.map((quota) => state(quota, this.usedIn(aaq, quota, name))),
      ...wide.map(({ as, selected }) =>
        state(as, sumUsage(selected.map(({ metadata }) => this.usedIn(aaq, as, metadata.name ?? '')))),
      ),
    ];
  }

  private async writeStatuses(aaq: Aaq, name: string, signal: AbortSignal): Promise<void> {
    const { client } = this.deps;
    const { quotas, namespaces } = this.listers;
    for (const quota of quotas.list(name)) {
      const as = asPlain(quota);
      await writeStatus(client, QuotaKind, quota, quotaStatus(as, this.usedIn(aaq, as, name)), signal);
    }
    for (const quota of this.clusterQuotasOf(aaq, namespaces.get({ namespace: '', name }))) {
      const as = asResourceQuota(quota);
      const uses = namespaces
        .list()
        .filter((namespace) => selectsNamespace(quota, namespace))
        .map(({ metadata }) => ({ namespace: metadata.name ?? '', used: this.usedIn(aaq, as, metadata.name ?? '') }));
      const status = clusterQuotaStatus(
        quotaStatus(as, sumUsage(uses.map(({ used }) => used))),
        uses.map(({ namespace, used }) => ({ namespace, status: quotaStatus(as, used) })),
      );
      await writeStatus(client, ClusterQuotaKind, quota, status, signal);
    }
  }
}

/** The quota as Kubernetes has it: fields and meaning are the same. */
const asPlain = (quota: KubeObject & Pick<ResourceQuota, 'spec'>): ResourceQuota => ({
  apiVersion: 'v1',
  kind: 'ResourceQuota',
  metadata: quota.metadata,
  ...(quota.spec && { spec: quota.spec }),
});
