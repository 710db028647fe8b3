import {
  MigrationPolicyKind,
  NamespaceKind,
  NodeKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
  VirtualMachineInstanceKind,
  type VirtualMachineInstanceMigration,
  VirtualMachineInstanceMigrationKind,
} from '@slipway/api';
import { controllerOf, keyOf, type ObjectKey } from '@slipway/apimachinery';
import { allow, type ControllerDeps, type ControllerRegistration, watchOf, watchSameKey } from '@slipway/runtime';
import { matchingPolicy, migrationSettings } from '@slipway/virt';
import { clusterFacts } from '../virtual-machine/cluster-facts.ts';
import { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { MigrationReconciler, type MigrationReconcilerDeps } from './migration-reconciler.ts';
import { isFinalMigration } from './migration-state.ts';

const BY_INSTANCE = 'instance';

const instanceKey = ({ metadata, spec }: VirtualMachineInstanceMigration): string =>
  `${metadata.namespace ?? ''}/${spec.vmiName ?? ''}`;

/** Moves guests to other nodes on request, with the given way to render target pods. */
export function migrationController(
  renderer: (informers: ControllerDeps['informers']) => MigrationReconcilerDeps['renderPod'],
): ControllerRegistration {
  return {
    name: 'migration-controller',
    rules: [
      ...allow('update delete', VirtualMachineInstanceMigrationKind),
      ...allow('update', [VirtualMachineInstanceMigrationKind, 'status'], VirtualMachineInstanceKind),
      ...allow('create delete', PodKind),
      ...allow('patch', PersistentVolumeKind),
    ],
    create: ({ client, informers, events, clock }) => {
      const migrations = informers.for(VirtualMachineInstanceMigrationKind);
      migrations.addIndex(BY_INSTANCE, (migration) => [instanceKey(migration)]);
      const policies = informers.lister(MigrationPolicyKind);
      const namespaces = informers.lister(NamespaceKind);
      const facts = clusterFacts(informers, {});
      const cluster = () => facts.config().configuration.migrations;
      const migrationsOf = ({ namespace, name }: ObjectKey) => migrations.lister.byIndex(BY_INSTANCE, `${namespace}/${name}`);
      const reconciler = new MigrationReconciler({
        client,
        events,
        clock,
        migrations: new FreshObjects(migrations),
        migrationsOf,
        allMigrations: () => migrations.lister.list(),
        vmis: new FreshObjects(informers.for(VirtualMachineInstanceKind)),
        pods: informers.lister(PodKind),
        nodes: informers.lister(NodeKind),
        claims: informers.lister(PersistentVolumeClaimKind),
        volumes: informers.lister(PersistentVolumeKind),
        clusterSettings: () => migrationSettings(cluster()),
        settingsFor: ({ metadata }) => {
          const labels = namespaces.get({ namespace: '', name: metadata.namespace ?? '' })?.metadata.labels ?? {};
          const policy = matchingPolicy(policies.list(), metadata.labels ?? {}, labels);
          const policyName = policy?.metadata.name;
          return { settings: migrationSettings(cluster(), policy), ...(policyName !== undefined && { policyName }) };
        },
        renderPod: renderer(informers),
      });
      const active = (key: ObjectKey): readonly ObjectKey[] =>
        migrationsOf(key)
          .filter((one) => !isFinalMigration(one))
          .map(keyOf);
      const ofPod = (pod: Pod): readonly ObjectKey[] => {
        const owner = controllerOf(pod);
        return owner?.kind === 'VirtualMachineInstance'
          ? active({ namespace: pod.metadata.namespace ?? '', name: owner.name })
          : [];
      };
      return {
        kind: VirtualMachineInstanceMigrationKind,
        reconciler,
        // one after the other, so that two never take the same free place
        concurrency: 1,
        watches: [
          watchOf(VirtualMachineInstanceKind, (vmi) => active(keyOf(vmi))),
          watchOf(PodKind, ofPod),
          // whoever waits for a free place looks again when one is over
          watchOf(
            VirtualMachineInstanceMigrationKind,
            () => migrations.lister.list().filter(isWaiting).map(keyOf),
            ({ type, object }) => type === 'deleted' || isFinalMigration(object),
          ),
          watchSameKey(VirtualMachineInstanceMigrationKind),
        ],
      };
    },
  };
}

const isWaiting = ({ status }: VirtualMachineInstanceMigration): boolean =>
  status?.phase === undefined || status.phase === '' || status.phase === 'Pending';
