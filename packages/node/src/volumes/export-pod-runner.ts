import { PassThrough, pipeline, type Duplex, type Readable } from 'node:stream';
import { ExportVerb, type Pod, PodKind } from '@slipway/api';
import { ignoreNotFound, keyOf, notFound, StatusError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type Logger, type NodeHandlers, sleep, type TimerClock } from '@slipway/runtime';
import type { PodRunner } from '../contracts.ts';
import { attachClaims } from './attach-claims.ts';
import { type DiskRange, readDisk } from './disk-reader.ts';
import type { MoverLauncher } from './mover-launcher.ts';
import { moverPodStatus } from './mover-status.ts';
import { VolumeError } from './volume-error.ts';
import type { VolumeStore } from './volume-store.ts';

export interface ExportRunnerDeps {
  readonly client: Client;
  readonly launcher: MoverLauncher;
  readonly store: VolumeStore;
  readonly clock: TimerClock;
  readonly log: Logger;
  readonly isPodGone: (podUid: string) => boolean;
}

interface Held {
  readonly uid: number;
  /** Volume uid by claim name. */
  readonly volumes: ReadonlyMap<string, string>;
}

const RETRY_MS = 2_000;

/** Holds the disks of an export, so that nobody writes them meanwhile, and reads them for the server. */
export class ExportPodRunner implements PodRunner {
  readonly image = 'slipway/virt-exporter';
  private readonly deps: ExportRunnerDeps;
  private readonly held = new Map<string, Held>();
  private readonly starting = new Map<string, AbortController>();

  constructor(deps: ExportRunnerDeps) {
    this.deps = deps;
  }

  async sync(pod: Pod, signal: AbortSignal): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    if (this.held.has(uid) || this.starting.has(uid)) return;
    const abort = new AbortController();
    this.starting.set(uid, abort);
    this.start(pod, AbortSignal.any([signal, abort.signal]))
      .catch((error: unknown) => {
        if (!signal.aborted && !abort.signal.aborted)
          this.deps.log.warn({ pod: pod.metadata.name, error: String(error) }, 'exporter not started');
      })
      .finally(() => this.starting.delete(uid));
  }

  async terminate(pod: Pod, signal: AbortSignal): Promise<void> {
    const { client, launcher, store } = this.deps;
    const uid = pod.metadata.uid ?? '';
    this.starting.get(uid)?.abort(new Error('The pod is being deleted'));
    this.held.delete(uid);
    for (const volumeUid of await store.list()) await store.detach(volumeUid, uid);
    await launcher.forget(uid);
    await client.delete(PodKind, keyOf(pod), { gracePeriodSeconds: 0, preconditions: { uid }, signal }).catch(ignoreNotFound);
  }

  /** Bytes of a disk that this pod holds. Throws StatusError 404 for any other. */
  async read(podUid: string, claim: string, range: DiskRange): Promise<Readable> {
    const { store, launcher, clock } = this.deps;
    const { uid, volumeUid } = this.find(podUid, claim);
    const record = await store.get(volumeUid);
    const place = {
      path: store.activePath(volumeUid, record),
      format: record.format,
      hasLayers: record.chain.length > 0,
      uid,
      directory: launcher.directory(podUid),
    };
    return readDisk(place, range, clock);
  }

  async sizeOf(podUid: string, claim: string): Promise<number> {
    return (await this.deps.store.get(this.find(podUid, claim).volumeUid)).virtualSizeBytes;
  }

  private find(podUid: string, claim: string): { readonly uid: number; readonly volumeUid: string } {
    const held = this.held.get(podUid);
    const volumeUid = held?.volumes.get(claim);
    if (held === undefined || volumeUid === undefined) throw notFound({ group: '', resource: 'persistentvolumeclaims' }, claim);
    return { uid: held.uid, volumeUid };
  }

  private async start(pod: Pod, signal: AbortSignal): Promise<void> {
    const { launcher, clock } = this.deps;
    const id = pod.metadata.uid ?? '';
    for (;;) {
      try {
        const uid = await launcher.reserve(id);
        this.held.set(id, { uid, volumes: await attachClaims(this.deps, pod, uid, signal) });
        const record = { uid, restarts: 0, startedAtMs: clock.now() };
        await this.report(pod, moverPodStatus(pod, { kind: 'running' }, record), signal);
        return;
      } catch (error) {
        signal.throwIfAborted();
        const reason = error instanceof VolumeError ? error.reason : 'CreateContainerError';
        const message = error instanceof Error ? error.message : String(error);
        await this.report(pod, moverPodStatus(pod, { kind: 'waiting', reason, message }, undefined), signal);
        await sleep(clock, RETRY_MS, signal);
      }
    }
  }

  private async report(pod: Pod, status: NonNullable<Pod['status']>, signal: AbortSignal): Promise<void> {
    await this.deps.client
      .patch(PodKind, keyOf(pod), { status }, { type: 'merge', subresource: 'status', signal })
      .catch(ignoreNotFound);
  }
}

/** Adds the disks of exporter pods to what a node answers. */
export function withExports(handlers: NodeHandlers, exporter: Pick<ExportPodRunner, 'read' | 'sizeOf'>): NodeHandlers {
  const [text, count] = [
    (value: unknown): string => (typeof value === 'string' ? value : ''),
    (value: unknown): number => {
      if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
      throw new StatusError({ code: 400, reason: 'BadRequest', message: 'A range needs an offset and a length' });
    },
  ];
  return {
    async call(call, signal) {
      if (call.verb !== ExportVerb.info) return handlers.call(call, signal);
      return { sizeBytes: await exporter.sizeOf(text(call.params['podUid']), text(call.params['claim'])) };
    },
    async open(call, signal) {
      if (call.verb !== ExportVerb.read) return handlers.open(call, signal);
      const { podUid, claim, offset, length } = call.params;
      return oneWay(await exporter.read(text(podUid), text(claim), { offset: count(offset), length: count(length) }));
    },
  };
}

/** A stream that the other side only reads. One that fails is cut off, so that nobody takes its part for the whole. */
function oneWay(source: Readable): Duplex {
  const out = new PassThrough();
  pipeline(source, out, () => {});
  return out;
}
