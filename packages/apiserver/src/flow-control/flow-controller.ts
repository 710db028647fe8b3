import type { UserInfo } from '@slipway/runtime';
import type { MetricFamily } from '../pipeline/metric-text.ts';
import type { Registry } from '../registry/registry.ts';
import type { RequestInfo } from '../routing/request-info.ts';
import type { Collection } from '../watch-cache/collection.ts';
import { FLOW_CONTROL_GROUP } from './default-objects.ts';
import { compileFlowConfig, type FlowConfig } from './flow-config.ts';
import { EXEMPT, type Hall, PriorityLevel, type Seat, tooManyRequests } from './priority-level.ts';

/** Requests of all limited levels that are worked on at a time. */
const TOTAL_SEATS = 120;
const SEATS_PER_FLOW = 32;
/** Open watches of one user. */
const MAX_WATCHES = 1000;
const OBJECTS_PER_SEAT = 100;
const BYTES_PER_SEAT = 512 * 1024;
const MAX_WIDTH = 10;

export interface FlowDeps {
  readonly registry: Registry;
  /** Calls back in a later turn of the event loop. */
  readonly soon: (task: () => void) => void;
  /** Calls back after a while; returns how to stop that. */
  readonly after: (ms: number, task: () => void) => () => void;
}

/** What is to be known of a request before it is let in. */
export interface Arrival {
  readonly user: UserInfo;
  readonly info: RequestInfo;
  readonly query: URLSearchParams;
  readonly bodyBytes: number;
  /** Given how to give up when the client goes away while its request waits. */
  readonly onGone: (leave: () => void) => void;
}

/** Shares the server among users: who wants much waits, the others do not. Requests of the platform itself never come here. */
export class FlowController {
  private readonly registry: Registry;
  private readonly schemas: Collection;
  private readonly levelObjects: Collection;
  private readonly levels = new Map<string, PriorityLevel>();
  private readonly watches = new Map<string, number>();
  private readonly hall: Hall;
  private readonly unsubscribe: readonly (() => void)[];
  private config: FlowConfig | undefined;
  private refusedWatches = 0;

  constructor({ registry, soon, after }: FlowDeps) {
    this.registry = registry;
    this.hall = { inUse: 0, seats: TOTAL_SEATS, seatsPerFlow: SEATS_PER_FLOW, soon, after };
    this.schemas = registry.cache.collection({ group: FLOW_CONTROL_GROUP, plural: 'flowschemas' });
    this.levelObjects = registry.cache.collection({ group: FLOW_CONTROL_GROUP, plural: 'prioritylevelconfigurations' });
    const forget = (): void => void (this.config = undefined);
    this.unsubscribe = [this.schemas.subscribe(forget), this.levelObjects.subscribe(forget)];
  }

  /** Lets a request in, now or later. Throws 429, or rejects with it, when too many of its flow wait already. */
  enter(arrival: Arrival): Seat | Promise<Seat> {
    const { user, info } = arrival;
    const { level, flow } = this.configuration().classify(user, info);
    const found = this.levels.get(level);
    if (found === undefined || found.limits.seats === undefined) return EXEMPT;
    return found.enter(flow, this.widthOf(arrival), arrival.onGone);
  }

  /** Counts an open watch until the returned function is called. Throws 429 for one too many. */
  openWatch(user: UserInfo, info: RequestInfo): () => void {
    const { level } = this.configuration().classify(user, info);
    if (this.levels.get(level)?.limits.seats === undefined) return () => undefined;
    const open = this.watches.get(user.username) ?? 0;
    if (open >= MAX_WATCHES) {
      this.refusedWatches += 1;
      throw tooManyRequests(`too many watches: a user may have ${MAX_WATCHES}`);
    }
    this.watches.set(user.username, open + 1);
    return () => {
      const left = (this.watches.get(user.username) ?? 1) - 1;
      if (left > 0) this.watches.set(user.username, left);
      else this.watches.delete(user.username);
    };
  }

  /** For `GET /metrics`; the names are those of Kubernetes where it has the same. */
  families(): MetricFamily[] {
    const levels = [...this.levels.values()].filter(({ limits }) => limits.seats !== undefined);
    const family = (name: string, help: string, type: MetricFamily['type'], value: (level: PriorityLevel) => number) => ({
      name,
      help,
      type,
      samples: levels.map((level) => ({ labels: { priority_level: level.limits.name }, value: value(level) })),
    });
    const rejected = levels.flatMap(({ limits, counters }) =>
      [...counters.rejected].map(([reason, value]) => ({ labels: { priority_level: limits.name, reason }, value })),
    );
    return [
      family('apiserver_flowcontrol_nominal_limit_seats', 'Seats of a level.', 'gauge', ({ limits }) => limits.seats ?? 0),
      family('apiserver_flowcontrol_current_executing_seats', 'Seats taken.', 'gauge', ({ inUse }) => inUse),
      family(
        'apiserver_flowcontrol_current_inqueue_requests',
        'Requests that wait.',
        'gauge',
        ({ counters }) => counters.waiting,
      ),
      family(
        'apiserver_flowcontrol_dispatched_requests_total',
        'Requests let in.',
        'counter',
        ({ counters }) => counters.dispatched,
      ),
      {
        name: 'apiserver_flowcontrol_rejected_requests_total',
        help: 'Requests answered with 429.',
        type: 'counter',
        samples: [...rejected, { labels: { priority_level: '', reason: 'too-many-watches' }, value: this.refusedWatches }],
      },
    ];
  }

  close(): void {
    for (const stop of this.unsubscribe) stop();
  }

  private configuration(): FlowConfig {
    if (this.config !== undefined) return this.config;
    const objects = (collection: Collection) => collection.list().map(({ object }) => object);
    this.config = compileFlowConfig(objects(this.schemas), objects(this.levelObjects), TOTAL_SEATS);
    for (const limits of this.config.levels) {
      const level = this.levels.get(limits.name);
      if (level === undefined) this.levels.set(limits.name, new PriorityLevel(limits, this.hall));
      else level.limits = limits;
    }
    return this.config;
  }

  /** How many seats a request takes: work on many objects or many bytes keeps the others waiting for longer. */
  private widthOf({ info, query, bodyBytes }: Arrival): number {
    const { verb } = info;
    const bodyWidth = 1 + Math.floor(bodyBytes / BYTES_PER_SEAT);
    if (verb !== 'list' && verb !== 'watch' && verb !== 'deletecollection') return Math.min(bodyWidth, MAX_WIDTH);
    const definition = this.registry.find(info.group, info.version, info.resource);
    const stored = definition === undefined ? 0 : this.registry.collectionOf(definition).size;
    const limit = Number(query.get('limit') ?? 0);
    const objects = limit > 0 ? Math.min(limit, stored) : stored;
    return Math.min(Math.max(bodyWidth, 1 + Math.floor(objects / OBJECTS_PER_SEAT)), MAX_WIDTH);
  }
}
