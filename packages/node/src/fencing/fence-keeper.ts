import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { NodeKind, PersistentVolumeClaimKind, PersistentVolumeKind, type Pod, PodKind } from '@slipway/api';
import { keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { writeFileAtomic } from '@slipway/hostapi';
import type { Informer, Logger } from '@slipway/runtime';
import { ARMED, DISARMED, fenceAfterSeconds, FencingAnnotation } from '@slipway/virt';
import { readSandboxRecords } from '../sandbox/index.ts';
import { deadlineText, type FencedGuest, planFencing } from './plan-fencing.ts';

export interface FenceKeeperDeps {
  readonly client: Client;
  readonly nodeName: string;
  readonly stateDir: string;
  readonly pods: Informer<Pod>;
  /** Also the time after which the server calls a silent node unreachable. */
  readonly leaseSeconds: number;
  readonly log: Logger;
}

/** Files that agent and watchdog share. */
export const fenceDirectory = (stateDir: string): string => join(stateDir, 'fence');

/** What was promised is kept, also when the pod tolerates more by now: the server may have read it already. */
function notLater({ metadata }: Pod, seconds: number | undefined): number | undefined {
  const promised = Number(metadata.annotations?.[FencingAnnotation.pod] || Number.NaN);
  return Number.isNaN(promised) ? seconds : Math.min(promised, seconds ?? promised);
}

/** A watchdog that has not shown itself for longer does not count. */
const WATCHDOG_MS = 5_000;

/** Milliseconds since the machine started, which nobody can set. */
export async function uptimeMs(): Promise<number> {
  return Math.floor(Number((await readFile('/proc/uptime', 'utf8')).split(' ')[0]) * 1000);
}

/**
 * Tells the watchdog of this node when each guest must end, and the server what it may rely on. A guest is promised to end
 * only after the watchdog has been told.
 */
export class FenceKeeper {
  readonly #deps: FenceKeeperDeps;
  readonly #directory: string;
  readonly #isBound = new Map<string, boolean>();
  #renewedMs: number | undefined;
  #told: string | undefined;
  #isStopped = false;

  constructor(deps: FenceKeeperDeps) {
    this.#deps = deps;
    this.#directory = fenceDirectory(deps.stateDir);
  }

  /** The lease was renewed by a request that was sent then. */
  async renewed(sentMs: number, signal: AbortSignal): Promise<void> {
    this.#renewedMs = sentMs;
    await this.update(signal);
  }

  /** Looks at the guests again; called whenever one may have come. */
  async update(signal: AbortSignal): Promise<void> {
    if (this.#isStopped) return;
    const { pods, leaseSeconds } = this.#deps;
    await pods.whenSynced();
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const guests = await this.#guests(signal);
    const inputs = {
      nowMs: await uptimeMs(),
      renewedMs: this.#renewedMs,
      leaseSeconds,
      isWatched: await this.#isWatched(),
      guests,
    };
    const plan = planFencing(inputs);
    if (plan.state !== 'disarmed') await writeFileAtomic(join(this.#directory, 'deadlines'), deadlineText(plan.deadlines));
    await this.#tell(plan.state === 'disarmed' ? DISARMED : ARMED, signal);
    if (plan.state !== 'disarmed') for (const guest of guests) await this.#promise(guest, signal);
  }

  /** Before an agent that is told to stop leaves its guests alone. Guests have no deadline any more when it resolves. */
  async standDown(signal: AbortSignal): Promise<void> {
    this.#isStopped = true;
    await this.#tell(DISARMED, signal);
    await rm(join(this.#directory, 'deadlines'), { force: true });
  }

  async #isWatched(): Promise<boolean> {
    const alive = Number(await readFile(join(this.#directory, 'alive'), 'utf8').catch(() => '0'));
    return (await uptimeMs()) - alive < WATCHDOG_MS;
  }

  async #guests(signal: AbortSignal): Promise<readonly FencedGuest[]> {
    const { pods, stateDir, leaseSeconds } = this.#deps;
    const records = await readSandboxRecords(stateDir);
    const byUid = new Map(pods.lister.list().map((pod) => [pod.metadata.uid ?? '', pod]));
    const guests: FencedGuest[] = [];
    for (const { podUid, init, guest } of records) {
      const pod = byUid.get(podUid);
      if (guest === undefined || pod === undefined || init.pid === 0) continue;
      const isBound = await this.#isBoundHere(pod, signal);
      const seconds = isBound ? undefined : fenceAfterSeconds(pod, leaseSeconds);
      guests.push({ podUid, init, fenceAfterSeconds: notLater(pod, seconds) });
    }
    return guests;
  }

  /** Whether a volume of the pod can be used on this node alone. It has all of its volumes: it runs. */
  async #isBoundHere(pod: Pod, signal: AbortSignal): Promise<boolean> {
    const uid = pod.metadata.uid ?? '';
    const known = this.#isBound.get(uid);
    if (known !== undefined) return known;
    const names = (pod.spec?.volumes ?? []).flatMap(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName ?? []);
    let isBound = false;
    for (const name of names) {
      const claim = await this.#deps.client.get(
        PersistentVolumeClaimKind,
        { namespace: pod.metadata.namespace ?? '', name },
        { signal },
      );
      const volumeName = claim.spec?.volumeName ?? '';
      // not bound yet: look again
      if (volumeName === '') return true;
      const volume = await this.#deps.client.get(PersistentVolumeKind, { namespace: '', name: volumeName }, { signal });
      isBound ||= volume.spec?.nodeAffinity?.required !== undefined;
    }
    this.#isBound.set(uid, isBound);
    return isBound;
  }

  async #tell(state: string, signal: AbortSignal): Promise<void> {
    if (this.#told === state) return;
    const patch = { metadata: { annotations: { [FencingAnnotation.node]: state } } };
    await this.#deps.client.patch(NodeKind, { namespace: '', name: this.#deps.nodeName }, patch, { type: 'merge', signal });
    this.#told = state;
    this.#deps.log.info({ node: this.#deps.nodeName, fencing: state }, 'fencing changed');
  }

  async #promise({ podUid, fenceAfterSeconds: seconds }: FencedGuest, signal: AbortSignal): Promise<void> {
    const pod = this.#deps.pods.lister.list().find(({ metadata }) => metadata.uid === podUid);
    if (pod === undefined || pod.metadata.deletionTimestamp !== undefined) return;
    const said = pod.metadata.annotations?.[FencingAnnotation.pod];
    const wanted = seconds === undefined ? undefined : String(seconds);
    if (said === wanted) return;
    const patch = { metadata: { uid: podUid, annotations: { [FencingAnnotation.pod]: wanted ?? null } } };
    await this.#deps.client.patch(PodKind, keyOf(pod), patch, { type: 'merge', signal });
  }
}
