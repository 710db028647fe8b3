import { isLocalProvisioner, MOVED_TO, type PersistentVolume, PersistentVolumeKind } from '@slipway/api';
import { allow, type ControllerRegistration, done } from '@slipway/runtime';
import { PROVISIONED_BY } from '../persistent-volume/claim-annotations.ts';

/**
 * Gives volumes to the node to which their content went with a guest, where the migration could not: its instance or its
 * target pod was gone before. The agent of the node that had the volume says so, which may write volumes of its node alone.
 */
export const volumeRelocationController: ControllerRegistration = {
  name: 'volume-relocation-controller',
  rules: [...allow('patch', PersistentVolumeKind)],
  create({ client, events, informers }) {
    const volumes = informers.lister(PersistentVolumeKind);
    return {
      kind: PersistentVolumeKind,
      reconciler: {
        async reconcile(key, signal) {
          const volume = volumes.get(key);
          const node = volume && movedTo(volume);
          if (volume === undefined || node === undefined) return done;
          const patch = {
            metadata: { resourceVersion: volume.metadata.resourceVersion, annotations: { [MOVED_TO]: null } },
            spec: { nodeAffinity: affinityTo(node) },
          };
          const moved = await client.patch(PersistentVolumeKind, key, patch, { type: 'merge', signal });
          events.normal(moved, 'VolumeRelocated', `The content went to node ${node} with the guest that used it`);
          return done;
        },
      },
    };
  },
};

/** Node that has the content of a volume now; undefined when it is where its affinity says. Pure. */
function movedTo({ metadata }: PersistentVolume): string | undefined {
  const { [MOVED_TO]: node, [PROVISIONED_BY]: provisioner } = metadata.annotations ?? {};
  return node && isLocalProvisioner(provisioner) ? node : undefined;
}

/** The affinity of a volume that this node alone has. Pure. */
export const affinityTo = (node: string) => ({
  required: {
    nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In' as const, values: [node] }] }],
  },
});
