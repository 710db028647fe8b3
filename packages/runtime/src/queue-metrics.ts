import { Histogram } from './histogram.ts';
import { everyMetric, type MetricFamily, type MetricFilter } from './metric-family.ts';

/** Seconds; as controllers of Kubernetes group the times of their queues. */
const BOUNDS = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10] as const;
const SECOND_MS = 1000;

/** What a work queue tells of itself. */
export interface QueueObserver {
  added(key: string, nowMs: number): void;
  taken(key: string, nowMs: number): void;
  finished(key: string, nowMs: number): void;
  retried(): void;
}

interface QueueState {
  adds: number;
  retries: number;
  readonly waitingSince: Map<string, number>;
  readonly workedOnSince: Map<string, number>;
}

/** Metrics of work queues, counted as keys pass through; names as controllers of Kubernetes have them. */
export class QueueMetrics {
  private readonly queues = new Map<string, QueueState>();
  private readonly waits: Histogram;
  private readonly works: Histogram;
  private readonly prefix: string;

  /** `prefix`: what stands before `workqueue_`. */
  constructor(prefix = '') {
    this.prefix = prefix;
    this.waits = new Histogram({
      name: `${prefix}workqueue_queue_duration_seconds`,
      help: 'How long in seconds an item stays in workqueue before being requested',
      bounds: BOUNDS,
    });
    this.works = new Histogram({
      name: `${prefix}workqueue_work_duration_seconds`,
      help: 'How long in seconds processing an item from workqueue takes.',
      bounds: BOUNDS,
    });
  }

  observer(name: string): QueueObserver {
    const labels = { name };
    const state: QueueState = { adds: 0, retries: 0, waitingSince: new Map(), workedOnSince: new Map() };
    this.queues.set(name, state);
    const { waitingSince, workedOnSince } = state;
    return {
      added(key, nowMs) {
        state.adds += 1;
        if (!waitingSince.has(key)) waitingSince.set(key, nowMs);
      },
      taken: (key, nowMs) => {
        this.waits.observe(labels, (nowMs - (waitingSince.get(key) ?? nowMs)) / SECOND_MS);
        waitingSince.delete(key);
        workedOnSince.set(key, nowMs);
      },
      finished: (key, nowMs) => {
        this.works.observe(labels, (nowMs - (workedOnSince.get(key) ?? nowMs)) / SECOND_MS);
        workedOnSince.delete(key);
      },
      retried() {
        state.retries += 1;
      },
    };
  }

  families(nowMs: number, wanted: MetricFilter = everyMetric): MetricFamily[] {
    const ages = ({ workedOnSince }: QueueState): number[] =>
      [...workedOnSince.values()].map((since) => Math.max(0, nowMs - since) / SECOND_MS);
    const perQueue = (
      name: string,
      type: 'counter' | 'gauge',
      help: string,
      value: (state: QueueState) => number,
    ): MetricFamily[] => {
      const metric = `${this.prefix}workqueue_${name}`;
      if (!wanted(metric)) return [];
      const samples = [...this.queues].map(([queue, state]) => ({ labels: { name: queue }, value: value(state) }));
      return [{ name: metric, type, help, samples }];
    };
    return [
      ...perQueue('adds_total', 'counter', 'Total number of adds handled by workqueue', ({ adds }) => adds),
      ...perQueue('depth', 'gauge', 'Current depth of workqueue', ({ waitingSince }) => waitingSince.size),
      ...perQueue('retries_total', 'counter', 'Total number of retries handled by workqueue', ({ retries }) => retries),
      ...perQueue(
        'unfinished_work_seconds',
        'gauge',
        'How many seconds of work has been done that is in progress and has not been observed by work_duration.',
        (state) => ages(state).reduce((sum, age) => sum + age, 0),
      ),
      ...perQueue(
        'longest_running_processor_seconds',
        'gauge',
        'How many seconds has the longest running processor for workqueue been running.',
        (state) => Math.max(0, ...ages(state)),
      ),
      this.waits.family(),
      this.works.family(),
    ];
  }
}
