import {
  KubeVirtKind,
  PodKind,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceMigrationKind,
} from '@slipway/api';
import { isNotFound, type KubeObject, keyOf, type ObjectKey, StatusError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { after, allow, type ControllerRegistration, done, type EventRecorder, type Lister, watchOf } from '@slipway/runtime';
import { type LauncherProfile, migrationSettings } from '@slipway/virt';
import type { Pod } from '@slipway/api';
import { clusterFacts } from '../virtual-machine/cluster-facts.ts';
import { currentPod, launcherPods } from '../virtual-machine-instance/launcher-pod-state.ts';
import { RequestedMigrations } from '../virtual-machine-instance-migration/requested-migrations.ts';
import {
  OUTDATED_LABEL,
  planWorkloadUpdates,
  WORKLOAD_UPDATE_ANNOTATION,
  type WorkloadUpdatePlan,
} from './plan-workload-updates.ts';

interface Deps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly pods: Lister<Pod>;
  readonly requested: RequestedMigrations;
}

/** Moves or ends guests whose launcher is of an older version, as `workloadUpdateStrategy` of the KubeVirt object says. */
export function workloadUpdateController(profile: LauncherProfile): ControllerRegistration {
  return {
    name: 'workload-update-controller',
    rules: [
      ...allow('create delete', VirtualMachineInstanceMigrationKind),
      ...allow('patch', VirtualMachineInstanceKind),
      ...allow('create', [PodKind, 'eviction']),
    ],
    create: ({ client, clock, events, informers }) => {
      const kubeVirts = informers.lister(KubeVirtKind);
      const vmis = informers.lister(VirtualMachineInstanceKind);
      const facts = clusterFacts(informers, {});
      const requested = new RequestedMigrations(informers.for(VirtualMachineInstanceMigrationKind));
      const deps: Deps = { client, events, requested, pods: informers.lister(PodKind) };
      let lastEvictionMs: number | undefined;
      const all = (): readonly ObjectKey[] => kubeVirts.list().map(keyOf);
      return {
        kind: KubeVirtKind,
        concurrency: 1,
        watches: [
          watchOf(VirtualMachineInstanceKind, all, ({ object, old }) => signature(object) !== signature(old)),
          watchOf(VirtualMachineInstanceMigrationKind, all),
        ],
        reconciler: {
          async reconcile(key, signal) {
            const kubeVirt = kubeVirts.get(key);
            if (kubeVirt === undefined) return done;
            const plan = planWorkloadUpdates({
              strategy: kubeVirt.spec?.workloadUpdateStrategy,
              vmis: vmis.list(),
              migrations: requested.all(),
              image: profile.image,
              settings: migrationSettings(facts.config().configuration.migrations),
              lastEvictionMs,
              nowMs: clock.now(),
            });
            if (plan.evict.length > 0) lastEvictionMs = clock.now();
            await act(deps, plan, signal);
            return plan.retryInMs === undefined ? done : after(plan.retryInMs);
          },
        },
      };
    },
  };
}

/** What of an instance decides whether it is brought up to date. */
function signature(vmi: VirtualMachineInstance | undefined): string {
  const { phase, launcherContainerImageVersion, conditions = [] } = vmi?.status ?? {};
  const told = conditions.filter(({ type }) => type === 'MigrationRequired' || type === 'LiveMigratable');
  return JSON.stringify([phase, launcherContainerImageVersion, vmi?.metadata.labels?.[OUTDATED_LABEL], told]);
}

async function act(deps: Deps, plan: WorkloadUpdatePlan, signal: AbortSignal): Promise<void> {
  const { client, events, requested } = deps;
  for (const { vmi, isOutdated } of plan.labels) {
    const patch = { metadata: { labels: { [OUTDATED_LABEL]: isOutdated ? '' : null } } };
    await unlessGone(client.patch(VirtualMachineInstanceKind, keyOf(vmi), patch, { type: 'merge', signal }));
  }
  for (const migration of plan.abort)
    await unlessGone(client.delete(VirtualMachineInstanceMigrationKind, keyOf(migration), { signal }));
  for (const { vmi, priority } of plan.migrate) {
    const request = { generateName: 'kubevirt-workload-update-', annotations: { [WORKLOAD_UPDATE_ANNOTATION]: '' }, priority };
    const migration = await requested.request(client, vmi, request, signal);
    if (migration !== undefined)
      events.normal(vmi, 'SuccessfulCreate', `Created Migration ${migration.metadata.name} for automated workload update`);
  }
  for (const vmi of plan.evict) await evict(deps, vmi, signal);
}

async function evict({ client, events, pods }: Deps, vmi: VirtualMachineInstance, signal: AbortSignal): Promise<void> {
  const pod = currentPod(vmi, launcherPods(vmi, pods.ownedBy(vmi.metadata.uid ?? '')));
  if (pod === undefined) return;
  const metadata = keyOf(pod);
  try {
    await client.create<KubeObject>(
      PodKind,
      { apiVersion: 'policy/v1', kind: 'Eviction', metadata },
      { subresource: 'eviction', signal },
    );
    events.normal(vmi, 'SuccessfulDelete', `Evicted pod ${metadata.name} for automated workload update`);
  } catch (error) {
    // refused for now, by a budget or because the guest shall move: the next batch asks again
    if (isNotFound(error) || (error instanceof StatusError && error.code === 429)) return;
    throw error;
  }
}

async function unlessGone(action: Promise<unknown>): Promise<void> {
  try {
    await action;
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
