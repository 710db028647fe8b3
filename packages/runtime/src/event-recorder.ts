import { apiVersionOf, formatTime, type KubeObject, StatusError } from '@slipway/apimachinery';
import { type CoreEvent, EventKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import type { Logger } from './logger.ts';
import type { Clock } from './reconciler.ts';

/** Tells people about an object. Calls return at once; the event is written in the background and may be dropped. */
export interface EventRecorder {
  normal(object: KubeObject, reason: string, message: string): void;
  warning(object: KubeObject, reason: string, message: string): void;
}

export interface EventRecorderDeps {
  readonly client: Client;
  readonly clock: Clock;
  readonly log: Logger;
  /** Goes to `source.component`. */
  readonly component: string;
  /** Node name, for events of agents. */
  readonly host?: string;
  readonly onActivity?: () => void;
}

interface Recorded {
  name: string;
  count: number;
  lastMs: number;
}

interface Budget {
  tokens: number;
  lastMs: number;
}

// the same bounds as client-go: a burst of 25 per object, then one each five minutes
const BURST = 25;
const REFILL_MS = 5 * 60_000;
const AGGREGATE_MS = 10 * 60_000;
const MAX_REMEMBERED = 4096;
const MAX_QUEUED = 1000;
/** Longest message that core/v1 events may have. */
const MAX_MESSAGE = 1024;

/** Counts equal events instead of repeating them, and limits how many one object may cause. */
export class CoreEventRecorder implements EventRecorder {
  private readonly recorded = new Map<string, Recorded>();
  private readonly budgets = new Map<string, Budget>();
  private sequence = 0;
  private queued = 0;
  private tail: Promise<void> = Promise.resolve();

  private readonly deps: EventRecorderDeps;

  constructor(deps: EventRecorderDeps) {
    this.deps = deps;
  }

  normal(object: KubeObject, reason: string, message: string): void {
    this.record(object, 'Normal', reason, message);
  }

  warning(object: KubeObject, reason: string, message: string): void {
    this.record(object, 'Warning', reason, message);
  }

  /** Resolves when everything recorded so far was written or dropped. */
  async flush(): Promise<void> {
    await this.tail;
  }

  get isIdle(): boolean {
    return this.queued === 0;
  }

  private record(object: KubeObject, type: 'Normal' | 'Warning', reason: string, text: string): void {
    const message = text.slice(0, MAX_MESSAGE);
    const { uid = '', name = '' } = object.metadata;
    if (this.queued >= MAX_QUEUED || !this.spend(`${uid}/${name}`)) {
      this.deps.log.debug({ reason, object: name }, 'event dropped');
      return;
    }
    const id = `${uid}|${object.kind}|${name}|${type}|${reason}|${message}`;
    this.queued++;
    this.tail = this.tail
      .then(() => this.write(id, object, type, reason, message))
      .catch((error: unknown) => {
        this.deps.log.debug({ reason, error: String(error) }, 'event not written');
      })
      .finally(() => {
        this.queued--;
        this.deps.onActivity?.();
      });
  }

  private async write(id: string, object: KubeObject, type: string, reason: string, message: string): Promise<void> {
    const now = this.deps.clock.now();
    const known = this.recorded.get(id);
    if (known && now - known.lastMs < AGGREGATE_MS) {
      known.count++;
      known.lastMs = now;
      if (await this.count(known, object)) return;
    }
    const event = this.eventOf(object, type, reason, message);
    await this.deps.client.create(EventKind, event);
    remember(this.recorded, id, { name: event.metadata.name ?? '', count: 1, lastMs: now });
  }

  /** Raises the count of an event that exists; false when it is gone. */
  private async count(known: Recorded, object: KubeObject): Promise<boolean> {
    const patch = { count: known.count, lastTimestamp: formatTime(this.deps.clock.now()) };
    try {
      await this.deps.client.patch(EventKind, { namespace: namespaceOf(object), name: known.name }, patch, { type: 'merge' });
      return true;
    } catch (error) {
      if (error instanceof StatusError && error.code === 404) return false;
      throw error;
    }
  }

  private eventOf(object: KubeObject, type: string, reason: string, message: string): CoreEvent {
    const { component, host, clock } = this.deps;
    const { name = '', namespace, uid, resourceVersion } = object.metadata;
    const now = formatTime(clock.now());
    this.sequence = (this.sequence + 1) % 0x1000000;
    // two components may speak of objects with the same name (a VM and its instance) in the same millisecond
    const suffix = `${clock.now().toString(16)}${tagOf(component)}${this.sequence.toString(16).padStart(6, '0')}`;
    return {
      apiVersion: apiVersionOf(EventKind),
      kind: EventKind.kind,
      metadata: { name: `${name.slice(0, 220)}.${suffix}`, namespace: namespaceOf(object) },
      involvedObject: {
        apiVersion: object.apiVersion,
        kind: object.kind,
        name,
        ...(namespace && { namespace }),
        ...(uid && { uid }),
        ...(resourceVersion && { resourceVersion }),
      },
      type,
      reason,
      message,
      count: 1,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component, ...(host && { host }) },
      reportingComponent: component,
      reportingInstance: host ?? '',
    };
  }

  private spend(id: string): boolean {
    const now = this.deps.clock.now();
    const budget = this.budgets.get(id) ?? { tokens: BURST, lastMs: now };
    budget.tokens = Math.min(BURST, budget.tokens + (now - budget.lastMs) / REFILL_MS);
    budget.lastMs = now;
    remember(this.budgets, id, budget);
    if (budget.tokens < 1) return false;
    budget.tokens -= 1;
    return true;
  }
}

/** Events of cluster-scoped objects live in `default`, where `kubectl describe` looks for them. */
const namespaceOf = (object: KubeObject): string => object.metadata.namespace || 'default';

/** Sets a map entry as the newest one and forgets the oldest beyond the limit. */
function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= MAX_REMEMBERED) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}

/** Four hex digits that differ between component names. */
function tagOf(component: string): string {
  let hash = 0;
  for (const character of component) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 0x10000;
  return hash.toString(16).padStart(4, '0');
}
