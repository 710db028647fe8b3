import {
  DataVolumeKind,
  NodeKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  PodKind,
  StorageClassKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
} from '@slipway/api';
import { type KubeObject, keyOf, type ObjectKey } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, watchOf, watchSameKey } from '@slipway/runtime';
import { podsByClaim } from '../vm-snapshot/index.ts';
import { destinations, readRecord } from './migration-record.ts';
import { VolumeMigrationReconciler } from './volume-migration-reconciler.ts';

export { volumeMigrationHandler } from './volume-migration-admission.ts';

const BY_CLAIM = 'volume-migration/claim';

/** Moves the volumes of VMs between claims. */
export const volumeMigrationController: ControllerRegistration = {
  name: 'volume-migration-controller',
  rules: [
    ...allow('update', VirtualMachineKind, VirtualMachineInstanceKind),
    ...allow('patch', [VirtualMachineKind, 'status']),
    ...allow('create delete', DataVolumeKind),
    ...allow('patch delete', PersistentVolumeClaimKind),
  ],
  create({ client, events, clock, informers }) {
    const vms = informers.for(VirtualMachineKind);
    vms.addIndex(BY_CLAIM, (vm) =>
      [...destinations(vm)].flatMap(([volume, to]) =>
        [to, readRecord(vm)[volume]?.from ?? ''].map((name) => `${vm.metadata.namespace}/${name}`),
      ),
    );
    const movingBy = (namespace: string | undefined, name: string | undefined): readonly ObjectKey[] =>
      vms.lister.byIndex(BY_CLAIM, `${namespace}/${name}`).map(keyOf);
    const moving = ({ metadata }: KubeObject): readonly ObjectKey[] => movingBy(metadata.namespace, metadata.name);
    return {
      kind: VirtualMachineKind,
      concurrency: 2,
      watches: [
        watchSameKey(VirtualMachineInstanceKind),
        watchOf(DataVolumeKind, moving),
        watchOf(PersistentVolumeClaimKind, moving),
        watchOf(PodKind, ({ metadata, spec }) =>
          (spec?.volumes ?? []).flatMap(({ persistentVolumeClaim }) =>
            persistentVolumeClaim === undefined ? [] : movingBy(metadata.namespace, persistentVolumeClaim.claimName),
          ),
        ),
      ],
      reconciler: new VolumeMigrationReconciler({
        ...{ client, events, clock },
        vms: vms.lister,
        vmis: informers.lister(VirtualMachineInstanceKind),
        claims: informers.lister(PersistentVolumeClaimKind),
        volumes: informers.lister(PersistentVolumeKind),
        dataVolumes: informers.lister(DataVolumeKind),
        classes: informers.lister(StorageClassKind),
        nodes: informers.lister(NodeKind),
        usersOf: podsByClaim(informers),
      }),
    };
  },
};
