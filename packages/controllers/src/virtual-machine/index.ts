import type { VirtualMachine } from '@slipway/api';
import {
  ControllerRevisionKind,
  DataSourceKind,
  DataVolumeKind,
  PersistentVolumeClaimKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  VirtualMachineInstancetypeKind,
  VirtualMachineClusterInstancetypeKind,
  VirtualMachinePreferenceKind,
  VirtualMachineClusterPreferenceKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import { type KubeObject, keyOf, type ObjectKey } from '@slipway/apimachinery';
import {
  accessReviewRules,
  allow,
  type ControllerDeps,
  type ControllerRegistration,
  type Informer,
  owned,
  watchOf,
} from '@slipway/runtime';
import { storageFacts } from '../vm-snapshot/index.ts';
import { volumeSnapshotStatuses } from '../vm-snapshot/source-volumes.ts';
import { memoryClaim, resumedInstance } from '../vm-suspend/memory-state.ts';
import { claimedVolumes } from '../virtual-machine-instance/claims.ts';
import { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { VirtualMachineReconciler, type VirtualMachineReconcilerDeps } from './virtual-machine-reconciler.ts';

const CLAIM_INDEX = 'claim';

/** What the controller needs to know about the cluster's KubeVirt configuration. */
export type VirtualMachineSettings = Pick<
  VirtualMachineReconcilerDeps,
  | 'renderInstance'
  | 'rolloutStrategy'
  | 'volumesFollow'
  | 'cpuAllocationRatio'
  | 'dynamicMetadata'
  | 'pinTypes'
  | 'expandTypes'
  | 'preferredStorageClass'
  | 'quietStartMs'
>;

/** The VM controller; `settingsFor` is called once. */
export function virtualMachineController(settingsFor: (deps: ControllerDeps) => VirtualMachineSettings): ControllerRegistration {
  return {
    name: 'virtualmachine-controller',
    rules: [
      ...allow('update patch', VirtualMachineKind, [VirtualMachineKind, 'status']),
      ...allow('get create update patch delete', VirtualMachineInstanceKind),
      ...allow('create patch delete', DataVolumeKind),
      // for whoever runs the VM, whose service account is asked before each clone
      ...allow('create', [DataVolumeKind, 'source']),
      ...allow('create update delete get', ControllerRevisionKind),
      ...allow(
        'get',
        VirtualMachineInstancetypeKind,
        VirtualMachineClusterInstancetypeKind,
        VirtualMachinePreferenceKind,
        VirtualMachineClusterPreferenceKind,
        // inference looks at what a volume is made from
        PersistentVolumeClaimKind,
        DataVolumeKind,
        DataSourceKind,
        VolumeSnapshotKind,
      ),
      ...accessReviewRules,
    ],
    create: (deps) => {
      const { client, informers, events, clock, random } = deps;
      const vms = informers.for(VirtualMachineKind);
      vms.addIndex(CLAIM_INDEX, (vm) => claimNames(vm).map((name) => `${vm.metadata.namespace ?? ''}/${name}`));
      const storage = storageFacts(informers);
      const settings = settingsFor(deps);
      const claims = informers.lister(PersistentVolumeClaimKind);
      const revisions = informers.lister(ControllerRevisionKind);
      const reconciler = new VirtualMachineReconciler({
        client,
        events,
        clock,
        random,
        vms: new FreshObjects(vms),
        vmis: new FreshObjects(informers.for(VirtualMachineInstanceKind)),
        dataVolumes: new FreshObjects(informers.for(DataVolumeKind)),
        dataSources: informers.lister(DataSourceKind),
        claims,
        revisions,
        snapshotStatuses: (vm, vmi) => volumeSnapshotStatuses(vm, vmi, storage),
        ...settings,
        renderTemplate: settings.renderInstance,
        renderInstance: async (vm, signal) => {
          const hasRevision = (name: string): boolean =>
            revisions.get({ namespace: vm.metadata.namespace ?? '', name }) !== undefined;
          return resumedInstance(vm, memoryClaim(vm, claims), hasRevision) ?? settings.renderInstance(vm, signal);
        },
      });
      const users = (object: KubeObject): readonly ObjectKey[] => usersOfClaim(vms, object);
      return {
        kind: VirtualMachineKind,
        reconciler,
        concurrency: 8,
        watches: [
          owned(VirtualMachineInstanceKind, VirtualMachineKind),
          // an instance that somebody else owns frees the VM's name when it goes
          watchOf(
            VirtualMachineInstanceKind,
            (vmi) => [keyOf(vmi)],
            ({ type }) => type === 'deleted',
          ),
          watchOf(DataVolumeKind, users),
          watchOf(PersistentVolumeClaimKind, users),
        ],
      };
    },
  };
}

function claimNames(vm: VirtualMachine): readonly string[] {
  const templates = (vm.spec.dataVolumeTemplates ?? []).map(({ metadata }) => metadata.name ?? '');
  return [...new Set([...claimedVolumes(vm.spec.template.spec).map(({ claimName }) => claimName), ...templates])];
}

function usersOfClaim(vms: Informer<VirtualMachine>, { metadata }: KubeObject): readonly ObjectKey[] {
  return vms.lister.byIndex(CLAIM_INDEX, `${metadata.namespace ?? ''}/${metadata.name}`).map(keyOf);
}
