import type { RecordableHistogram } from 'node:perf_hooks';
import { everyMetric, type MetricFilter } from '@slipway/runtime';
import type { Registry } from '../registry/registry.ts';
import { loopWatch, RESOLUTION_MS } from './loop-watch.ts';
import { type MetricFamily, renderFamily } from './metric-text.ts';
import type { RequestMetrics } from './request-metrics.ts';

const NANOSECONDS = 1e9;

/** What `GET /metrics` shows: requests, store, watches, event loop and process. */
export interface ServerMetrics {
  /** Prometheus' text format. Stalls are those since the last call. */
  render(wanted?: MetricFilter): Promise<string>;
  /** A request has been answered: the event loop is looked at while there are any. */
  noteRequest(): void;
  close(): void;
}

export interface MetricSources {
  readonly registry: Registry;
  readonly requests: RequestMetrics;
  readonly flow: { families(): MetricFamily[] };
  /** Of the controllers that run beside the server. */
  readonly others?: (wanted: MetricFilter) => readonly MetricFamily[] | Promise<readonly MetricFamily[]>;
}

export function createServerMetrics(deps: MetricSources): ServerMetrics {
  const watch = loopWatch();
  return {
    async render(wanted = everyMetric) {
      watch.note(); // who scrapes wants to know what comes now
      const { delays } = watch;
      const own = [
        ...deps.requests.families(wanted),
        ...storeFamilies(deps.registry),
        ...deps.flow.families(),
        ...loopFamilies(delays),
        ...processFamilies(),
      ];
      delays.reset();
      const families = [...own, ...((await deps.others?.(wanted)) ?? [])].filter(({ name }) => wanted(name));
      return families.map(renderFamily).join('');
    },
    noteRequest: () => watch.note(),
    close: () => watch.close(),
  };
}

function storeFamilies({ store, cache }: Registry): MetricFamily[] {
  const collections = cache.all();
  const perResource = (value: (collection: (typeof collections)[number]) => number) =>
    collections.map((collection) => ({ labels: { resource: collection.resource }, value: value(collection) }));
  const { writes, syncs, failedWrites, bytesWritten } = store.counters;
  return [
    gauge('slipway_store_revision', 'Revision of the newest durable change.', store.revision),
    gauge('slipway_store_compacted_revision', 'Changes up to this revision can no longer be watched.', store.compactedRevision),
    gauge('slipway_store_entries', 'Stored keys.', store.size),
    counter('slipway_store_writes_total', 'Durable transactions.', writes),
    counter('slipway_store_syncs_total', 'Waits for stable storage; concurrent writes share one.', syncs),
    counter('slipway_store_failed_writes_total', 'Transactions that could not be made durable.', failedWrites),
    counter('slipway_store_written_bytes_total', 'Bytes added to the log.', bytesWritten),
    {
      name: 'apiserver_storage_objects',
      help: 'Stored objects by resource.',
      type: 'gauge',
      samples: perResource(({ size }) => size),
    },
    {
      name: 'apiserver_registered_watchers',
      help: 'Open watches by resource, those of controllers included.',
      type: 'gauge',
      samples: perResource(({ listenerCount }) => listenerCount),
    },
  ];
}

function loopFamilies(delay: RecordableHistogram): MetricFamily[] {
  const seconds = (nanoseconds: number): number => nanoseconds / NANOSECONDS;
  const since = 'since the last scrape';
  const hasSamples = delay.count > 0;
  return [
    gauge(
      'nodejs_eventloop_lag_p50_seconds',
      `Median delay of the event loop ${since}.`,
      hasSamples ? seconds(delay.percentile(50)) : 0,
    ),
    gauge('nodejs_eventloop_lag_p99_seconds', `99th percentile ${since}.`, hasSamples ? seconds(delay.percentile(99)) : 0),
    gauge(
      'nodejs_eventloop_lag_max_seconds',
      `Longest stall ${since}; it may have been ${RESOLUTION_MS} ms longer.`,
      hasSamples ? seconds(delay.max) : 0,
    ),
  ];
}

function processFamilies(): MetricFamily[] {
  const { rss, heapUsed, external } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  return [
    gauge('process_resident_memory_bytes', 'Resident memory of the server.', rss),
    gauge('nodejs_heap_size_used_bytes', 'Heap in use.', heapUsed),
    gauge('nodejs_external_memory_bytes', 'Memory of buffers.', external),
    counter('process_cpu_seconds_total', 'User and system time.', (user + system) / 1e6),
  ];
}

const gauge = (name: string, help: string, value: number): MetricFamily => ({ name, help, type: 'gauge', samples: [{ value }] });
const counter = (name: string, help: string, value: number): MetricFamily => ({
  name,
  help,
  type: 'counter',
  samples: [{ value }],
});
