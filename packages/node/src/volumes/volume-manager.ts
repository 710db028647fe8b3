import { ignoreNotFound } from '@slipway/apimachinery';
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type kubevirt, PersistentVolumeKind, type Pod, PodKind, type VirtualMachineInstance } from '@slipway/api';
import type { Client } from '@slipway/client';
import { ControllerManager, type Informers, type Logger, sleep, type TimerClock } from '@slipway/runtime';
import { isHotpluggable } from '@slipway/virt';
import type {
  ClaimSwaps,
  MovingVolumes,
  NodeConfig,
  PodRunner,
  PreparedFiles,
  PreparedVolume,
  Sandbox,
  SavedState,
  VolumeManager,
} from '../contracts.ts';
import { type PodClaims, podClaims } from './attach-claims.ts';
import { LocalClaimSwaps } from './claim-swaps.ts';
import type { ConfigDiskDeps } from './config-disks.ts';
import { ExportPodRunner } from './export-pod-runner.ts';
import { filledVolume } from './filled-volume.ts';
import { type GuestFilesDeps, isShared, prepareGuestFiles } from './guest-files.ts';
import { ImageStore } from './image-store.ts';
import { localSnapshotter } from './local-snapshotter.ts';
import { localProvisioner } from './local-provisioner.ts';
import { localReclaimer } from './local-reclaimer.ts';
import { volumeUidOf } from './local-volume.ts';
import { MoverLauncher } from './mover-launcher.ts';
import { boundVolume, MoverPodRunner } from './mover-pod-runner.ts';
import { removeGiven } from './moving/moving-records.ts';
import { LocalMovingVolumes } from './moving/moving-volumes.ts';
import type { PoolRoom } from './pools/pool-room.ts';
import { poolReporter } from './pools/pool-reporter.ts';
import { PoolSet } from './pools/pool-set.ts';
import { prepareDisk } from './prepare-disk.ts';
import { hostQemuImg } from './qemu-img.ts';
import type { GrowingDisks, LiveDisks } from './snapshot-volume.ts';
import { UploadIntakes } from './upload-intake.ts';
import { VolumeError } from './volume-error.ts';
import { checkedUid, DISK_NAME } from './volume-record.ts';
import { makeDirectory, sandboxDirectory } from './volume-files.ts';
import { VolumeStore } from './volume-store.ts';

export interface VolumeManagerDeps extends ConfigDiskDeps {
  readonly config: NodeConfig;
  readonly client: Client;
  /** Pods of this node. */
  readonly informers: Informers;
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
  /** Command that runs the data mover, for example `['node', '/…/dist/mover.mjs']`. */
  readonly moverProgram: readonly [string, ...string[]];
  /** Addresses that imports may reach although they are refused by default. */
  readonly allowedImportAddresses: readonly string[];
  /** The guests of this node, once there can be any; called with what tells that a pod is gone. */
  readonly liveDisks?: (isPodGone: (podUid: string) => boolean) => LiveDisks & GrowingDisks;
}

/** Uids of data movers begin this far above the node's first uid; a node owns 8192, and sandboxes take some below these. */
const MOVER_UID_OFFSET = 6_000;
/** Nobody else's: below the data movers. */
const TOOL_UID_OFFSET = MOVER_UID_OFFSET - 1;
/** So long a disk rests before its layers are merged: a VM that is restarted needs it at once. */
const REST_MS = 30_000;
const MOVER_IMAGES = ['slipway/cdi-importer', 'slipway/cdi-cloner'] as const;
const UPLOAD_IMAGE = 'slipway/cdi-uploadserver';
const VOLUME_NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

export interface NodeVolumes {
  readonly manager: VolumeManager;
  readonly moving: MovingVolumes;
  /** Runners of the data mover images, and of exporters. */
  readonly podRunners: readonly PodRunner[];
  readonly exporter: ExportPodRunner;
  readonly uploads: UploadIntakes;
  /** For pods that run programs of this host on the disks of their claims. */
  readonly claims: PodClaims;
  /** Directories outside the node's state that guests reach: where the storage pools keep disks. */
  diskDirectories(): Promise<readonly string[]>;
  /** Log of a mover's pod. */
  logTail(podUid: string): Promise<string>;
}

/** Everything the node agent needs for volumes. Opens nothing before `manager.run`. */
export function nodeVolumes(deps: VolumeManagerDeps): NodeVolumes {
  const { config, client, clock, random, log } = deps;
  const { stateDir } = config;
  const toolUid = config.uidBase + TOOL_UID_OFFSET;
  const { hostPrefix, nodeName, sharedDir } = config;
  const pools = new PoolSet({ stateDir, hostPrefix, uid: randomUUID, ...(sharedDir !== undefined && { sharedDir }) });
  const podsElsewhere = async (signal: AbortSignal): Promise<ReadonlySet<string>> => {
    // without a selector of its own the agent's client lists the pods of this node
    const { items } = await client.list(PodKind, { fieldSelector: `spec.nodeName!=${nodeName}`, signal });
    return new Set(items.map(({ metadata }) => metadata.uid ?? ''));
  };
  const store = new VolumeStore({ stateDir, nodeName, podsElsewhere, qemuImg: hostQemuImg, uid: randomUUID, toolUid, pools });
  const launcher = new MoverLauncher({ stateDir, program: deps.moverProgram, uidBase: config.uidBase + MOVER_UID_OFFSET, clock });
  const images = new ImageStore({ stateDir, launcher, client, allowedAddresses: deps.allowedImportAddresses });
  const pods = deps.informers.for(PodKind);
  const podOf = (podUid: string): Pod | undefined => pods.lister.list().find(({ metadata }) => metadata.uid === podUid);
  const isPodGone = (podUid: string): boolean => pods.hasSynced && podOf(podUid) === undefined;
  const shared = { client, launcher, store, clock, random, log, isPodGone, allowedAddresses: deps.allowedImportAddresses };
  const exporter = new ExportPodRunner({ client, launcher, store, clock, log, isPodGone });
  const uploads = new UploadIntakes();
  const uploadRunner = new MoverPodRunner(UPLOAD_IMAGE, { ...shared, uploads });
  const manager = new LocalVolumeManager({ ...deps, store, launcher, images, isPodGone, pod: podOf });
  return {
    exporter,
    uploads,
    claims: podClaims({ client, store, isPodGone }),
    diskDirectories: async () => {
      await manager.open(); // asked for before anything has been opened
      return pools.diskDirectories();
    },
    manager,
    moving: manager.moving,
    podRunners: [...MOVER_IMAGES.map((image) => new MoverPodRunner(image, shared)), uploadRunner, exporter],
    logTail: (podUid) => launcher.logTail(checkedUid(podUid)),
  };
}

interface ManagerDeps extends VolumeManagerDeps {
  readonly store: VolumeStore;
  readonly launcher: MoverLauncher;
  readonly images: ImageStore;
  readonly isPodGone: (podUid: string) => boolean;
  readonly pod: (podUid: string) => Pod | undefined;
}

class LocalVolumeManager implements VolumeManager {
  private readonly deps: ManagerDeps;
  readonly moving: MovingVolumes;
  readonly swaps: ClaimSwaps;
  private readonly podRoot: string;
  private opening: Promise<void> | undefined;
  private room: PoolRoom | undefined;

  constructor(deps: ManagerDeps) {
    this.deps = deps;
    this.podRoot = join(deps.config.stateDir, 'podvolumes');
    const places = {
      nodeName: deps.config.nodeName,
      open: () => this.open(),
      ownDirectory: (podUid: string, name: string) => this.ownDirectory(podUid, name),
      directory: (podUid: string, name: string, sandbox: Sandbox) =>
        this.volumeDirectory(join(this.podRoot, podUid), name, sandbox),
    };
    this.moving = new LocalMovingVolumes({ ...deps, ...places, room: () => this.room });
    this.swaps = new LocalClaimSwaps({ ...deps, ...places });
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.open();
    const { client, clock, random, log, config, store } = this.deps;
    const onRoom = (room: PoolRoom): void => void (this.room = room);
    const provisioner = { nodeName: config.nodeName, store, live: this.liveDisks(), onRoom };
    const manager = new ControllerManager({
      clientFor: () => client,
      host: config.nodeName,
      clock,
      log,
      random,
      uid: randomUUID,
      // none of the controllers asks a node or reads a platform setting
      nodes: { call: unreachable, open: unreachable },
      settings: { installNamespace: '', osImagesNamespace: '', caBundle: '', version: '' },
    });
    manager.register(localProvisioner(provisioner));
    manager.register(localReclaimer(provisioner));
    manager.register(poolReporter({ nodeName: config.nodeName, pools: store.pools }));
    manager.register(localSnapshotter(provisioner));
    manager.start(signal);
    await Promise.all([manager.stopped(), this.mergeLayers(signal)]);
  }

  /** Makes chains shorter whenever a disk or a snapshot has been let go. */
  private async mergeLayers(signal: AbortSignal): Promise<void> {
    const { store, clock, log } = this.deps;
    while (!signal.aborted) {
      try {
        await store.released(signal);
        await sleep(clock, REST_MS, signal);
        for (const volumeUid of await store.list()) {
          await this.tidy(volumeUid, signal);
          await this.mergeLayersOf(volumeUid, signal);
        }
      } catch (error) {
        if (!signal.aborted) log.warn({ error: String(error) }, 'volumes not looked through');
      }
    }
  }

  /** What migrations have left that nobody came back to, because this agent or the API server was away. */
  private async tidy(volumeUid: string, signal: AbortSignal): Promise<void> {
    const { store, isPodGone, client, config } = this.deps;
    const record = await store.read(volumeUid);
    const expected = record?.incoming ?? (record?.heir?.node === config.nodeName ? record.heir : undefined);
    if (expected !== undefined && isPodGone(expected.podUid)) await this.moving.discard(expected.podUid);
    if (record?.given === undefined) return;
    const key = { namespace: '', name: `pvc-${volumeUid}` };
    const volume = await client.get(PersistentVolumeKind, key, { signal }).catch(ignoreNotFound);
    if (volume === undefined) await removeGiven(store, volumeUid);
  }

  private async mergeLayersOf(volumeUid: string, signal: AbortSignal): Promise<void> {
    const { store, log } = this.deps;
    await store.flatten(volumeUid, signal).catch((error: unknown) => {
      if (!signal.aborted) log.warn({ volume: volumeUid, error: String(error) }, 'layers not merged');
    });
  }

  async prepare(
    vmi: VirtualMachineInstance,
    pod: Pod,
    sandbox: Sandbox,
    signal: AbortSignal,
  ): Promise<readonly PreparedVolume[]> {
    await this.open();
    const podUid = checkedUid(pod.metadata.uid);
    const root = join(this.podRoot, podUid);
    const prepared: PreparedVolume[] = [];
    for (const volume of vmi.spec.volumes ?? []) {
      // hotplugged ones come when the guest runs; shared ones are no disks
      if (isHotpluggable(volume) || isShared(vmi, volume.name)) continue;
      const directory = await this.volumeDirectory(root, volume.name, sandbox);
      const made = await prepareDisk(this.deps, volume, { vmi, podUid, sandbox, directory }, signal);
      if (made !== undefined) prepared.push({ name: volume.name, ...made });
    }
    return prepared;
  }

  async prepareFiles(vmi: VirtualMachineInstance, pod: Pod, sandbox: Sandbox, signal: AbortSignal): Promise<PreparedFiles> {
    await this.open();
    const directory = async (podUid: string, name: string, owner: Sandbox): Promise<string> => {
      return this.volumeDirectory(join(this.podRoot, checkedUid(podUid)), name, owner);
    };
    const claim: GuestFilesDeps['claim'] = (namespace, name, aborting) => filledVolume(this.deps, { namespace, name }, aborting);
    const arriving: GuestFilesDeps['arriving'] = (...args) => this.arrivingClaim(...args);
    const ownDirectory: GuestFilesDeps['ownDirectory'] = (...args) => this.ownDirectory(...args);
    return prepareGuestFiles({ ...this.deps, directory, ownDirectory, claim, arriving }, vmi, pod, sandbox, signal);
  }

  async plug(
    vmi: VirtualMachineInstance,
    volume: kubevirt.Volume,
    pod: Pod,
    sandbox: Sandbox,
    signal: AbortSignal,
  ): Promise<PreparedVolume> {
    await this.open();
    const podUid = checkedUid(pod.metadata.uid);
    const directory = await this.volumeDirectory(join(this.podRoot, podUid), volume.name, sandbox);
    const made = await prepareDisk(this.deps, volume, { vmi, podUid, sandbox, directory }, signal);
    if (made === undefined) throw new VolumeError('FailedMount', `Volume ${volume.name} is no disk`);
    return { name: volume.name, ...made };
  }

  async unplug(
    { namespace, name, claimName }: { readonly namespace: string; readonly name: string; readonly claimName?: string },
    podUid: string,
    signal: AbortSignal,
  ): Promise<void> {
    await this.open();
    const { client, store } = this.deps;
    if (VOLUME_NAME.test(name))
      for (const root of await store.podDirectories(podUid)) await rm(join(root, name), { recursive: true, force: true });
    if (claimName === undefined) return;
    const { volume } = await boundVolume(client, { namespace, name: claimName }, signal);
    await store.detach(volumeUidOf(volume), podUid);
  }

  async savedState(
    vmi: VirtualMachineInstance,
    claimName: string,
    pod: Pod,
    sandbox: Sandbox,
    signal: AbortSignal,
  ): Promise<SavedState | undefined> {
    await this.open();
    const { store } = this.deps;
    const podUid = checkedUid(pod.metadata.uid);
    const { volumeUid, record } = await filledVolume(
      this.deps,
      { namespace: vmi.metadata.namespace ?? '', name: claimName },
      signal,
    );
    const directory = await this.volumeDirectory(store.podDirectory(volumeUid, podUid), 'memory-state', sandbox);
    const forget = (): Promise<void> => rm(directory, { recursive: true, force: true });
    if (record.isSpent) {
      await forget();
      return undefined;
    }
    const { chain } = await store.linkReadOnly(volumeUid, directory);
    return {
      // a claim that was restored is an empty overlay above the file that libvirt wrote
      path: join(directory, chain.at(-1)?.name ?? DISK_NAME),
      async spend() {
        await store.update(volumeUid, (found) => ({ ...found, isSpent: true }));
        await forget(); // its space is free when the claim is gone
      },
    };
  }

  async release(podUid: string): Promise<void> {
    await this.open();
    const { store } = this.deps;
    await this.moving.discard(podUid); // it may have waited for a guest that never came
    await this.swaps.abandon(podUid);
    for (const volumeUid of await store.list()) await store.detach(volumeUid, podUid);
    for (const root of await store.podDirectories(podUid)) await rm(root, { recursive: true, force: true });
  }

  private async arrivingClaim(
    namespace: string,
    name: string,
    podUid: string,
    signal: AbortSignal,
  ): Promise<{ readonly volumeUid: string } | undefined> {
    const { client, store } = this.deps;
    const volumeUid = volumeUidOf((await boundVolume(client, { namespace, name }, signal)).volume);
    const record = await store.read(volumeUid);
    return record?.incoming?.podUid === podUid || record?.heir?.podUid === podUid ? { volumeUid } : undefined;
  }

  private ownDirectory(podUid: string, name: string): string {
    if (!VOLUME_NAME.test(name)) throw new VolumeError('FailedMount', `Volume name "${name}" is not a DNS label`);
    return join(this.podRoot, checkedUid(podUid), name);
  }

  private liveDisks(): LiveDisks & GrowingDisks {
    const { isPodGone, liveDisks } = this.deps;
    return liveDisks?.(isPodGone) ?? noGuests(isPodGone);
  }

  private async volumeDirectory(root: string, name: string, sandbox: Sandbox): Promise<string> {
    if (!VOLUME_NAME.test(name)) throw new VolumeError('FailedMount', `Volume name "${name}" is not a DNS label`);
    return sandboxDirectory(root, name, sandbox);
  }

  open(): Promise<void> {
    this.opening ??= this.openAll();
    return this.opening;
  }

  private async openAll(): Promise<void> {
    const { store, images, launcher } = this.deps;
    await makeDirectory(this.podRoot, 0o711);
    await store.open();
    await images.open();
    await launcher.open();
  }
}

/** For a node that runs no guests. */
const noGuests = (isGone: (podUid: string) => boolean): LiveDisks & GrowingDisks => ({
  isGone,
  writtenFile: () => Promise.resolve(undefined),
  pivot: () => Promise.reject(new Error('This node runs no guests')),
  resize: () => Promise.resolve(false),
});

const unreachable = (): Promise<never> => Promise.reject(new Error('The volume controllers reach no node'));
