import {
  type Node,
  NodeKind,
  Reason,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceMigrationKind,
} from '@slipway/api';
import { formatTime, isNotFound, keyOf, type ObjectKey } from '@slipway/apimachinery';
import { after, allow, type ControllerDeps, type ControllerRegistration, done, watchOf } from '@slipway/runtime';
import { migrationSettings } from '@slipway/virt';
import { clusterFacts } from '../virtual-machine/cluster-facts.ts';
import { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { RequestedMigrations } from '../virtual-machine-instance-migration/requested-migrations.ts';
import { backOffConditions, MIGRATION_BACK_OFF } from './back-off-condition.ts';
import { EVACUATION_ANNOTATION, type EvacuationPlan, EVICTION_SOURCE, planEvacuation } from './plan-evacuation.ts';

const BY_NODE = 'evacuation/node';

/** Moves guests away from nodes that are drained, and guests that were asked to leave theirs. */
export const evacuationController: ControllerRegistration = {
  name: 'evacuation-controller',
  rules: [...allow('create', VirtualMachineInstanceMigrationKind), ...allow('patch', VirtualMachineInstanceKind)],
  create(deps) {
    const { clock, informers } = deps;
    const nodes = informers.lister(NodeKind);
    const instances = informers.for(VirtualMachineInstanceKind);
    const vmis = new FreshObjects(instances);
    const facts = clusterFacts(informers, {});
    instances.addIndex(BY_NODE, ({ status }) => (status?.nodeName === undefined ? [] : [status.nodeName]));
    const requested = new RequestedMigrations(informers.for(VirtualMachineInstanceMigrationKind));
    const onNode = (name: string): VirtualMachineInstance[] =>
      instances.lister.byIndex(BY_NODE, name).map((vmi) => vmis.get(keyOf(vmi)) ?? vmi);
    return {
      kind: NodeKind,
      // one node after the other, so that the limits of the cluster hold
      concurrency: 1,
      predicate: ({ type, object, old }) => type === 'added' || taintsOf(object as Node) !== taintsOf(old as Node | undefined),
      watches: [
        watchOf(VirtualMachineInstanceKind, ({ status }) => nodeKeys(status?.nodeName)),
        watchOf(VirtualMachineInstanceMigrationKind, ({ metadata, spec, status }) => [
          ...nodeKeys(vmis.get({ namespace: metadata.namespace ?? '', name: spec.vmiName ?? '' })?.status?.nodeName),
          ...nodeKeys(status?.migrationState?.sourceNode),
        ]),
      ],
      reconciler: {
        async reconcile(key, signal) {
          const node = nodes.get(key);
          if (node === undefined) return done;
          const { configuration } = facts.config();
          const plan = planEvacuation({
            node,
            vmis: onNode(key.name),
            migrations: requested.all(),
            settings: migrationSettings(configuration.migrations),
            clusterStrategy: configuration.evictionStrategy,
            nowMs: clock.now(),
          });
          for (const vmi of plan.migrate) await migrate(deps, requested, vmi, key.name, signal);
          for (const vmi of onNode(key.name)) await tellWaiting(deps, vmis, vmi, plan, signal);
          return plan.retryInMs === undefined ? done : after(plan.retryInMs);
        },
      },
    };
  },
};

async function migrate(
  { client, events }: ControllerDeps,
  requested: RequestedMigrations,
  vmi: VirtualMachineInstance,
  nodeName: string,
  signal: AbortSignal,
): Promise<void> {
  const isMaintenance = vmi.metadata.annotations?.[EVICTION_SOURCE] === 'descheduler';
  const request = {
    generateName: 'kubevirt-evacuation-',
    annotations: { [EVACUATION_ANNOTATION]: nodeName },
    priority: isMaintenance ? 'system-maintenance' : 'system-critical',
  } as const;
  const migration = await requested.request(client, vmi, request, signal);
  if (migration === undefined) return;
  events.normal(vmi, Reason.successfulCreate, `Created Migration ${migration.metadata.name}: node ${nodeName} is being cleared`);
}

/** An instance says that its evacuation waits, and no longer when it does not. */
async function tellWaiting(
  { client, clock, events }: ControllerDeps,
  vmis: FreshObjects<VirtualMachineInstance>,
  vmi: VirtualMachineInstance,
  { waiting }: EvacuationPlan,
  signal: AbortSignal,
): Promise<void> {
  const wait = waiting.find((one) => one.vmi.metadata.uid === vmi.metadata.uid);
  const conditions = backOffConditions(vmi, wait !== undefined, formatTime(clock.now()));
  if (conditions === undefined) return;
  const patch = { metadata: { resourceVersion: vmi.metadata.resourceVersion }, status: { conditions } };
  try {
    vmis.remember(await client.patch(VirtualMachineInstanceKind, keyOf(vmi), patch, { type: 'merge', signal }));
  } catch (error) {
    if (isNotFound(error)) return;
    throw error;
  }
  if (wait !== undefined)
    events.warning(vmi, MIGRATION_BACK_OFF, `The next evacuation begins in ${Math.ceil(wait.leftMs / 1000)} s`);
}

const nodeKeys = (name: string | undefined): readonly ObjectKey[] => (name === undefined ? [] : [{ namespace: '', name }]);
const taintsOf = (node: Node | undefined): string => JSON.stringify(node?.spec?.taints ?? []);
