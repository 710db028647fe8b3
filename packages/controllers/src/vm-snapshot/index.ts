import { ignoreNotFound } from '@slipway/apimachinery';
import {
  ControllerRevisionKind,
  DataVolumeKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
  StorageProfileKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  VirtualMachineSnapshotContentKind,
  VirtualMachineSnapshotKind,
  VolumeSnapshotClassKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import type { KubeObject } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, type Informers, watchOf } from '@slipway/runtime';
import { claimNames } from '../scheduler/pod-volumes.ts';
import { isFinished as isPodFinished } from '../scheduler/resources.ts';
import { removeFinalizer, waitingFor } from './objects.ts';
import { isFinished, VmSnapshotFinalizer } from './snapshot-state.ts';
import type { StorageFacts } from './source-volumes.ts';
import { VmSnapshotReconciler } from './vm-snapshot-reconciler.ts';

const BY_SOURCE = 'vm-snapshot/source';
const BY_CLAIM = 'vm-snapshot/claim';

/** Lookups that tell which volumes can have snapshots. */
export const storageFacts = (informers: Informers): StorageFacts => ({
  claims: informers.lister(PersistentVolumeClaimKind),
  volumes: informers.lister(PersistentVolumeKind),
  profiles: informers.lister(StorageProfileKind),
  classes: informers.lister(VolumeSnapshotClassKind),
});

/** Pods that have not ended, by the claims they use. */
export function podsByClaim(informers: Informers): (claim: { readonly metadata: KubeObject['metadata'] }) => readonly Pod[] {
  const pods = informers.for(PodKind);
  pods.addIndex(BY_CLAIM, (pod) => claimNames(pod).map((name) => `${pod.metadata.namespace}/${name}`));
  return ({ metadata }) =>
    pods.lister.byIndex(BY_CLAIM, `${metadata.namespace}/${metadata.name}`).filter((pod) => !isPodFinished(pod));
}

/** Takes snapshots of VMs. */
export const vmSnapshotController: ControllerRegistration = {
  name: 'virtualmachinesnapshot-controller',
  rules: [
    ...allow('get patch', VirtualMachineSnapshotKind, [VirtualMachineSnapshotKind, 'status']),
    ...allow('get patch', VirtualMachineKind),
    ...allow('patch', [VirtualMachineKind, 'status']),
    ...allow('get', VirtualMachineInstanceKind, ControllerRevisionKind),
    ...allow('create patch delete', VirtualMachineSnapshotContentKind),
    ...allow('patch', [VirtualMachineSnapshotContentKind, 'status']),
    ...allow('create', VolumeSnapshotKind),
  ],
  create({ client, events, clock, nodes, informers }) {
    const snapshots = informers.for(VirtualMachineSnapshotKind);
    snapshots.addIndex(BY_SOURCE, ({ metadata, spec }) => [`${metadata.namespace}/${spec.source.name}`]);
    const ofSource = waitingFor(snapshots.lister, BY_SOURCE, isFinished);
    const contents = informers.for(VirtualMachineSnapshotContentKind);
    return {
      kind: VirtualMachineSnapshotKind,
      concurrency: 4,
      watches: [
        watchOf(VirtualMachineSnapshotContentKind, ({ metadata, spec }) => [
          { namespace: metadata.namespace ?? '', name: spec.virtualMachineSnapshotName ?? '' },
        ]),
        watchOf(VolumeSnapshotKind, ({ metadata }) => {
          const owner = metadata.ownerReferences?.find(({ kind }) => kind === VirtualMachineSnapshotContentKind.kind);
          const content = owner && contents.lister.get({ namespace: metadata.namespace ?? '', name: owner.name });
          return content ? [{ namespace: metadata.namespace ?? '', name: content.spec.virtualMachineSnapshotName ?? '' }] : [];
        }),
        watchOf(VirtualMachineKind, ofSource),
        watchOf(VirtualMachineInstanceKind, ofSource),
      ],
      reconciler: new VmSnapshotReconciler({
        ...{ client, events, clock, nodes },
        ...storageFacts(informers),
        snapshots: snapshots.lister,
        contents: contents.lister,
        vms: informers.lister(VirtualMachineKind),
        vmis: informers.lister(VirtualMachineInstanceKind),
        dataVolumes: informers.lister(DataVolumeKind),
        volumeSnapshots: informers.lister(VolumeSnapshotKind),
        usersOf: podsByClaim(informers),
      }),
    };
  },
};

/** Removes what belongs to a content that is being deleted. */
export const vmSnapshotContentController: ControllerRegistration = {
  name: 'virtualmachinesnapshotcontent-controller',
  rules: [...allow('patch', VirtualMachineSnapshotContentKind), ...allow('delete', VolumeSnapshotKind)],
  create({ client, informers }) {
    const contents = informers.lister(VirtualMachineSnapshotContentKind);
    return {
      kind: VirtualMachineSnapshotContentKind,
      reconciler: {
        async reconcile(key, signal) {
          const content = contents.get(key);
          if (content?.metadata.deletionTimestamp === undefined) return done;
          for (const { volumeSnapshotName: name } of content.spec.volumeBackups ?? [])
            if (name !== undefined)
              await client.delete(VolumeSnapshotKind, { namespace: key.namespace, name }, { signal }).catch(ignoreNotFound);
          await removeFinalizer(client, VirtualMachineSnapshotContentKind, content, VmSnapshotFinalizer.content, signal);
          return done;
        },
      },
    };
  },
};
