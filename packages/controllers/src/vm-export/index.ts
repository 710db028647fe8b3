import { randomInt } from 'node:crypto';
import {
  PersistentVolumeClaimKind,
  PodKind,
  SecretKind,
  ServiceKind,
  VirtualMachineExportKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  VirtualMachineSnapshotContentKind,
  VirtualMachineSnapshotKind,
  VolumeSnapshotContentKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import { type KubeObject, keyOf, type ObjectKey } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, owned, watchOf } from '@slipway/runtime';
import { podsByClaim } from '../vm-snapshot/index.ts';
import { VmExportReconciler } from './vm-export-reconciler.ts';

export { exportRoute, type ExportRouteDeps } from './export-server.ts';

const BY_SOURCE = 'vm-export/source';
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const TOKEN_LENGTH = 20;

const newToken = (): string => Array.from({ length: TOKEN_LENGTH }, () => LETTERS[randomInt(LETTERS.length)]).join('');

/** Offers disks for download. */
export const vmExportController: ControllerRegistration = {
  name: 'virtualmachineexport-controller',
  rules: [
    ...allow('delete', VirtualMachineExportKind),
    ...allow('patch', [VirtualMachineExportKind, 'status']),
    ...allow('create', SecretKind, ServiceKind),
    ...allow('create delete', PodKind),
    ...allow('get create', PersistentVolumeClaimKind),
  ],
  create({ client, events, clock, informers, settings }) {
    const exports = informers.for(VirtualMachineExportKind);
    exports.addIndex(BY_SOURCE, ({ metadata, spec }) => [`${spec.source.kind} ${metadata.namespace}/${spec.source.name}`]);
    const of =
      (kind: string) =>
      ({ metadata }: KubeObject): readonly ObjectKey[] =>
        exports.lister.byIndex(BY_SOURCE, `${kind} ${metadata.namespace}/${metadata.name}`).map(keyOf);
    return {
      kind: VirtualMachineExportKind,
      concurrency: 3,
      watches: [
        owned(PodKind, VirtualMachineExportKind),
        owned(PersistentVolumeClaimKind, VirtualMachineExportKind),
        watchOf(PersistentVolumeClaimKind, of('PersistentVolumeClaim')),
        watchOf(VirtualMachineKind, of('VirtualMachine')),
        watchOf(VirtualMachineInstanceKind, of('VirtualMachine'), ({ type }) => type !== 'updated'),
        watchOf(VirtualMachineSnapshotKind, of('VirtualMachineSnapshot')),
      ],
      reconciler: new VmExportReconciler({
        ...{ client, events, clock },
        token: newToken,
        server: { url: settings.apiUrl ?? '', cert: settings.caBundle },
        exports: exports.lister,
        pods: informers.lister(PodKind),
        claims: informers.lister(PersistentVolumeClaimKind),
        vms: informers.lister(VirtualMachineKind),
        vmis: informers.lister(VirtualMachineInstanceKind),
        snapshots: informers.lister(VirtualMachineSnapshotKind),
        contents: informers.lister(VirtualMachineSnapshotContentKind),
        volumeSnapshots: informers.lister(VolumeSnapshotKind),
        volumeContents: informers.lister(VolumeSnapshotContentKind),
        usersOf: podsByClaim(informers),
      }),
    };
  },
};
