import { isLocalProvisioner, MOVED_TO, type PersistentVolume, PersistentVolumeKind } from '@slipway/api';
import { ignoreNotFound, keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type ControllerRegistration, done, type EventRecorder } from '@slipway/runtime';
import { isMine, isOnAllNodes, volumeUidOf } from './local-volume.ts';
import { removeGiven } from './moving/moving-records.ts';
import { dropFinalizer } from './object-writes.ts';
import { PROVISIONED_BY, PROVISIONER_FINALIZER } from './provision-plan.ts';
import { VolumeError } from './volume-error.ts';
import { isUid, type VolumeRecord } from './volume-record.ts';
import type { VolumeStore } from './volume-store.ts';

export interface ReclaimerDeps {
  readonly nodeName: string;
  readonly store: VolumeStore;
}

interface ReclaimDeps extends ReclaimerDeps {
  readonly client: Client;
  readonly events: EventRecorder;
}

/** Before the uid in the names of volumes. */
const PREFIX = 'pvc-';

/**
 * Removes the volumes of this node whose claims are gone, as their reclaim policy says, and the stale copies of those that
 * have gone to another node.
 */
export const localReclaimer = (deps: ReclaimerDeps): ControllerRegistration => ({
  name: 'local-reclaimer',
  create: ({ client, events, informers }) => {
    const volumes = informers.lister(PersistentVolumeKind);
    return {
      kind: PersistentVolumeKind,
      reconciler: {
        async reconcile(key, signal) {
          const volume = volumes.get(key);
          const uid = volume === undefined ? key.name.slice(PREFIX.length) : volumeUidOf(volume);
          if (volume === undefined || !isMine(volume, deps.nodeName)) await removeStale(deps.store, volume, uid);
          else await reclaim(volume, uid, { ...deps, client, events }, signal);
          return done;
        },
      },
    };
  },
});

/** A volume that belongs to another node by now, or is gone. */
async function removeStale(store: VolumeStore, volume: PersistentVolume | undefined, uid: string): Promise<void> {
  const isOfAgents = isLocalProvisioner(volume?.metadata.annotations?.[PROVISIONED_BY]);
  if (!isUid(uid) || (volume !== undefined && (!isOfAgents || isOnAllNodes(volume)))) return;
  if ((await givenIn(store, uid)) !== undefined) await removeGiven(store, uid);
}

async function reclaim(volume: PersistentVolume, uid: string, deps: ReclaimDeps, signal: AbortSignal): Promise<void> {
  const { client, events, store } = deps;
  const given = await givenIn(store, uid);
  if (given !== undefined) return sayWhere(client, volume, given.node, signal);
  const { status, spec, metadata } = volume;
  const isReleased = status?.phase === 'Released' || status?.phase === 'Failed';
  const isTerminating = metadata.deletionTimestamp !== undefined;
  if (spec?.persistentVolumeReclaimPolicy === 'Delete' && isReleased) {
    await removeDirectory(volume, store, events);
    if (!isTerminating) await client.delete(PersistentVolumeKind, keyOf(volume), { signal }).catch(ignoreNotFound);
  }
  if (isTerminating && (isReleased || status?.phase === 'Available'))
    await dropFinalizer(client, PersistentVolumeKind, volume, PROVISIONER_FINALIZER, signal);
}

/** The content is on another node, whose agent may not write the volume before it is told to be that node's. */
async function sayWhere(client: Client, volume: PersistentVolume, node: string, signal: AbortSignal): Promise<void> {
  if (volume.metadata.annotations?.[MOVED_TO] === node) return;
  const patch = { metadata: { annotations: { [MOVED_TO]: node } } };
  await client.patch(PersistentVolumeKind, keyOf(volume), patch, { type: 'merge', signal });
}

async function givenIn(store: VolumeStore, uid: string): Promise<VolumeRecord['given']> {
  try {
    return (await store.read(uid))?.given;
  } catch (error) {
    if (error instanceof VolumeError) return undefined; // damaged, or not mounted: told to whoever wants it
    throw error;
  }
}

async function removeDirectory(volume: PersistentVolume, store: VolumeStore, events: EventRecorder): Promise<void> {
  try {
    const uid = volumeUidOf(volume);
    const record = await store.read(uid);
    if (record?.writer !== undefined)
      throw new VolumeError('VolumeFailedDelete', `The disk is still used by pod ${record.writer.podUid}`);
    await store.remove(uid);
  } catch (error) {
    if (error instanceof Error) events.warning(volume, 'VolumeFailedDelete', error.message);
    throw error;
  }
}
