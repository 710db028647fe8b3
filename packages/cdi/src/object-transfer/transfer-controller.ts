import {
  type DataVolume,
  DataVolumeKind,
  ObjectTransferKind,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
} from '@slipway/api';
import { type KubeObject, keyOf, type ObjectKey } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, type Lister, watchOf } from '@slipway/runtime';
import type { ObjectTransfer } from './transfer-plan.ts';
import { TransferReconciler } from './transfer-reconciler.ts';

/** Moves DataVolumes and claims to other namespaces and names, without a copy. */
export const transferController: ControllerRegistration = {
  name: 'transfer-controller',
  rules: [
    ...allow('get create update patch delete', ObjectTransferKind),
    ...allow('update patch', [ObjectTransferKind, 'status']),
    ...allow('get create patch delete', DataVolumeKind, PersistentVolumeClaimKind),
    ...allow('get patch', PersistentVolumeKind),
  ],
  create: ({ client, clock, informers }) => {
    const transfers = informers.lister(ObjectTransferKind);
    const pods = informers.lister(PodKind);
    /** Transfers from or to an object of this kind. */
    const of = <T extends DataVolume | PersistentVolumeClaim>({ metadata }: T): readonly ObjectKey[] =>
      transfers
        .list()
        .filter((transfer) => concerns(transfer, metadata.namespace, metadata.name))
        .map(keyOf);
    return {
      kind: ObjectTransferKind,
      watches: [
        watchOf(DataVolumeKind, of),
        watchOf(PersistentVolumeClaimKind, of),
        watchOf(PersistentVolumeKind, ({ metadata }) =>
          transfers
            .list()
            .filter(({ status }) => status?.data?.['pvName'] === metadata.name)
            .map(keyOf),
        ),
        watchOf(ObjectTransferKind, ({ spec }) => (spec.parentName ? [{ namespace: '', name: spec.parentName }] : [])),
      ],
      reconciler: new TransferReconciler({ client, clock, transfers, isUsed: (claim) => isUsed(pods, claim) }),
    };
  },
};

function concerns(
  { spec: { source, target } }: ObjectTransfer,
  namespace: string | undefined,
  name: string | undefined,
): boolean {
  const isSource = source.namespace === namespace && source.name === name;
  return isSource || ((target.namespace ?? source.namespace) === namespace && (target.name ?? source.name) === name);
}

const isOver = ({ status }: Pod): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed';

function isUsed(pods: Lister<Pod>, { namespace, name }: ObjectKey): boolean {
  const mounts = ({ spec }: Pod): boolean =>
    spec?.volumes?.some((volume) => volume.persistentVolumeClaim?.claimName === name) ?? false;
  return pods.list(namespace).some((pod: Pod & KubeObject) => !isOver(pod) && mounts(pod));
}
