import type { Pod } from '@slipway/api';
import type { Client } from '@slipway/client';
import { volumeUidOf } from './local-volume.ts';
import { boundVolume } from './mover-pod-runner.ts';
import { VolumeError } from './volume-error.ts';
import type { VolumeStore } from './volume-store.ts';

export interface ClaimDeps {
  readonly client: Client;
  readonly store: VolumeStore;
  readonly isPodGone: (podUid: string) => boolean;
}

/**
 * Attaches the disk of every claim of a pod to it and gives them to its user; volume uids by claim name. Throws VolumeError
 * when one is not there, not filled yet, or another's.
 */
export async function attachClaims(
  { client, store, isPodGone }: ClaimDeps,
  pod: Pod,
  uid: number,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const podUid = pod.metadata.uid ?? '';
  const volumes = new Map<string, string>();
  for (const { persistentVolumeClaim } of pod.spec?.volumes ?? []) {
    const name = persistentVolumeClaim?.claimName;
    if (name === undefined) continue;
    const { volume } = await boundVolume(client, { namespace: pod.metadata.namespace ?? '', name }, signal);
    const volumeUid = volumeUidOf(volume);
    if ((await store.get(volumeUid)).state === 'filling')
      throw new VolumeError('FailedMount', `The disk of claim "${name}" is still being filled`);
    const holder = `pod ${pod.metadata.namespace}/${pod.metadata.name}`;
    await store.attach(volumeUid, { podUid, uid, holder }, isPodGone, signal);
    volumes.set(name, volumeUid);
  }
  return volumes;
}

/** The disk of a claim as a file that programs of the pod's user can open. */
export interface ClaimDisk {
  readonly claim: string;
  readonly path: string;
  readonly format: string;
}

/** Claims of pods that run programs of this host on their disks. */
export interface PodClaims {
  attach(pod: Pod, uid: number, signal: AbortSignal): Promise<readonly ClaimDisk[]>;
  /** Takes every disk away from the pod. */
  detach(podUid: string): Promise<void>;
}

export function podClaims(deps: ClaimDeps): PodClaims {
  const { store } = deps;
  return {
    async attach(pod, uid, signal) {
      const volumes = await attachClaims(deps, pod, uid, signal);
      return Promise.all(
        [...volumes].map(async ([claim, volumeUid]) => {
          const record = await store.get(volumeUid);
          return { claim, path: store.activePath(volumeUid, record), format: record.format };
        }),
      );
    },
    async detach(podUid) {
      for (const volumeUid of await store.list()) await store.detach(volumeUid, podUid);
    },
  };
}
