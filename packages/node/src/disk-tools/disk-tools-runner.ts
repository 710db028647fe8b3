import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { type Pod, PodKind } from '@slipway/api';
import { conflict, ignoreNotFound, keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type Logger, sleep, type TimerClock } from '@slipway/runtime';
import type { PodRunner } from '../contracts.ts';
import type { SandboxManager } from '../sandbox/index.ts';
import { type ClaimDisk, moverPodStatus, type PodClaims, VolumeError } from '../volumes/index.ts';
import { APPLIANCE, shellCommand } from './shell-command.ts';

/** What `virtctl guestfs` asks for. */
export const DISK_TOOLS_IMAGE = 'slipway/libguestfs-tools';

export interface DiskToolsDeps {
  readonly client: Client;
  readonly sandboxes: Pick<SandboxManager, 'create' | 'find' | 'destroy'>;
  readonly claims: PodClaims;
  readonly clock: TimerClock;
  readonly log: Logger;
}

const RETRY_MS = 2_000;
const GUESTFISH = '/usr/bin/guestfish';

/**
 * Pods with the tools for disk images: a sandbox without a network, an unprivileged user, the programs of this host, and
 * the disk of the claim. Whoever attaches to the pod gets a shell in it.
 */
export class DiskToolsRunner implements PodRunner {
  readonly image = DISK_TOOLS_IMAGE;
  private readonly deps: DiskToolsDeps;
  private readonly started = new Map<string, AbortController>();
  private readonly disks = new Map<string, readonly ClaimDisk[]>();

  constructor(deps: DiskToolsDeps) {
    this.deps = deps;
  }

  async sync(pod: Pod, signal: AbortSignal): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    if (this.started.has(uid)) return;
    const abort = new AbortController();
    this.started.set(uid, abort);
    this.start(pod, AbortSignal.any([signal, abort.signal])).catch((error: unknown) => {
      if (!signal.aborted && !abort.signal.aborted)
        this.deps.log.warn({ pod: pod.metadata.name, error: String(error) }, 'disk tools not started');
    });
  }

  /** What runs for those who attach to the pod. Throws StatusError when it does not run. */
  async commandOf(pod: Pod): Promise<readonly string[]> {
    const disks = this.disks.get(pod.metadata.uid ?? '');
    if (disks === undefined) throw conflict({ group: '', resource: 'pods' }, pod.metadata.name ?? '', 'the pod is not running');
    const hasGuestfish = await Promise.all([
      access(GUESTFISH, constants.X_OK),
      access(`${APPLIANCE}/kernel`, constants.R_OK),
    ]).then(
      () => true,
      () => false,
    );
    return shellCommand(disks, hasGuestfish);
  }

  async terminate(pod: Pod, signal: AbortSignal): Promise<void> {
    const { client, sandboxes, claims } = this.deps;
    const uid = pod.metadata.uid ?? '';
    this.started.get(uid)?.abort(new Error('The pod is being deleted'));
    this.started.delete(uid);
    this.disks.delete(uid);
    await sandboxes.destroy(uid);
    await claims.detach(uid);
    await client.delete(PodKind, keyOf(pod), { gracePeriodSeconds: 0, preconditions: { uid }, signal }).catch(ignoreNotFound);
  }

  private async start(pod: Pod, signal: AbortSignal): Promise<void> {
    const { clock } = this.deps;
    for (;;) {
      try {
        await this.prepare(pod, signal);
        return await this.report(pod, moverPodStatus(pod, { kind: 'running' }, record(clock)), signal);
      } catch (error) {
        signal.throwIfAborted();
        const reason = error instanceof VolumeError ? error.reason : 'CreateContainerError';
        const message = error instanceof Error ? error.message : String(error);
        await this.report(pod, moverPodStatus(pod, { kind: 'waiting', reason, message }, undefined), signal);
        await sleep(clock, RETRY_MS, signal);
      }
    }
  }

  /** A sandbox that stands already is that of an agent before this one. */
  private async prepare(pod: Pod, signal: AbortSignal): Promise<void> {
    const { sandboxes, claims } = this.deps;
    const podUid = pod.metadata.uid ?? '';
    const request = { podUid, hostname: pod.metadata.name?.slice(0, 63) ?? 'guestfs' };
    const sandbox = (await sandboxes.find(podUid)) ?? (await sandboxes.create(request, signal));
    const disks = await claims.attach(pod, sandbox.uid, signal);
    this.disks.set(podUid, disks);
  }

  private async report(pod: Pod, status: NonNullable<Pod['status']>, signal: AbortSignal): Promise<void> {
    await this.deps.client
      .patch(PodKind, keyOf(pod), { status }, { type: 'merge', subresource: 'status', signal })
      .catch(ignoreNotFound);
  }
}

const record = (clock: TimerClock) => ({ uid: 0, restarts: 0, startedAtMs: clock.now() });
