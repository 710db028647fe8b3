import { cloneJson, formatTime } from '@slipway/apimachinery';
import { type AggregatedApi, isServed } from '@slipway/runtime';
import type { Registry } from '../registry/registry.ts';
import { type WriteContext, putObject, removeObject } from '../registry/write-context.ts';
import type { Collection } from '../watch-cache/collection.ts';
import type { RemoteApis } from './remote-apis.ts';
import {
  AUTOMANAGED,
  type GroupVersion,
  apiServiceName,
  localApiService,
  serviceOf,
  withAvailability,
} from './plan-api-services.ts';

export interface ApiServiceDeps {
  readonly registry: Registry;
  readonly aggregatedApis: readonly AggregatedApi[];
  /** Writes APIServices as the server itself. */
  readonly context: () => WriteContext | undefined;
  readonly remoteApis: RemoteApis;
  readonly nowMs: () => number;
  readonly uid: () => string;
  readonly logError: (error: unknown, what: string) => void;
}

const GROUP = 'apiregistration.k8s.io';

/** Keeps one APIService for each served group and version, and says of the others whether their Service is there. */
export class ApiServiceController {
  private readonly deps: ApiServiceDeps;
  private readonly collection: Collection;
  private readonly unsubscribe: readonly (() => void)[];
  private running: Promise<void> | undefined;
  private isStale = false;

  constructor(deps: ApiServiceDeps) {
    this.deps = deps;
    const { cache } = deps.registry;
    this.collection = cache.collection({ group: GROUP, plural: 'apiservices' });
    const soon = (): void => this.syncSoon();
    const remote = (): void => {
      if (this.collection.list().some(({ object }) => serviceOf(object) !== undefined)) this.syncSoon();
    };
    for (const { presence } of deps.aggregatedApis) presence?.onChange(soon);
    const endpoints = cache.collection({ group: '', plural: 'endpoints' });
    this.unsubscribe = [
      this.collection.subscribe(soon),
      cache.collection({ group: 'apiextensions.k8s.io', plural: 'customresourcedefinitions' }).subscribe(soon),
      cache.collection({ group: '', plural: 'services' }).subscribe(remote),
      endpoints.subscribe(({ current, previous }) => {
        const { namespace = '', name = '' } = (current ?? previous)?.object.metadata ?? {};
        deps.remoteApis.endpointsChanged(namespace, name);
        remote();
      }),
    ];
  }

  /** Resolves when nothing is left to do. */
  async settled(): Promise<void> {
    while (this.running !== undefined) await this.running;
  }

  close(): void {
    for (const stop of this.unsubscribe) stop();
  }

  syncSoon(): void {
    this.isStale = true;
    this.running ??= Promise.resolve()
      .then(() => this.syncUntilFresh())
      .catch((error: unknown) => this.deps.logError(error, 'APIServices'))
      .finally(() => (this.running = undefined));
  }

  private async syncUntilFresh(): Promise<void> {
    while (this.isStale) {
      this.isStale = false;
      await this.sync();
    }
  }

  private async sync(): Promise<void> {
    const { registry, context, nowMs, uid, remoteApis } = this.deps;
    const writer = context();
    if (writer === undefined) return;
    const now = formatTime(nowMs());
    const wanted = new Map(this.groupVersions().map((item) => [apiServiceName(item), item]));
    const writes: Promise<unknown>[] = [];
    for (const stored of this.collection.list()) {
      const { object } = stored;
      const isSurplus = object.metadata.labels?.[AUTOMANAGED] !== undefined && !wanted.has(stored.name);
      wanted.delete(stored.name);
      if (isSurplus) writes.push(removeObject(writer, stored.key, stored.revision));
      else if (object.metadata.deletionTimestamp === undefined) {
        const next = withAvailability(object, { registry, probe: (one) => remoteApis.probe(one) }, now);
        if (next !== object) writes.push(putObject(writer, stored.key, cloneJson(next), stored.revision));
      }
    }
    const remotes = this.collection.list().filter(({ object }) => serviceOf(object) !== undefined);
    remoteApis.keepOnly(new Set(remotes.map(({ name }) => name)));
    for (const [name, item] of wanted) {
      const object = localApiService(item, now);
      object.metadata = { ...object.metadata, uid: uid(), creationTimestamp: now };
      writes.push(putObject(writer, registry.keyOf(writer.definition, '', name), object, 0));
    }
    await Promise.all(writes); // a write that lost a race is made again: its winner's event calls for another round
  }

  private groupVersions(): GroupVersion[] {
    const found = new Map<string, GroupVersion>();
    for (const { group, version, custom } of this.deps.registry.all()) {
      found.set(`${group}/${version}`, { group, version, isCustom: custom });
    }
    for (const { group, versions, routes } of this.deps.aggregatedApis.filter(isServed)) {
      if (!routes.some(({ discoverable }) => discoverable)) continue;
      for (const version of versions) found.set(`${group}/${version}`, { group, version, isCustom: false });
    }
    return [...found.values()];
  }
}
