import { ignoreNotFound } from '@slipway/apimachinery';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  isSharedVolumeUid,
  type PersistentVolumeClaim,
  type Pod,
  StorageClassKind,
  type VirtualMachineInstance,
} from '@slipway/api';
import type { MovingVolumes, OfferedDisk, PreparedVolume, Sandbox } from '../../contracts.ts';
import { claimAccess } from '../claim-access.ts';
import { claimFacts, directoryNear, type DiskDeps, prepareDisk } from '../prepare-disk.ts';
import { poolOfClass } from '../pools/pool.ts';
import type { PoolRoom } from '../pools/pool-room.ts';
import { volumeUidOf } from '../local-volume.ts';
import { boundVolume } from '../mover-pod-runner.ts';
import { VolumeError } from '../volume-error.ts';
import { exists } from '../volume-files.ts';
import { type Attachment, checkedUid, DISK_NAME, type VolumeRecord } from '../volume-record.ts';
import { DiskOffers } from './disk-offers.ts';
import {
  acceptVolume,
  discardVolume,
  expectVolume,
  handOverVolume,
  makeWayFor,
  receiveContent,
  type Target,
} from './moving-records.ts';
import { makeReceivedDisk, writeMark } from './received-disk.ts';
import { checkSpace } from './transfer-plan.ts';

export interface MovingVolumesDeps extends DiskDeps {
  readonly nodeName: string;
  readonly open: () => Promise<void>;
  /** A pod of this node. */
  readonly pod: (podUid: string) => Pod | undefined;
  /** Where the pod's own disks are, by volume; nothing is made. */
  readonly ownDirectory: (podUid: string, volume: string) => string;
  /** The same, made for the sandbox. */
  readonly directory: (podUid: string, volume: string, sandbox: Sandbox) => Promise<string>;
  /** What is promised to claims, once the provisioner runs. */
  readonly room: () => PoolRoom | undefined;
}

interface Arrival {
  readonly vmi: VirtualMachineInstance;
  readonly podUid: string;
  readonly sandbox: Sandbox;
  readonly holder: string;
}

interface ArrivingClaim {
  readonly claim: PersistentVolumeClaim;
  readonly volumeUid: string;
  readonly attachment: Attachment;
}

/** Disks of guests that move between this node and others (ADR 0017). */
export class LocalMovingVolumes implements MovingVolumes {
  private readonly deps: MovingVolumesDeps;
  private readonly offers: DiskOffers;

  constructor(deps: MovingVolumesDeps) {
    this.deps = deps;
    this.offers = new DiskOffers(deps);
  }

  async offer(vmi: VirtualMachineInstance, podUid: string, signal: AbortSignal): Promise<readonly OfferedDisk[]> {
    await this.deps.open();
    return this.offers.of(vmi, checkedUid(podUid), signal);
  }

  async receive(
    vmi: VirtualMachineInstance,
    pod: Pod,
    sandbox: Sandbox,
    disks: readonly OfferedDisk[],
    signal: AbortSignal,
  ): Promise<readonly PreparedVolume[]> {
    await this.deps.open();
    const { namespace, name } = vmi.metadata;
    const podUid = checkedUid(pod.metadata.uid);
    const arrival: Arrival = { vmi, podUid, sandbox, holder: `virtual machine instance ${namespace}/${name}` };
    const prepared: PreparedVolume[] = [];
    const space = new Map<string | undefined, number>();
    for (const disk of disks) {
      signal.throwIfAborted();
      const made = await this.receiveDisk(arrival, disk, space, signal);
      if (made !== undefined) prepared.push({ name: disk.name, ...made });
    }
    return prepared;
  }

  async handOver(_: VirtualMachineInstance, podUid: string, target: Target): Promise<void> {
    const { open, store } = this.deps;
    await open();
    checkedUid(target.podUid);
    const handOver = (volumeUid: string) => handOverVolume(store, volumeUid, checkedUid(podUid), target);
    await allDone((await store.list()).map(handOver));
  }

  async accept(podUid: string): Promise<void> {
    const { open, store } = this.deps;
    await open();
    await allDone((await store.list()).map((volumeUid) => acceptVolume(store, volumeUid, checkedUid(podUid))));
  }

  async discard(podUid: string): Promise<void> {
    const { open, store, room } = this.deps;
    await open();
    for (const volumeUid of await store.list()) {
      if (!(await discardVolume(store, volumeUid, checkedUid(podUid)))) continue;
      await store.pools.forget(volumeUid);
      room()?.withdraw(volumeUid);
    }
    for (const root of await store.podDirectories(podUid)) await rm(root, { recursive: true, force: true });
  }

  private async receiveDisk(
    arrival: Arrival,
    disk: OfferedDisk,
    space: Map<string | undefined, number>,
    signal: AbortSignal,
  ): Promise<Omit<PreparedVolume, 'name'> | undefined> {
    checkSize(disk);
    if (disk.transfer === 'remade') return this.remake(arrival, disk, signal);
    const volume = arrival.vmi.spec.volumes?.find(({ name }) => name === disk.name);
    const isOfClaim = disk.claimName !== undefined && volume?.ephemeral === undefined;
    if (!isOfClaim) return this.receiveOwn(arrival, disk, space, signal);
    const arriving = await this.arrivingClaim(arrival, disk, disk.claimName, signal);
    if (disk.transfer === 'state') return this.receiveState(arrival, disk, arriving, space, signal);
    if (disk.transfer === 'shared') return this.receiveShared(arrival, disk, arriving);
    await this.receiveCopied(disk, arriving, space, signal);
    const { claim, volumeUid } = arriving;
    const path = this.deps.store.diskPath(volumeUid);
    return { path, format: 'raw', readOnly: false, sizeBytes: disk.virtualSizeBytes, claim: claimFacts(claim) };
  }

  /** What nobody writes is the same again, made from the same things. */
  private async remake(
    { vmi, podUid, sandbox }: Arrival,
    { name }: OfferedDisk,
    signal: AbortSignal,
  ): Promise<Omit<PreparedVolume, 'name'> | undefined> {
    const volume = vmi.spec.volumes?.find((found) => found.name === name);
    if (volume === undefined) throw new VolumeError('InvalidOffer', `The VMI has no volume ${name}`);
    const directory = await this.deps.directory(podUid, name, sandbox);
    return prepareDisk(this.deps, volume, { vmi, podUid, sandbox, directory }, signal);
  }

  private async receiveOwn(
    { vmi, podUid, sandbox }: Arrival,
    disk: OfferedDisk,
    space: Map<string | undefined, number>,
    signal: AbortSignal,
  ): Promise<Omit<PreparedVolume, 'name'>> {
    if (disk.transfer !== 'copied') throw new VolumeError('InvalidOffer', `Disk ${disk.name} belongs to the pod and is copied`);
    const directory = await this.deps.directory(podUid, disk.name, sandbox);
    if (!(await exists(join(directory, DISK_NAME)))) await this.reserve(undefined, disk, space);
    const key = { namespace: vmi.metadata.namespace ?? '', name: disk.claimName ?? '' };
    const claim = disk.claimName === undefined ? undefined : (await boundVolume(this.deps.client, key, signal)).claim;
    const mark = { sizeBytes: disk.virtualSizeBytes, ...(claim && { claim: claimFacts(claim) }) };
    await makeReceivedDisk(directory, mark, sandbox);
    return { path: join(directory, DISK_NAME), format: 'raw', readOnly: false, ...mark };
  }

  private async arrivingClaim(
    { vmi, podUid, sandbox, holder }: Arrival,
    { name }: OfferedDisk,
    claimName: string,
    signal: AbortSignal,
  ): Promise<ArrivingClaim> {
    const key = { namespace: vmi.metadata.namespace ?? '', name: claimName };
    const { claim, volume } = await boundVolume(this.deps.client, key, signal);
    const disk = vmi.spec.domain.devices.disks?.find((found) => found.name === name);
    const access = claimAccess(claim.spec?.accessModes ?? []);
    const isShared = disk?.shareable === true && !access.isForOnePod;
    const { isForOneNode } = access;
    return {
      claim,
      volumeUid: volumeUidOf(volume),
      attachment: { podUid, uid: sandbox.uid, holder, isForOneNode, ...(isShared && { isShared }) },
    };
  }

  private async receiveCopied(
    disk: OfferedDisk,
    { claim, volumeUid, attachment }: ArrivingClaim,
    space: Map<string | undefined, number>,
    signal: AbortSignal,
  ): Promise<void> {
    const { store, client, room } = this.deps;
    if (isSharedVolumeUid(volumeUid))
      throw new VolumeError('InvalidOffer', `Disk ${disk.name} is on all nodes and is not copied`);
    const found = await store.read(volumeUid);
    if (found?.incoming?.podUid !== attachment.podUid) {
      const className = claim.spec?.storageClassName ?? '';
      const key = { namespace: '', name: className };
      const storageClass = className && (await client.get(StorageClassKind, key, { signal }).catch(ignoreNotFound));
      const pool = poolOfClass(storageClass || undefined);
      await makeWayFor(store, volumeUid, attachment.podUid);
      await this.reserve(pool, disk, space);
      await store.pools.place(volumeUid, pool);
      await room()?.promiseArrival(volumeUid, pool, disk.virtualSizeBytes, storageClass || undefined);
    }
    await receiveContent(store, volumeUid, attachment, disk.virtualSizeBytes);
  }

  private async receiveShared(
    arrival: Arrival,
    disk: OfferedDisk,
    arriving: ArrivingClaim,
  ): Promise<Omit<PreparedVolume, 'name'>> {
    const { store } = this.deps;
    const { volumeUid, attachment, claim } = arriving;
    const record = await this.expect(arrival.vmi, arriving);
    const path = attachment.isShared
      ? await store.linkShared(volumeUid, await this.nearDirectory(volumeUid, arrival, disk))
      : store.activePath(volumeUid, record);
    const sizeBytes = record.virtualSizeBytes;
    return { path, format: record.format, readOnly: false, sizeBytes, claim: claimFacts(claim) };
  }

  private async nearDirectory(volumeUid: string, { vmi, podUid, sandbox }: Arrival, { name }: OfferedDisk): Promise<string> {
    const directory = await this.deps.directory(podUid, name, sandbox);
    return directoryNear(this.deps.store, volumeUid, { vmi, podUid, sandbox, directory });
  }

  /** The target's agent knows the source's pod from the VMI, which only that node and this one may write. */
  private expect(vmi: VirtualMachineInstance, { volumeUid, attachment }: ArrivingClaim): Promise<VolumeRecord> {
    const { store, nodeName } = this.deps;
    const activePods = Object.keys(vmi.status?.activePods ?? {});
    return expectVolume(store, volumeUid, { ...attachment, node: nodeName }, activePods);
  }

  private async receiveState(
    { podUid, sandbox, vmi }: Arrival,
    disk: OfferedDisk,
    arriving: ArrivingClaim,
    space: Map<string | undefined, number>,
    signal: AbortSignal,
  ): Promise<undefined> {
    if (isSharedVolumeUid(arriving.volumeUid)) await this.expect(vmi, arriving);
    else await this.receiveCopied(disk, arriving, space, signal);
    // the pod does not name the claim, and the agent has to find it again after a restart
    const mark = { sizeBytes: disk.virtualSizeBytes, claim: claimFacts(arriving.claim) };
    await writeMark(await this.deps.directory(podUid, disk.name, sandbox), mark);
  }

  /** Counts what all disks of the guest take, pool by pool. */
  private async reserve(pool: string | undefined, disk: OfferedDisk, space: Map<string | undefined, number>): Promise<void> {
    const needed = (space.get(pool) ?? 0) + Math.min(disk.allocatedBytes ?? disk.virtualSizeBytes, disk.virtualSizeBytes);
    checkSpace(pool, needed, (await this.deps.store.pools.space(pool)).freeBytes);
    space.set(pool, needed);
  }
}

/** Waits for each of them, then throws the first failure: nothing goes on behind the caller's back. */
async function allDone(actions: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(actions)).find((one) => one.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

/** What another node says is checked before files are made of it. */
function checkSize({ name, virtualSizeBytes }: OfferedDisk): void {
  if (!Number.isSafeInteger(virtualSizeBytes) || virtualSizeBytes < 0)
    throw new VolumeError('InvalidOffer', `The other node says that disk ${name} has ${virtualSizeBytes} bytes`);
}
