import type { PersistentVolume, StorageClass } from '@slipway/api';
import { formatQuantity, quantityOf } from '@slipway/apimachinery';
import { isMine, volumeUidOf } from '../local-volume.ts';
import { bytesOf, overcommitOf } from '../provision-plan.ts';
import { VolumeError } from '../volume-error.ts';
import type { PoolSet, PoolSpace } from './pool-set.ts';

export interface RoomFacts extends Pick<PoolSpace, 'totalBytes'> {
  readonly pool: string | undefined;
  /** What a volume is to have. */
  readonly sizeBytes: number;
  /** What all other volumes of the pool have. */
  readonly promisedBytes: number;
  /** How often the file system may be promised, for example 1.5; as often as you like unless given. */
  readonly overcommit?: number;
}

/**
 * Why a volume of this size is not promised, the one place where it is decided. Volumes are thin: what is promised may be
 * more than there is, unless the class sets a limit; a single volume may not. Pure.
 */
export function complaintAboutRoom({ pool, sizeBytes, totalBytes, promisedBytes, overcommit }: RoomFacts): string | undefined {
  const where = pool === undefined ? 'the file system of this node' : `the file system of storage pool "${pool}"`;
  const asked = `The claim asks for ${show(sizeBytes)}`;
  if (sizeBytes > totalBytes) return `${asked}, ${where} has ${show(totalBytes)} in all: request less`;
  if (overcommit === undefined || promisedBytes + sizeBytes <= totalBytes * overcommit) return undefined;
  return `${asked}; ${where} has ${show(totalBytes)} in all, other claims were promised ${show(promisedBytes)}, and the class allows ${overcommit} times what there is: delete claims, or raise parameter overcommit of the class`;
}

const show = (bytes: number): string => formatQuantity(quantityOf(bytes, 'BinarySI'));

export interface PoolRoomDeps {
  readonly nodeName: string;
  readonly pools: Pick<PoolSet, 'space' | 'poolOf'>;
  readonly volumes: () => readonly PersistentVolume[];
  /** Whether the claim of this uid is still there. */
  readonly isClaimed: (claimUid: string) => boolean;
}

/** Promises room to volumes, so that two that come at once do not both get the last of it. */
export class PoolRoom {
  private readonly deps: PoolRoomDeps;
  /** Volumes whose objects are not there yet, or still say what they had. */
  private readonly granted = new Map<string, { readonly pool: string | undefined; readonly sizeBytes: number }>();

  constructor(deps: PoolRoomDeps) {
    this.deps = deps;
  }

  /** Throws when the pool has no room. */
  async promise(volumeUid: string, pool: string | undefined, sizeBytes: number, overcommit: number | undefined): Promise<void> {
    const { pools } = this.deps;
    const { totalBytes } = await pools.space(pool);
    const promisedBytes = this.promisedBytes(pool, volumeUid);
    const limit = overcommit !== undefined && { overcommit };
    const complaint = complaintAboutRoom({ pool, sizeBytes, totalBytes, promisedBytes, ...limit });
    if (complaint !== undefined) throw new VolumeError('ProvisioningFailed', complaint);
    this.granted.set(volumeUid, { pool, sizeBytes });
  }

  /** The same for a volume that comes from another node, by what its class allows. */
  promiseArrival(volumeUid: string, pool: string | undefined, sizeBytes: number, storageClass?: StorageClass): Promise<void> {
    return this.promise(volumeUid, pool, sizeBytes, overcommitOf(storageClass).overcommit);
  }

  /** It did not come. */
  withdraw(volumeUid: string): void {
    this.granted.delete(volumeUid);
  }

  private promisedBytes(pool: string | undefined, except: string): number {
    const { pools, nodeName, volumes, isClaimed } = this.deps;
    const sizes = new Map<string, number>();
    for (const volume of volumes().filter((found) => isMine(found, nodeName))) {
      const uid = volumeUidOf(volume);
      const sizeBytes = bytesOf(volume.spec?.capacity?.storage);
      if ((this.granted.get(uid)?.sizeBytes ?? 0) <= sizeBytes) this.granted.delete(uid);
      if (pools.poolOf(uid) === pool) sizes.set(uid, sizeBytes);
    }
    for (const [uid, grant] of this.granted) {
      if (!isClaimed(uid)) this.granted.delete(uid);
      else if (grant.pool === pool) sizes.set(uid, grant.sizeBytes);
    }
    sizes.delete(except);
    return [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
  }
}
