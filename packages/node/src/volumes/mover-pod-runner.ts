import {
  CDIConfigKind,
  isLocalProvisioner,
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
} from '@slipway/api';
import { ignoreNotFound, keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { backOffDelay, type Logger, sleep, type TimerClock } from '@slipway/runtime';
import type { PodRunner } from '../contracts.ts';
import { importDirectory, removeImportDirectory } from './import-directory.ts';
import { moverEnvironment } from './mover-input.ts';
import type { MoverLauncher, MoverOutcome, MoverRecord } from './mover-launcher.ts';
import { moverPodStatus, type MoverState } from './mover-status.ts';
import { PROVISIONED_BY } from './provision-plan.ts';
import { volumeUidOf } from './local-volume.ts';
import type { UploadIntakes } from './upload-intake.ts';
import { VolumeError } from './volume-error.ts';
import type { VolumeStore } from './volume-store.ts';

/** Percent, bytes, rate and time left of a transfer, as the mover printed them. */
export const PROGRESS_ANNOTATION = 'slipway.dev/progress';
/** On CDIConfig `config`: addresses that imports may reach although they are loopback, link-local or metadata. */
export const ALLOWED_ADDRESSES_ANNOTATION = 'slipway.dev/allowed-import-addresses';
/** On CDIConfig `config`: directories of the node whose images may be imported. */
export const ALLOWED_DIRECTORIES_ANNOTATION = 'slipway.dev/allowed-import-directories';

export interface MoverRunnerDeps {
  readonly client: Client;
  readonly launcher: MoverLauncher;
  readonly store: VolumeStore;
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
  /** Nothing of this pod is left: its hold on a disk is void. */
  readonly isPodGone: (podUid: string) => boolean;
  /** Exceptions that the administrator of this node made on the command line. */
  readonly allowedAddresses: readonly string[];
  /** For movers that are sent their bytes. */
  readonly uploads?: UploadIntakes;
}

const RESTART = { baseMs: 1000, maxMs: 60_000, jitter: 0.2 };
const STOP_GRACE_MS = 5000;

/** Runs data mover pods as processes; one instance per image, sharing everything else. */
export class MoverPodRunner implements PodRunner {
  readonly image: string;
  private readonly deps: MoverRunnerDeps;
  private readonly running = new Map<string, { readonly abort: AbortController; readonly ended: Promise<void> }>();

  constructor(image: string, deps: MoverRunnerDeps) {
    this.image = image;
    this.deps = deps;
  }

  async sync(pod: Pod, signal: AbortSignal): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    const isFinished = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    if (isFinished || this.running.has(uid)) return;
    const abort = new AbortController();
    const either = AbortSignal.any([signal, abort.signal]);
    const ended = this.run(pod, either)
      .catch(async (error: unknown) => {
        if (either.aborted) return;
        await this.reportWaiting(pod, error, either);
      })
      .finally(() => this.running.delete(uid));
    this.running.set(uid, { abort, ended });
  }

  async terminate(pod: Pod, signal: AbortSignal): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    const current = this.running.get(uid);
    current?.abort.abort();
    await current?.ended;
    await this.deps.launcher.stop(uid, STOP_GRACE_MS, signal);
    await this.deps.uploads?.close(uid);
    await this.releaseVolumes(uid);
    await this.deps.launcher.forget(uid);
    await this.deps.client
      .delete(PodKind, keyOf(pod), { gracePeriodSeconds: 0, preconditions: { uid }, signal })
      .catch(ignoreNotFound);
  }

  /** Until the pod has reached its final phase. Starts the mover or finds the one that is running. */
  private async run(pod: Pod, signal: AbortSignal): Promise<void> {
    const { launcher, clock, random } = this.deps;
    const id = pod.metadata.uid ?? '';
    let record = await launcher.read(id);
    for (;;) {
      if (record === undefined || record.outcome !== undefined) {
        const failures = (record?.restarts ?? -1) + 1;
        if (record?.outcome !== undefined) {
          if (await this.isFinal(pod, record, signal)) return;
          await sleep(clock, backOffDelay(failures, RESTART, random), signal);
        }
        record = await this.start(pod, failures, signal);
      }
      await this.reportRunning(pod, record, signal);
      const outcome = await launcher.wait(id, record, (line) => this.reportProgress(pod, line, signal), signal);
      record = { ...record, outcome, endedAtMs: clock.now() };
      await this.finishVolume(id, outcome);
      await launcher.write(id, record);
    }
  }

  /** A mover that is sent its bytes is ready when it has connected; it does so again when the agent was restarted. */
  private async reportRunning(pod: Pod, record: MoverRecord, signal: AbortSignal): Promise<void> {
    const { uploads, launcher, log } = this.deps;
    const id = pod.metadata.uid ?? '';
    if (uploads === undefined) return this.report(pod, { kind: 'running' }, record, signal);
    await this.report(pod, { kind: 'running', isReady: false }, record, signal);
    let isReported = false;
    const onReady = (): void => {
      if (isReported) return;
      isReported = true;
      this.report(pod, { kind: 'running' }, record, signal).catch((error: unknown) => {
        isReported = false; // the next connection tells it
        if (!signal.aborted) log.warn({ pod: pod.metadata.name, error: String(error) }, 'upload server not reported as ready');
      });
    };
    await uploads.open(id, launcher.directory(id), record.uid, onReady);
  }

  /** Reports an ended process; true when it stays ended. */
  private async isFinal(pod: Pod, record: MoverRecord, signal: AbortSignal): Promise<boolean> {
    const { outcome } = record;
    if (outcome === undefined) return false;
    const policy = pod.spec?.restartPolicy ?? 'Always';
    const restarts = policy === 'Always' || (policy === 'OnFailure' && outcome.exitCode !== 0);
    if (!restarts) {
      await this.releaseVolumes(pod.metadata.uid ?? '');
      await this.report(pod, { kind: 'terminated', outcome }, record, signal);
      return true;
    }
    const message = `back-off restarting failed container: ${outcome.message}`;
    await this.report(pod, { kind: 'waiting', reason: 'CrashLoopBackOff', message }, record, signal);
    return false;
  }

  private async start(pod: Pod, restarts: number, signal: AbortSignal): Promise<MoverRecord> {
    const { launcher, store, client } = this.deps;
    const id = pod.metadata.uid ?? '';
    const volumeUid = await this.volumeOf(pod, signal);
    const uid = await launcher.reserve(id);
    const env = await moverEnvironment(pod, { client, directory: launcher.directory(id), uid }, signal);
    if (volumeUid === undefined)
      return launcher.start(id, { args: ['poll', ...(await this.policyArguments(signal))], env }, restarts);
    const attachment = { podUid: id, uid, holder: `pod ${pod.metadata.namespace}/${pod.metadata.name}` };
    const { virtualSizeBytes } = await store.attach(volumeUid, attachment, this.deps.isPodGone, signal);
    await store.update(volumeUid, (record) => ({ ...record, state: 'filling' }));
    const work = await importDirectory(store.directory(volumeUid), uid);
    const args = ['--target', store.diskPath(volumeUid), '--work', work, '--size', String(virtualSizeBytes)];
    // the files of an archive come in place of a disk
    if (env['IMPORTER_CONTENTTYPE'] === 'archive') args.push('--files', await store.filesDirectory(volumeUid, attachment));
    const intake = this.deps.uploads && ['--intake', this.deps.uploads.path(launcher.directory(id))];
    return launcher.start(id, { args: [...args, ...(intake ?? []), ...(await this.policyArguments(signal))], env }, restarts);
  }

  /** What a mover may reach is the administrator's to say, so it never comes from the pod. */
  private async policyArguments(signal: AbortSignal): Promise<string[]> {
    return moverPolicy(this.deps.client, this.deps.allowedAddresses, signal);
  }

  /** Nothing for a pod that only asks its source whether it has changed. */
  private async volumeOf(pod: Pod, signal: AbortSignal): Promise<string | undefined> {
    const claimName = pod.spec?.volumes?.find((volume) => volume.persistentVolumeClaim)?.persistentVolumeClaim?.claimName;
    if (claimName === undefined) return undefined;
    const { volume } = await boundVolume(this.deps.client, { namespace: pod.metadata.namespace ?? '', name: claimName }, signal);
    return volumeUidOf(volume);
  }

  private async finishVolume(podUid: string, { result }: MoverOutcome): Promise<void> {
    if (result === undefined) return;
    for (const volumeUid of await this.volumesOf(podUid)) {
      // first, so that no later transfer goes on with the journal of this one; a killed mover could not do it itself
      await removeImportDirectory(this.deps.store.directory(volumeUid));
      await this.deps.store.update(volumeUid, (record) => ({ ...record, state: 'ready', format: 'raw', chain: [] }));
    }
  }

  private async releaseVolumes(podUid: string): Promise<void> {
    for (const volumeUid of await this.volumesOf(podUid)) await this.deps.store.detach(volumeUid, podUid);
  }

  private async volumesOf(podUid: string): Promise<readonly string[]> {
    const all = await this.deps.store.list();
    const records = await Promise.all(all.map(async (uid) => ({ uid, record: await this.deps.store.read(uid) })));
    return records.flatMap(({ uid, record }) => (record?.writer?.podUid === podUid ? [uid] : []));
  }

  private async report(pod: Pod, state: MoverState, record: MoverRecord | undefined, signal: AbortSignal): Promise<void> {
    const status = moverPodStatus(pod, state, record);
    await this.deps.client
      .patch(PodKind, keyOf(pod), { status }, { type: 'merge', subresource: 'status', signal })
      .catch(ignoreNotFound);
  }

  private async reportWaiting(pod: Pod, error: unknown, signal: AbortSignal): Promise<void> {
    const reason = error instanceof VolumeError ? error.reason : 'CreateContainerError';
    const message = error instanceof Error ? error.message : String(error);
    this.deps.log.warn({ pod: pod.metadata.name, error: message }, 'data mover cannot start');
    const record = await this.deps.launcher.read(pod.metadata.uid ?? '');
    await this.report(pod, { kind: 'waiting', reason, message }, record, signal).catch(() => {});
    // the cause may go away without a change of the pod
    await sleep(this.deps.clock, RESTART.baseMs * 2, signal).catch(() => {});
    if (!signal.aborted)
      await this.run(pod, signal).catch((again: unknown) =>
        signal.aborted ? undefined : this.reportWaiting(pod, again, signal),
      );
  }

  private reportProgress(pod: Pod, line: string, signal: AbortSignal): void {
    const patch = { metadata: { annotations: { [PROGRESS_ANNOTATION]: line.slice(0, 512) } } };
    this.deps.client.patch(PodKind, keyOf(pod), patch, { type: 'merge', signal }).catch((error: unknown) => {
      if (!signal.aborted) this.deps.log.debug({ pod: pod.metadata.name, error: String(error) }, 'progress not reported');
    });
  }
}

/** Arguments from CDIConfig and from the node's own settings. */
export async function moverPolicy(client: Client, allowedAddresses: readonly string[], signal: AbortSignal): Promise<string[]> {
  const config = await client.get(CDIConfigKind, { namespace: '', name: 'config' }, { signal }).catch(ignoreNotFound);
  const listed = (annotation: string): string[] =>
    (config?.metadata.annotations?.[annotation] ?? '').split(',').flatMap((text) => text.trim() || []);
  const addresses = [...allowedAddresses, ...listed(ALLOWED_ADDRESSES_ANNOTATION)];
  return [
    ...listed(ALLOWED_DIRECTORIES_ANNOTATION).flatMap((directory) => ['--allow-directory', directory]),
    ...addresses.flatMap((address) => ['--allow-address', address]),
    ...(config?.spec.insecureRegistries ?? []).flatMap((registry) => ['--insecure-registry', registry]),
  ];
}

/** The local volume of a claim. Throws VolumeError while there is none. */
export async function boundVolume(
  client: Client,
  key: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<{ claim: PersistentVolumeClaim; volume: PersistentVolume }> {
  const claim = await client.get(PersistentVolumeClaimKind, key, { signal }).catch(ignoreNotFound);
  if (claim === undefined) throw new VolumeError('FailedMount', `persistentvolumeclaim "${key.name}" not found`);
  const name = claim.spec?.volumeName;
  if (!name || claim.status?.phase !== 'Bound')
    throw new VolumeError('FailedMount', `persistentvolumeclaim "${key.name}" is not bound yet`);
  const volume = await client.get(PersistentVolumeKind, { namespace: '', name }, { signal });
  if (volume.spec?.claimRef?.uid !== claim.metadata.uid)
    throw new VolumeError('FailedMount', `volume "${name}" belongs to another claim`);
  if (!isLocalProvisioner(volume.metadata.annotations?.[PROVISIONED_BY]))
    throw new VolumeError(
      'FailedMount',
      `volume "${name}" is of no provisioner of node-local volumes, the only ones this node can use`,
    );
  return { claim, volume };
}
