import { everyMetric, Histogram, type MetricFamily, type MetricFilter, type MetricSample } from '@slipway/runtime';
import type { AuditEvent } from './server-context.ts';

/** The part of the platform that a client of the API belongs to. */
export interface ClientPart {
  /** As a pod of the part is named elsewhere: `virt-controller`. */
  readonly container: string;
  /** What stands before `rest_client_` in the names of its metrics. */
  readonly prefix: string;
}

/** Answers that only a resource that exists can give; for all others the path is what a stranger made up. */
const isOfKnownResource = (code: number): boolean => code < 400 || code === 409 || code === 422;
/** Seconds. */
const LATENCY_BOUNDS = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512] as const;
/** Seconds; of all clients together, those far away included. */
const DURATION_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;
const SWITCHING_PROTOCOLS = '101';
const METHODS: Readonly<Record<string, string>> = { create: 'POST', update: 'PUT', patch: 'PATCH' };
const methodOf = (verb: string): string => METHODS[verb] ?? (verb.startsWith('delete') ? 'DELETE' : 'GET');

type Labels = {
  readonly client: string;
  readonly code: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly verb: string;
};

/** Counts of all requests since the start, for `GET /metrics` and for alerts. Every label has few values. */
export class RequestMetrics {
  private readonly counts = new Map<string, { readonly labels: Labels; count: number }>();
  private readonly durations = new Histogram({
    name: 'apiserver_request_duration_seconds',
    help: 'Time until the answer in seconds, by verb; without watches and streams.',
    bounds: DURATION_BOUNDS,
  });
  private readonly latencies = new Map<string, Histogram>();
  private readonly parts = new Map<string, ClientPart | undefined>();
  private readonly partOf: (client: string) => ClientPart | undefined;

  /** `partOf`: the part that a client is; undefined for those of users. */
  constructor(partOf: (client: string) => ClientPart | undefined = () => undefined) {
    this.partOf = partOf;
  }

  count(event: AuditEvent): void {
    const labels = labelsOf(event);
    const key = Object.values(labels).join(' ');
    const known = this.counts.get(key);
    if (known === undefined) this.counts.set(key, { labels, count: 1 });
    else known.count += 1;
    if (event.verb === 'watch') return;
    if (labels.code !== SWITCHING_PROTOCOLS) this.durations.observe({ verb: event.verb }, event.latencyMs / 1000);
    this.time(labels, event.latencyMs);
  }

  families(wanted: MetricFilter = everyMetric): MetricFamily[] {
    return [
      ...this.requests(wanted),
      ...this.clientRequests(wanted),
      ...[...this.latencies.values()].map((histogram) => histogram.family()),
      this.durations.family(),
    ];
  }

  private requests(wanted: MetricFilter): MetricFamily[] {
    const name = 'apiserver_request_total';
    if (!wanted(name)) return [];
    const samples = [...this.counts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { labels, count }]): MetricSample => ({ labels, value: count }));
    return [{ name, help: 'Requests by verb, resource, code and client.', type: 'counter', samples }];
  }

  private time({ client, verb, group, resource }: Labels, latencyMs: number): void {
    const part = this.part(client);
    if (part === undefined) return;
    const { prefix, container } = part;
    let histogram = this.latencies.get(prefix);
    if (histogram === undefined) {
      const name = `${prefix}rest_client_request_latency_seconds`;
      const help = 'Request latency in seconds, broken down by verb and URL.';
      histogram = new Histogram({ name, help, bounds: LATENCY_BOUNDS });
      this.latencies.set(prefix, histogram);
    }
    histogram.observe(
      { container, url: group === '' ? `/api/${resource}` : `/apis/${group}/${resource}`, verb },
      latencyMs / 1000,
    );
  }

  private part(client: string): ClientPart | undefined {
    if (!this.parts.has(client)) this.parts.set(client, this.partOf(client));
    return this.parts.get(client);
  }

  /** The same counts as each part of the platform would give them of its own requests. */
  private clientRequests(wanted: MetricFilter): MetricFamily[] {
    const byPrefix = new Map<string, Map<string, { labels: Record<string, string>; value: number }>>();
    for (const { labels, count } of this.counts.values()) {
      const { client, code, resource, verb } = labels;
      const part = this.part(client);
      if (part === undefined || !wanted(`${part.prefix}rest_client_requests_total`)) continue;
      const host = client === NODE ? 'network' : 'in-process';
      const own = { container: part.container, code, method: methodOf(verb), host, resource, verb };
      const samples = byPrefix.get(part.prefix) ?? new Map<string, { labels: Record<string, string>; value: number }>();
      byPrefix.set(part.prefix, samples);
      const key = Object.values(own).join(' ');
      samples.set(key, { labels: own, value: (samples.get(key)?.value ?? 0) + count });
    }
    return [...byPrefix].map(([prefix, samples]) => ({
      name: `${prefix}rest_client_requests_total`,
      help: 'Number of HTTP requests, partitioned by status code, method, and host.',
      type: 'counter' as const,
      samples: [...samples.values()],
    }));
  }
}

function labelsOf(event: AuditEvent): Labels {
  const target = isOfKnownResource(event.code) ? targetOf(event.path) : UNKNOWN;
  return { client: clientOf(event), code: String(event.code), ...target, verb: event.verb };
}

const NODE = 'node';

/** A controller's name, `node` for the agents, `other` for everybody else. */
function clientOf({ sourceAddress, user, userAgent }: AuditEvent): string {
  if (sourceAddress === 'in-process') return userAgent;
  return user.startsWith('system:node:') ? NODE : 'other';
}

const UNKNOWN = { group: '', resource: '', subresource: '' };

function targetOf(path: string): typeof UNKNOWN {
  const segments = path.split('/');
  const isCore = segments[1] === 'api';
  if (!isCore && segments[1] !== 'apis') return UNKNOWN;
  const group = isCore ? '' : (segments[2] ?? '');
  let rest = segments.slice(isCore ? 3 : 4);
  if (rest[0] === 'watch') rest = rest.slice(1);
  if (rest[0] === 'namespaces' && rest.length > 2) rest = rest.slice(2);
  return { group, resource: rest[0] ?? '', subresource: rest[2] ?? '' };
}
