import { randomUUID } from 'node:crypto';
import { chmod, chown, lstat, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  DataVolumeKind,
  type kubevirt,
  type PersistentVolumeClaim,
  type Pod,
  PodKind,
  type VirtualMachineInstance,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { ControllerManager, type Informers, type Logger, sleep, type TimerClock } from '@slipway/runtime';
import { isHotpluggable, writeIso } from '@slipway/virt';
import type { NodeConfig, PodRunner, PreparedFiles, PreparedVolume, Sandbox, SavedState, VolumeManager } from '../contracts.ts';
import { METRICS_DISK_BYTES } from '../downward-metrics/index.ts';
import { type PodClaims, podClaims } from './attach-claims.ts';
import { type ConfigDiskDeps, configDiskBuilder } from './config-disks.ts';
import { ExportPodRunner } from './export-pod-runner.ts';
import { type GuestFilesDeps, isShared, prepareGuestFiles } from './guest-files.ts';
import { ImageStore } from './image-store.ts';
import { localSnapshotter } from './local-snapshotter.ts';
import { localProvisioner, localReclaimer, volumeUidOf } from './local-provisioner.ts';
import { MoverLauncher } from './mover-launcher.ts';
import { boundVolume, MoverPodRunner } from './mover-pod-runner.ts';
import { ignoreNotFound } from './object-writes.ts';
import { bytesOf } from './provision-plan.ts';
import { hostQemuImg } from './qemu-img.ts';
import type { LiveDisks } from './snapshot-volume.ts';
import { UploadIntakes } from './upload-intake.ts';
import { VolumeError } from './volume-error.ts';
import { checkedUid, DISK_NAME, type VolumeRecord } from './volume-record.ts';
import { makeDirectory, VolumeStore } from './volume-store.ts';

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
  readonly liveDisks?: (isPodGone: (podUid: string) => boolean) => LiveDisks;
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
  /** Runners of the data mover images, and of exporters. */
  readonly podRunners: readonly PodRunner[];
  readonly exporter: ExportPodRunner;
  readonly uploads: UploadIntakes;
  /** For pods that run programs of this host on the disks of their claims. */
  readonly claims: PodClaims;
  /** Log of a mover's pod. */
  logTail(podUid: string): Promise<string>;
}

/** Everything the node agent needs for volumes. Opens nothing before `manager.run`. */
export function nodeVolumes(deps: VolumeManagerDeps): NodeVolumes {
  const { config, client, clock, random, log } = deps;
  const { stateDir } = config;
  const toolUid = config.uidBase + TOOL_UID_OFFSET;
  const store = new VolumeStore({ stateDir, qemuImg: hostQemuImg, uid: randomUUID, toolUid });
  const launcher = new MoverLauncher({ stateDir, program: deps.moverProgram, uidBase: config.uidBase + MOVER_UID_OFFSET, clock });
  const images = new ImageStore({ stateDir, launcher, client, allowedAddresses: deps.allowedImportAddresses });
  const pods = deps.informers.for(PodKind);
  const isPodGone = (podUid: string): boolean =>
    pods.hasSynced && !pods.lister.list().some(({ metadata }) => metadata.uid === podUid);
  const shared = { client, launcher, store, clock, random, log, isPodGone, allowedAddresses: deps.allowedImportAddresses };
  const exporter = new ExportPodRunner({ client, launcher, store, clock, log, isPodGone });
  const uploads = new UploadIntakes();
  const uploadRunner = new MoverPodRunner(UPLOAD_IMAGE, { ...shared, uploads });
  return {
    exporter,
    uploads,
    claims: podClaims({ client, store, isPodGone }),
    manager: new LocalVolumeManager({ ...deps, store, launcher, images, isPodGone }),
    podRunners: [...MOVER_IMAGES.map((image) => new MoverPodRunner(image, shared)), uploadRunner, exporter],
    logTail: (podUid) => launcher.logTail(checkedUid(podUid)),
  };
}

interface ManagerDeps extends VolumeManagerDeps {
  readonly store: VolumeStore;
  readonly launcher: MoverLauncher;
  readonly images: ImageStore;
  readonly isPodGone: (podUid: string) => boolean;
}

const IMPORT_SOURCE = 'cdi.kubevirt.io/storage.import.source';
const IMPORT_ENDPOINT = 'cdi.kubevirt.io/storage.import.endpoint';
const UPLOAD_TARGET = 'cdi.kubevirt.io/storage.upload.target';
const POD_PHASE = 'cdi.kubevirt.io/storage.pod.phase';
const POPULATED_FOR = 'cdi.kubevirt.io/storage.populatedFor';

interface Place {
  readonly vmi: VirtualMachineInstance;
  readonly podUid: string;
  readonly sandbox: Sandbox;
  /** Directory of this one volume of the pod. */
  readonly directory: string;
}

class LocalVolumeManager implements VolumeManager {
  private readonly deps: ManagerDeps;
  private readonly podRoot: string;
  private opening: Promise<void> | undefined;

  constructor(deps: ManagerDeps) {
    this.deps = deps;
    this.podRoot = join(deps.config.stateDir, 'podvolumes');
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.open();
    const { client, clock, random, log, config, store } = this.deps;
    const provisioner = { nodeName: config.nodeName, store };
    const manager = new ControllerManager({
      clientFor: () => client,
      host: config.nodeName,
      clock,
      log,
      random,
      uid: randomUUID,
      // neither of the two controllers asks a node or reads a platform setting
      nodes: { call: unreachable, open: unreachable },
      settings: { installNamespace: '', osImagesNamespace: '', caBundle: '', version: '' },
    });
    manager.register(localProvisioner(provisioner));
    manager.register(localReclaimer(provisioner));
    manager.register(localSnapshotter({ ...provisioner, live: this.liveDisks() }));
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
        for (const volumeUid of await store.list()) await this.mergeLayersOf(volumeUid, signal);
      } catch (error) {
        if (!signal.aborted) log.warn({ error: String(error) }, 'volumes not looked through');
      }
    }
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
    await this.makeShared(root, sandbox);
    const prepared: PreparedVolume[] = [];
    for (const volume of vmi.spec.volumes ?? []) {
      // hotplugged ones come when the guest runs; shared ones are no disks
      if (isHotpluggable(volume) || isShared(vmi, volume.name)) continue;
      const directory = await this.volumeDirectory(root, volume.name, sandbox);
      const made = await this.prepareOne(volume, { vmi, podUid, sandbox, directory }, signal);
      if (made !== undefined) prepared.push({ name: volume.name, ...made });
    }
    return prepared;
  }

  async prepareFiles(vmi: VirtualMachineInstance, pod: Pod, sandbox: Sandbox, signal: AbortSignal): Promise<PreparedFiles> {
    await this.open();
    const directory = async (podUid: string, name: string, owner: Sandbox): Promise<string> => {
      const root = join(this.podRoot, checkedUid(podUid));
      await this.makeShared(root, owner);
      return this.volumeDirectory(root, name, owner);
    };
    const claim: GuestFilesDeps['claim'] = (namespace, name, aborting) => this.filledVolume(name, namespace, aborting);
    return prepareGuestFiles({ ...this.deps, directory, claim }, vmi, pod, sandbox, signal);
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
    const made = await this.prepareOne(volume, { vmi, podUid, sandbox, directory }, signal);
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
    if (VOLUME_NAME.test(name)) await rm(join(this.podRoot, checkedUid(podUid), name), { recursive: true, force: true });
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
    const directory = await this.volumeDirectory(join(this.podRoot, podUid), 'memory-state', sandbox);
    const { volumeUid, record } = await this.filledVolume(claimName, vmi.metadata.namespace ?? '', signal);
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
    for (const volumeUid of await store.list()) await store.detach(volumeUid, podUid);
    await rm(join(this.podRoot, checkedUid(podUid)), { recursive: true, force: true });
  }

  private liveDisks(): LiveDisks {
    const { isPodGone, liveDisks } = this.deps;
    return liveDisks?.(isPodGone) ?? noGuests(isPodGone);
  }

  private async volumeDirectory(root: string, name: string, sandbox: Sandbox): Promise<string> {
    if (!VOLUME_NAME.test(name)) throw new VolumeError('FailedMount', `Volume name "${name}" is not a DNS label`);
    const directory = join(root, name);
    await this.makeShared(directory, sandbox);
    return directory;
  }

  private open(): Promise<void> {
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

  private async prepareOne(
    volume: kubevirt.Volume,
    place: Place,
    signal: AbortSignal,
  ): Promise<Omit<PreparedVolume, 'name'> | undefined> {
    const buildConfig = configDiskBuilder(volume);
    if (buildConfig !== undefined)
      return this.configDisk(writeIso(await buildConfig(place.vmi, volume, this.deps, signal)), place);
    const { persistentVolumeClaim, dataVolume, containerDisk, emptyDisk, ephemeral } = volume;
    if (persistentVolumeClaim)
      return persistentVolumeClaim.readOnly
        ? this.readOnlyDisk(persistentVolumeClaim.claimName, place, signal)
        : this.claimDisk(persistentVolumeClaim.claimName, isShareable(place.vmi, volume), place, signal);
    if (dataVolume) return this.claimDisk(dataVolume.name, isShareable(place.vmi, volume), place, signal);
    if (ephemeral?.persistentVolumeClaim) return this.ephemeralDisk(ephemeral.persistentVolumeClaim.claimName, place, signal);
    if (containerDisk) return this.containerDisk(containerDisk, place, signal);
    if (emptyDisk) return this.emptyDisk(bytesOf(emptyDisk.capacity), place);
    if (volume.hostDisk)
      throw new VolumeError(
        'FailedMount',
        `Volume ${volume.name}: host disks are not offered: they would hand host files to guests. Import the file into a DataVolume`,
      );
    if (volume.downwardMetrics) return this.metricsDisk(place);
    return undefined; // no disk: memory dumps
  }

  private async readOnlyDisk(claimName: string, place: Place, signal: AbortSignal): Promise<Omit<PreparedVolume, 'name'>> {
    const { claim, volumeUid, record } = await this.filledVolume(claimName, place.vmi.metadata.namespace ?? '', signal);
    await this.deps.store.linkReadOnly(volumeUid, place.directory);
    return {
      path: join(place.directory, DISK_NAME),
      format: record.format,
      readOnly: true,
      sizeBytes: record.virtualSizeBytes,
      claim: claimFacts(claim),
    };
  }

  private async claimDisk(
    claimName: string,
    isShared: boolean,
    place: Place,
    signal: AbortSignal,
  ): Promise<Omit<PreparedVolume, 'name'>> {
    const { store, isPodGone } = this.deps;
    const { claim, volumeUid } = await this.filledVolume(claimName, place.vmi.metadata.namespace ?? '', signal);
    const attachment = { podUid: place.podUid, uid: place.sandbox.uid, ...(isShared && { isShared }) };
    const attached = await store.attach(volumeUid, attachment, isPodGone, signal);
    return {
      path: isShared ? await store.linkShared(volumeUid, place.directory) : store.activePath(volumeUid, attached),
      format: attached.format,
      readOnly: false,
      sizeBytes: attached.virtualSizeBytes,
      claim: claimFacts(claim),
    };
  }

  private async ephemeralDisk(claimName: string, place: Place, signal: AbortSignal): Promise<Omit<PreparedVolume, 'name'>> {
    const { claim, volumeUid, record } = await this.filledVolume(claimName, place.vmi.metadata.namespace ?? '', signal);
    if (!(await exists(join(place.directory, DISK_NAME))))
      await this.deps.store.overlayOnVolume(volumeUid, place.directory, signal);
    await this.give(join(place.directory, DISK_NAME), place.sandbox);
    return {
      path: join(place.directory, DISK_NAME),
      format: 'qcow2',
      readOnly: false,
      sizeBytes: record.virtualSizeBytes,
      claim: claimFacts(claim),
    };
  }

  private async containerDisk(
    source: kubevirt.ContainerDiskSource,
    place: Place,
    signal: AbortSignal,
  ): Promise<Omit<PreparedVolume, 'name'>> {
    const path = join(place.directory, DISK_NAME);
    const image = await this.deps.images.get(
      {
        reference: source.image,
        pullPolicy: (await exists(path)) ? 'IfNotPresent' : source.imagePullPolicy,
        ...(source.imagePullSecret && {
          pullSecret: { namespace: place.vmi.metadata.namespace ?? '', name: source.imagePullSecret },
        }),
      },
      signal,
    );
    // an overlay that exists belongs to the running guest: the agent was restarted
    if (!(await exists(path))) await this.deps.store.overlayOn(image, place.directory, signal);
    await this.give(path, place.sandbox);
    return { path, format: 'qcow2', readOnly: false, sizeBytes: image.sizeBytes };
  }

  private async emptyDisk(sizeBytes: number, place: Place): Promise<Omit<PreparedVolume, 'name'>> {
    if (sizeBytes <= 0) throw new VolumeError('FailedMount', 'An emptyDisk needs a capacity above zero');
    const path = join(place.directory, DISK_NAME);
    if (!(await exists(path))) await this.deps.store.makeBlankFile(path, sizeBytes);
    await this.give(path, place.sandbox);
    return { path, format: 'raw', readOnly: false, sizeBytes };
  }

  /** A disk that the agent writes and the guest reads. */
  private async metricsDisk({ directory, sandbox }: Place): Promise<Omit<PreparedVolume, 'name'>> {
    const path = join(directory, DISK_NAME);
    if (!(await exists(path))) await this.deps.store.makeBlankFile(path, METRICS_DISK_BYTES);
    await chown(path, 0, sandbox.uid);
    await chmod(path, 0o640);
    return { path, format: 'raw', readOnly: true, sizeBytes: METRICS_DISK_BYTES };
  }

  private async configDisk(bytes: Uint8Array, place: Place): Promise<Omit<PreparedVolume, 'name'>> {
    const path = join(place.directory, DISK_NAME);
    // the running guest keeps what it has; it may write, into this copy of its own: SATA and USB disks cannot be read-only
    if (!(await exists(path))) {
      const whole = `${path}.new`;
      await writeFile(whole, padded(bytes), { mode: 0o600 });
      await this.give(whole, place.sandbox);
      await rename(whole, path);
    }
    return { path, format: 'raw', readOnly: false, sizeBytes: padded(bytes).length };
  }

  private async filledVolume(
    claimName: string,
    namespace: string,
    signal: AbortSignal,
  ): Promise<{ claim: PersistentVolumeClaim; volumeUid: string; record: VolumeRecord }> {
    const { claim, volume } = await boundVolume(this.deps.client, { namespace, name: claimName }, signal);
    await this.checkPopulated(claim, signal);
    const volumeUid = volumeUidOf(volume);
    const record = await this.deps.store.get(volumeUid);
    if (record.state === 'filling')
      throw new VolumeError('FailedMount', `The disk of claim "${claimName}" is still being filled`);
    return { claim, volumeUid, record };
  }

  /** The launcher may be the first consumer of a claim: then the disk is here before its content is. */
  private async checkPopulated({ metadata }: PersistentVolumeClaim, signal: AbortSignal): Promise<void> {
    const { name = '', namespace = '', annotations = {} } = metadata;
    const isImport = [IMPORT_SOURCE, IMPORT_ENDPOINT, UPLOAD_TARGET].some((key) => annotations[key] !== undefined);
    if (isImport && annotations[POD_PHASE] === 'Succeeded') return;
    const isPending = isImport && annotations[POPULATED_FOR] === undefined;
    const owner = metadata.ownerReferences?.find(({ kind }) => kind === 'DataVolume');
    const dataVolume =
      owner && (await this.deps.client.get(DataVolumeKind, { namespace, name: owner.name }, { signal }).catch(ignoreNotFound));
    const isFilling = dataVolume !== undefined && dataVolume.status?.phase !== 'Succeeded';
    if (isPending || isFilling) throw new VolumeError('FailedMount', `The disk of claim "${name}" is still being filled`);
  }

  /** A directory that root alone can change and the sandbox alone can look into. */
  private async makeShared(directory: string, { uid }: Sandbox): Promise<void> {
    await makeDirectory(directory, 0o710);
    await chown(directory, 0, uid);
  }

  private async give(path: string, { uid }: Sandbox): Promise<void> {
    await chown(path, uid, uid);
  }
}

/** QEMU writes disks whole sectors of the storage at a time, which on some is 4 KiB. */
function padded(bytes: Uint8Array): Uint8Array {
  const SECTOR_BYTES = 4096;
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & (SECTOR_BYTES - 1))]);
}

/** For a node that runs no guests. */
const noGuests = (isGone: (podUid: string) => boolean): LiveDisks => ({
  isGone,
  writtenFile: () => Promise.resolve(undefined),
  pivot: () => Promise.reject(new Error('This node runs no guests')),
});

const unreachable = (): Promise<never> => Promise.reject(new Error('The volume controllers reach no node'));

/** Whether the volume's disk may be written by several VMs at once. */
const isShareable = ({ spec }: VirtualMachineInstance, { name }: kubevirt.Volume): boolean =>
  (spec.domain.devices.disks ?? []).some((disk) => disk.name === name && disk.shareable === true);

const claimFacts = ({ metadata, spec }: PersistentVolumeClaim): NonNullable<PreparedVolume['claim']> => ({
  claimName: metadata.name ?? '',
  volumeMode: spec?.volumeMode ?? 'Filesystem',
  accessModes: spec?.accessModes ?? [],
});

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
