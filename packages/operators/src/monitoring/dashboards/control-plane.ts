import { type Dashboard, graph, rate, type Row, stat } from './dashboard.ts';

/** The parts of KubeVirt put a prefix before the names of their metrics, all others none. */
const ofAll = (metric: string, expr: (metric: string) => string): string => `(${expr(`kubevirt_${metric}`)} or ${expr(metric)})`;
const percentile = (share: number, by: string, metric: string): string =>
  `histogram_quantile(${share}, sum by (le, ${by}) (${rate(`${metric}_bucket`)}))`;
const most = (expr: string): string => `topk(10, ${expr})`;
const WORDS = { 0: 'healthy', 1: 'warning', 2: 'error' };

const health: Row = {
  title: 'Health',
  panels: [
    stat('HyperConverged', 'short', 'As its conditions say.', 'max(kubevirt_hco_system_health_status)', WORDS),
    stat('Nodes that answer', 'short', 'Their agents are ready.', 'sum(kubevirt_virt_handler_ready_status)'),
    stat('Nodes for guests', 'short', 'Guests may be placed there.', 'sum(kubevirt_node_schedulable)'),
    stat('Requests', 'reqps', 'To the API, those of the controllers included.', `sum(${rate('apiserver_request_total')})`),
    stat('Longest stall', 's', 'Of the server, since the last look.', 'max(nodejs_eventloop_lag_max_seconds)'),
    stat('Memory', 'bytes', 'Resident memory of the server.', 'sum(process_resident_memory_bytes)'),
  ],
};

const requests: Row = {
  title: 'Requests',
  panels: [
    graph('By client', 'reqps', 'The ten busiest: controllers by name, agents as node, everybody else as other.', {
      '{{client}}': most(`sum by (client) (${rate('apiserver_request_total')})`),
    }),
    graph('By verb', 'reqps', 'All clients.', { '{{verb}}': `sum by (verb) (${rate('apiserver_request_total')})` }),
    graph('By resource', 'reqps', 'The ten most asked for.', {
      '{{resource}}': most(`sum by (resource) (${rate('apiserver_request_total{resource!=""}')})`),
    }),
    graph('Refusals and failures', 'reqps', 'Answers from 400 on; 409 is a write that came too late and is tried again.', {
      '{{client}} {{code}}': `sum by (client, code) (${rate('apiserver_request_total{code=~"[45].."}')})`,
    }),
    graph('Latency', 's', 'Until the answer was there; watches and streams left out.', {
      '{{verb}} median': percentile(0.5, 'verb', 'apiserver_request_duration_seconds'),
      '{{verb}} 99 %': percentile(0.99, 'verb', 'apiserver_request_duration_seconds'),
    }),
    graph('Latency of controllers', 's', '99th percentile of the requests of each part of the platform.', {
      '{{container}}': `${percentile(0.99, 'container', 'kubevirt_rest_client_request_latency_seconds')} or ${percentile(0.99, 'container', 'rest_client_request_latency_seconds')}`,
    }),
    graph('Flow control', 'short', 'Requests that are worked on, and those that wait for their turn.', {
      '{{priority_level}} worked on': 'sum by (priority_level) (apiserver_flowcontrol_current_executing_seats)',
      '{{priority_level}} waiting': 'sum by (priority_level) (apiserver_flowcontrol_current_inqueue_requests)',
    }),
    graph('Turned away', 'reqps', 'Answered with 429: too much at once.', {
      '{{priority_level}} {{reason}}': `sum by (priority_level, reason) (${rate('apiserver_flowcontrol_rejected_requests_total')})`,
    }),
  ],
};

const store: Row = {
  title: 'Store',
  panels: [
    graph('Writes', 'ops', 'Transactions, and waits for stable storage; concurrent writes share one.', {
      writes: `sum(${rate('slipway_store_writes_total')})`,
      syncs: `sum(${rate('slipway_store_syncs_total')})`,
      failed: `sum(${rate('slipway_store_failed_writes_total')})`,
    }),
    graph('Written', 'Bps', 'Added to the log.', { bytes: `sum(${rate('slipway_store_written_bytes_total')})` }),
    graph('Keys', 'short', 'Stored objects of the ten largest collections.', {
      '{{resource}}': most('sum by (resource) (apiserver_storage_objects)'),
      'all keys': 'sum(slipway_store_entries)',
    }),
    graph('History', 'short', 'Changes that can still be watched.', {
      changes: 'sum(slipway_store_revision) - sum(slipway_store_compacted_revision)',
    }),
    graph('Watches', 'short', 'Open ones, by what they watch; the ten largest.', {
      '{{resource}}': most('sum by (resource) (apiserver_registered_watchers)'),
    }),
  ],
};

const queues: Row = {
  title: 'Controllers',
  panels: [
    graph('Keys that wait', 'short', 'The ten longest queues.', {
      '{{name}}': most(ofAll('workqueue_depth', (metric) => `sum by (name) (${metric})`)),
    }),
    graph('Keys that came', 'ops', 'The ten busiest queues.', {
      '{{name}}': most(ofAll('workqueue_adds_total', (metric) => `sum by (name) (${rate(metric)})`)),
    }),
    graph('Waiting', 's', '99th percentile of the time in a queue; the ten slowest.', {
      '{{name}}': most(ofAll('workqueue_queue_duration_seconds', (metric) => percentile(0.99, 'name', metric))),
    }),
    graph('Working', 's', '99th percentile of one reconcile; the ten slowest.', {
      '{{name}}': most(ofAll('workqueue_work_duration_seconds', (metric) => percentile(0.99, 'name', metric))),
    }),
    graph('Retries', 'ops', 'Reconciles that failed and are tried again.', {
      '{{name}}': most(ofAll('workqueue_retries_total', (metric) => `sum by (name) (${rate(metric)})`)),
    }),
    graph('Longest reconcile', 's', 'Of those that run now.', {
      '{{name}}': most(ofAll('workqueue_longest_running_processor_seconds', (metric) => `max by (name) (${metric})`)),
    }),
  ],
};

const server: Row = {
  title: 'Server',
  panels: [
    graph('Event loop', 's', 'How late the server gets to what is due, between two looks.', {
      median: 'max(nodejs_eventloop_lag_p50_seconds)',
      '99 %': 'max(nodejs_eventloop_lag_p99_seconds)',
      longest: 'max(nodejs_eventloop_lag_max_seconds)',
    }),
    graph('Processor', 'percentunit', 'Share of one core.', { server: `sum(${rate('process_cpu_seconds_total')})` }),
    graph('Memory', 'bytes', 'Resident, and what of it are objects and buffers.', {
      resident: 'sum(process_resident_memory_bytes)',
      objects: 'sum(nodejs_heap_size_used_bytes)',
      buffers: 'sum(nodejs_external_memory_bytes)',
    }),
  ],
};

/** The platform itself: its API, its store, its controllers. */
export const controlPlane = (): Dashboard => ({
  name: 'slipway-control-plane',
  title: 'Slipway / Control plane',
  description: 'The server of the platform: requests, store, controllers, event loop.',
  variables: [],
  rows: [health, requests, store, queues, server],
});
