import { setMaxListeners } from 'node:events';
import { isConflict, keyOf, keyString, type KubeObject, type ObjectKey, TerminalError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { sleep, type TimerClock } from './clock.ts';
import type { Controller, ControllerDeps, ControllerRegistration, PlatformSettings, Predicate } from './controller.ts';
import { withCorrelation } from './correlation.ts';
import { CoreEventRecorder } from './event-recorder.ts';
import type { Informer, InformerEvent } from './informer.ts';
import { InformerFactory, trackingInformers } from './informer-factory.ts';
import type { Logger } from './logger.ts';
import { everyMetric, type MetricFamily, type MetricFilter } from './metric-family.ts';
import type { NodeConnector } from './node-connector.ts';
import { QueueMetrics } from './queue-metrics.ts';
import type { Reconciler } from './reconciler.ts';
import { WorkQueue } from './work-queue.ts';

export interface ControllerManagerDeps {
  /** The client of each controller; the name lets the daemon give each its own identity. */
  readonly clientFor: (controller: string) => Client;
  readonly clock: TimerClock;
  readonly log: Logger;
  readonly random: () => number;
  readonly uid: () => string;
  readonly nodes: NodeConnector;
  readonly settings: PlatformSettings;
  /** Node on whose behalf the controllers act: a server lets a node report events as its own only. */
  readonly host?: string;
  /** What stands before `workqueue_` in the names of a controller's metrics; nothing by default. */
  readonly queuePrefix?: (controller: string) => string;
  /** Lets the rest of the process go on between the starts of two caches or controllers. Absent: all start in a row. */
  readonly nextTurn?: () => Promise<void>;
}

interface Hosted {
  readonly name: string;
  readonly controller: Controller;
  readonly queue: WorkQueue;
  readonly events: CoreEventRecorder;
  readonly informers: ReadonlySet<Informer<KubeObject>>;
  readonly log: Logger;
}

/** Counters of one controller since start. */
export interface ControllerMetrics {
  readonly name: string;
  reconciles: number;
  failures: number;
}

const INSTALL_RETRY_MS = 250;

/** A retry that failed more often than this is a lasting failure: `settle` does not wait for it. */
const SETTLE_MAX_FAILURES = 4;

/** Runs controllers on shared informers. */
export class ControllerManager {
  readonly informers: InformerFactory;
  private readonly hosted: Hosted[] = [];
  private readonly counters = new Map<string, ControllerMetrics>();
  private readonly queueMetrics = new Map<string, QueueMetrics>();
  private readonly waiting = new Set<() => void>();
  private activity = 0;
  private turn: Promise<void> = Promise.resolve();
  private installing: Promise<void> = Promise.resolve();
  private isInstalled = false;
  private workers: Promise<void>[] = [];

  private readonly deps: ControllerManagerDeps;

  constructor(deps: ControllerManagerDeps) {
    this.deps = deps;
    const client = deps.clientFor('informers');
    this.informers = new InformerFactory({ ...deps, client, onActivity: () => this.onActivity() });
  }

  register({ name, create }: ControllerRegistration): void {
    const { clock, random, uid, nodes, settings, host } = this.deps;
    const log = this.deps.log.child({ controller: name });
    const client = this.deps.clientFor(name);
    const onActivity = (): void => this.onActivity();
    const events = new CoreEventRecorder({ client, clock, log, component: name, onActivity, ...(host && { host }) });
    const informers = trackingInformers(this.informers);
    const deps: ControllerDeps = { client, informers, events, clock, log, random, uid, nodes, settings };
    const controller = create(deps);
    const queue = new WorkQueue({ clock, random, onActivity, observer: this.queueMetricsOf(name).observer(name) });
    this.counters.set(name, { name, reconciles: 0, failures: 0 });
    if (controller.kind) {
      const { predicate } = controller;
      connect(informers.for(controller.kind), queue, (object) => [keyOf(object)], predicate);
    }
    for (const watch of controller.watches ?? []) connect(informers.for(watch.kind), queue, watch.keysOf, watch.predicate);
    this.hosted.push({ name, controller, queue, events, informers: informers.used, log });
  }

  /** Starts everything that is registered; returns at once. */
  start(signal: AbortSignal): void {
    // one listener per worker and request is no leak
    setMaxListeners(0, signal);
    this.informers.start(signal, this.deps.nextTurn && (() => this.takeTurn()));
    this.installing = Promise.all(this.hosted.map((hosted) => this.install(hosted, signal))).then(() => {
      this.isInstalled = true;
      this.onActivity();
    });
    for (const hosted of this.hosted) this.workers.push(this.host(hosted, signal));
    signal.addEventListener(
      'abort',
      () => {
        for (const { queue } of this.hosted) queue.shutDown();
      },
      { once: true },
    );
  }

  /** Resolves when the objects exist that controllers start with, or after an abort. */
  installed(): Promise<void> {
    return this.installing;
  }

  /** Resolves when everything has ended after an abort. */
  async stopped(): Promise<void> {
    await Promise.all([...this.workers, this.installing, this.informers.stopped()]);
  }

  metrics(): readonly ControllerMetrics[] {
    return [...this.counters.values()];
  }

  /** Metrics of all controllers, those that are wanted and perhaps others. */
  async metricFamilies(wanted: MetricFilter = everyMetric): Promise<readonly MetricFamily[]> {
    const own = await Promise.all(this.hosted.map(async ({ controller }) => (await controller.metrics?.(wanted)) ?? []));
    const now = this.deps.clock.now();
    return [...own.flat(), ...[...this.queueMetrics.values()].flatMap((metrics) => metrics.families(now, wanted))];
  }

  private queueMetricsOf(controller: string): QueueMetrics {
    const prefix = this.deps.queuePrefix?.(controller) ?? '';
    const found = this.queueMetrics.get(prefix) ?? new QueueMetrics(prefix);
    this.queueMetrics.set(prefix, found);
    return found;
  }

  /** How many keys wait or are worked on, per controller. */
  queueLengths(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.hosted.map(({ name, queue }) => [name, queue.length]));
  }

  /**
   * Resolves when nothing is left to do: every event of the server has been delivered and every queue is empty.
   * Short retries are brought forward; keys that wait for a time stay waiting. For tests.
   */
  async settle(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const before = this.activity;
      if (!this.isIdle() || this.expediteRetries() > 0) {
        await this.nextActivity(before, signal);
        continue;
      }
      const caughtUp = await Promise.all(this.informers.all().map((informer) => informer.isCaughtUp(signal)));
      if (this.activity === before && caughtUp.every(Boolean)) return;
      if (this.activity === before) await this.nextActivity(before, signal);
    }
    signal.throwIfAborted();
  }

  private isIdle(): boolean {
    if (!this.isInstalled) return false;
    return this.hosted.every(({ controller, queue, events }) => queue.isIdle && events.isIdle && (controller.isIdle?.() ?? true));
  }

  private expediteRetries(): number {
    return this.hosted.reduce((sum, { queue }) => sum + queue.expediteRetries(SETTLE_MAX_FAILURES), 0);
  }

  private onActivity(): void {
    this.activity++;
    for (const wake of this.waiting) wake();
    this.waiting.clear();
  }

  private nextActivity(seen: number, signal: AbortSignal): Promise<void> {
    if (this.activity !== seen) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.waiting.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  private takeTurn(): Promise<void> {
    return (this.turn = this.turn.then(this.deps.nextTurn));
  }

  private async install({ controller, log }: Hosted, signal: AbortSignal): Promise<void> {
    while (controller.install && !signal.aborted) {
      try {
        return await controller.install(signal);
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ error: describe(error) }, 'cannot make its first objects yet');
        await sleep(this.deps.clock, INSTALL_RETRY_MS, signal).catch(() => {});
      }
    }
  }

  private async host(hosted: Hosted, signal: AbortSignal): Promise<void> {
    const { controller, queue, informers } = hosted;
    await Promise.race([Promise.all([...informers].map((informer) => informer.whenSynced())), aborted(signal)]);
    if (this.deps.nextTurn) await this.takeTurn();
    if (signal.aborted) return;
    const jobs: Promise<void>[] = [];
    if (controller.run) jobs.push(this.runBeside(hosted, controller.run, signal));
    const { reconciler } = controller;
    const workers = reconciler === undefined ? 0 : (controller.concurrency ?? 2);
    for (let index = 0; index < workers; index++) if (reconciler) jobs.push(this.work(hosted, queue, reconciler, signal));
    await Promise.all(jobs);
  }

  private async runBeside({ log, queue }: Hosted, run: NonNullable<Controller['run']>, signal: AbortSignal): Promise<void> {
    try {
      await run({ add: (key) => queue.add(keyString(key)) }, signal);
    } catch (error) {
      if (!signal.aborted) log.error({ error: describe(error) }, 'background work ended');
    }
  }

  private async work(hosted: Hosted, queue: WorkQueue, reconciler: Reconciler, signal: AbortSignal): Promise<void> {
    for (let text = await queue.take(); text !== undefined; text = await queue.take()) {
      await this.reconcileOne(hosted, reconciler, text, signal);
      queue.done(text);
    }
  }

  private async reconcileOne(
    { name, queue, log }: Hosted,
    reconciler: Reconciler,
    text: string,
    parent: AbortSignal,
  ): Promise<void> {
    const counters = this.counters.get(name);
    if (counters) counters.reconciles++;
    const { signal, id, end } = withCorrelation(name, parent);
    try {
      const { requeueAfterMs } = await reconciler.reconcile(parseKey(text), signal);
      queue.forget(text);
      if (requeueAfterMs !== undefined) queue.addAfter(text, requeueAfterMs);
    } catch (error) {
      if (parent.aborted) return;
      if (error instanceof TerminalError) {
        queue.forget(text);
        log.info({ key: text, correlation: id, reason: error.reason, error: error.message }, 'not retried');
        return;
      }
      queue.addRateLimited(text);
      if (counters) counters.failures++;
      const fields = { key: text, correlation: id, failures: queue.failuresOf(text), error: describe(error) };
      // a conflict means that the cache was behind; the retry sees the newer object
      if (isConflict(error)) log.debug(fields, 'conflict, will retry');
      else log.warn(fields, 'reconcile failed, will retry');
    } finally {
      end();
    }
  }
}

function connect(
  informer: Informer<KubeObject>,
  queue: WorkQueue,
  keysOf: (object: KubeObject) => readonly ObjectKey[],
  predicate: Predicate<KubeObject> | undefined,
): void {
  informer.addHandler((event: InformerEvent<KubeObject>) => {
    if (predicate && !predicate(event)) return;
    for (const key of keysOf(event.object)) queue.add(keyString(key));
    if (event.old) for (const key of keysOf(event.old)) queue.add(keyString(key));
  });
}

function parseKey(text: string): ObjectKey {
  const slash = text.indexOf('/');
  return slash < 0 ? { namespace: '', name: text } : { namespace: text.slice(0, slash), name: text.slice(slash + 1) };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/** An error with its causes as one line; the stack only for errors that nobody expected. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isBug = error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError;
  const text = isBug ? (error.stack ?? error.message) : error.message;
  return error.cause === undefined ? text : `${text}: ${describe(error.cause)}`;
}
