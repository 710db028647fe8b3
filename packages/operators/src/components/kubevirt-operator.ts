import {
  type KubeVirt,
  KubeVirtKind,
  type Node,
  NodeKind,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceMigrationKind,
  VirtualMachineInstanceReplicaSetKind,
  VirtualMachineKind,
  VirtualMachinePoolKind,
} from '@slipway/api';
import {
  type Condition,
  deepEqual,
  formatTime,
  hasFinalizer,
  ignoreNotFound,
  type KubeObject,
  type ObjectKey,
  type ResourceKind,
  setCondition,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  after,
  allow,
  type Clock,
  type ControllerRegistration,
  done,
  type EventRecorder,
  type Lister,
  type PlatformSettings,
  type Reconciler,
  type Result,
} from '@slipway/runtime';
import { PriorityClassKind } from '../kinds.ts';
import { type ComponentStatus, healthy } from './component-status.ts';
import { createOnce } from './create-once.ts';
import { ACCOUNT_RULES, createAccounts, deleteAccounts } from './kubevirt-accounts.ts';
import { removeWorkload } from './remove-workload.ts';

export const KUBEVIRT_FINALIZER = 'foregroundDeleteKubeVirt';

/** What is removed with KubeVirt, owners before what they own. */
const WORKLOADS: readonly ResourceKind<KubeObject>[] = [
  VirtualMachinePoolKind,
  VirtualMachineInstanceReplicaSetKind,
  VirtualMachineKind,
  VirtualMachineInstanceMigrationKind,
  VirtualMachineInstanceKind,
];
const RECHECK_MS = 1_000;

const PRIORITY_CLASS = {
  apiVersion: 'scheduling.k8s.io/v1',
  kind: 'PriorityClass',
  metadata: { name: 'kubevirt-cluster-critical', labels: { app: 'kubevirt-hyperconverged' } },
  value: 1_000_000_000,
  globalDefault: false,
  description: 'This priority class should be used for KubeVirt core components only.',
};

export interface KubeVirtDeps {
  readonly client: Client;
  readonly clock: Clock;
  readonly events: EventRecorder;
  readonly settings: PlatformSettings;
  readonly kubevirts: Lister<KubeVirt>;
  readonly nodes: Lister<Node>;
  readonly workloads: readonly { readonly kind: ResourceKind<KubeObject>; readonly objects: Lister<KubeObject> }[];
}

/** Reports the virtualization controllers, which run beside it, as deployed; takes the guests along when it goes. */
export class KubeVirtReconciler implements Reconciler {
  private readonly deps: KubeVirtDeps;
  /** Uid of the object whose accounts are there. */
  private hasAccounts = '';

  constructor(deps: KubeVirtDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const kubevirt = this.deps.kubevirts.get(key);
    if (kubevirt === undefined) return done;
    if (kubevirt.metadata.deletionTimestamp) return this.uninstall(kubevirt, signal);
    await createOnce(this.deps.client, PriorityClassKind, PRIORITY_CLASS, signal);
    const held = await this.withFinalizer(kubevirt, signal);
    await this.write(held, this.deployed(held), signal);
    const { uid = '', namespace = '' } = held.metadata;
    // nobody waits for them, and nobody takes them away meanwhile
    if (this.hasAccounts !== uid) await createAccounts(this.deps.client, namespace, signal);
    this.hasAccounts = uid;
    return done;
  }

  private deployed({ metadata }: KubeVirt): ComponentStatus {
    const { version } = this.deps.settings;
    const [node] = this.deps.nodes.list();
    return {
      conditions: [
        { type: 'Created', status: 'True', reason: 'AllResourcesCreated', message: 'All resources were created.' },
        ...healthy('AllComponentsReady', 'All components are ready.'),
      ],
      fields: {
        phase: 'Deployed',
        observedGeneration: metadata.generation ?? 1,
        operatorVersion: version,
        targetKubeVirtVersion: version,
        observedKubeVirtVersion: version,
        defaultArchitecture: node?.metadata.labels?.['kubernetes.io/arch'] ?? 'amd64',
        // the launcher is a part of the platform, so that no instance keeps an older one in its pod
        outdatedVirtualMachineInstanceWorkloads: 0,
      },
    };
  }

  /** Admission adds it; older objects have none yet. */
  private async withFinalizer(kubevirt: KubeVirt, signal: AbortSignal): Promise<KubeVirt> {
    if (hasFinalizer(kubevirt, KUBEVIRT_FINALIZER)) return kubevirt;
    const finalizers = [...(kubevirt.metadata.finalizers ?? []), KUBEVIRT_FINALIZER];
    const metadata = { ...kubevirt.metadata, finalizers };
    return this.deps.client.update(KubeVirtKind, { ...kubevirt, metadata }, { signal });
  }

  /** With `BlockUninstallIfWorkloadsExist` there are none left: admission has refused otherwise. */
  private async uninstall(kubevirt: KubeVirt, signal: AbortSignal): Promise<Result> {
    if (!hasFinalizer(kubevirt, KUBEVIRT_FINALIZER)) return done;
    const remaining = this.deps.workloads.flatMap(({ kind, objects }) => objects.list().map((object) => ({ kind, object })));
    if (remaining.length > 0) {
      await this.write(kubevirt, deleting(remaining.length), signal);
      for (const { kind, object } of remaining) await removeWorkload(this.deps, kubevirt, kind, object, signal);
      return after(RECHECK_MS);
    }
    await deleteAccounts(this.deps.client, kubevirt.metadata.namespace ?? '', signal);
    const last = await this.write(kubevirt, { conditions: deleting(0).conditions, fields: { phase: 'Deleted' } }, signal);
    const finalizers = (last.metadata.finalizers ?? []).filter((finalizer) => finalizer !== KUBEVIRT_FINALIZER);
    const metadata = { ...last.metadata, finalizers };
    await this.deps.client.update(KubeVirtKind, { ...last, metadata }, { signal }).catch(ignoreNotFound);
    return done;
  }

  private async write(
    kubevirt: KubeVirt,
    { conditions: updates, fields }: ComponentStatus,
    signal: AbortSignal,
  ): Promise<KubeVirt> {
    const now = formatTime(this.deps.clock.now());
    const before = (kubevirt.status?.conditions ?? []) as readonly Condition[]; // the same shape, more of it optional
    const conditions = updates.reduce((all, update) => setCondition(all, update, now), before);
    const status = { ...kubevirt.status, ...fields, conditions } as NonNullable<KubeVirt['status']>; // as above
    if (deepEqual(status, kubevirt.status)) return kubevirt;
    return this.deps.client.update(KubeVirtKind, { ...kubevirt, status }, { subresource: 'status', signal });
  }
}

function deleting(workloads: number): ComponentStatus {
  const reason = 'DeletionInProgress';
  const message = workloads === 0 ? 'Deletion was triggered' : `Deletion was triggered, ${workloads} workloads are being removed`;
  return {
    conditions: [
      { type: 'Available', status: 'False', reason, message },
      { type: 'Progressing', status: 'True', reason, message },
      { type: 'Degraded', status: 'False', reason, message },
    ],
    fields: { phase: 'Deleting' },
  };
}

export const kubeVirtOperator: ControllerRegistration = {
  name: 'virt-operator',
  rules: [
    ...allow('update', KubeVirtKind, [KubeVirtKind, 'status']),
    ...allow('get create', PriorityClassKind),
    ...allow('delete', ...WORKLOADS),
    ...ACCOUNT_RULES,
  ],
  create({ client, clock, events, informers, settings }) {
    return {
      kind: KubeVirtKind,
      concurrency: 1,
      reconciler: new KubeVirtReconciler({
        ...{ client, clock, events, settings },
        kubevirts: informers.lister(KubeVirtKind),
        nodes: informers.lister(NodeKind),
        workloads: WORKLOADS.map((kind) => ({ kind, objects: informers.lister(kind) })),
      }),
    };
  },
};
