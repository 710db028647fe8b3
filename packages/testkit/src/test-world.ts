import { type KubeObject, keyOf, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import { type CoreEvent, EventKind } from '@slipway/api';
import type { ApiServerOptions, FieldConverter } from '@slipway/apiserver';
import type { Client } from '@slipway/client';
import {
  type AdmissionHandler,
  componentRights,
  ControllerManager,
  type ControllerRegistration,
  type Logger,
  type MetricFamily,
  type MetricFilter,
  type PlatformSettings,
  silentLogger,
  type UserInfo,
} from '@slipway/runtime';
import { type FakeClock, fakeClock } from './fake-clock.ts';
import { type FakeNodeConnector, fakeNodeConnector } from './fake-node-connector.ts';
import { type Built } from './builders.ts';
import { MemoryCluster } from './memory-cluster.ts';
import { type ServerCluster, serverCluster } from './server-cluster.ts';

export interface TestWorldOptions {
  readonly controllers: readonly ControllerRegistration[];
  readonly settings?: Partial<PlatformSettings>;
  readonly log?: Logger;
  /** `server`: the embedded API server with all its rules; `memory`: the rules of object storage alone. Default: memory. */
  readonly api?: 'server' | 'memory';
  /** Admission of the embedded API server beside its own. */
  readonly admission?: (client: Client) => readonly AdmissionHandler[];
  /** Code that converts kinds of the embedded API server between versions. */
  readonly fieldConverters?: ReadonlyMap<string, FieldConverter>;
  /** Of the embedded API server: the parts whose requests and queues those of its clients are. */
  readonly clientParts?: NonNullable<ApiServerOptions['clientParts']>;
  /** APIs that the embedded API server answers by code. */
  readonly aggregatedApis?: NonNullable<ApiServerOptions['aggregatedApis']>;
}

const SETTINGS: PlatformSettings = {
  installNamespace: 'openshift-cnv',
  osImagesNamespace: 'openshift-virtualization-os-images',
  version: '0.0.0-test',
  caBundle: '-----BEGIN CERTIFICATE-----\ntest\n-----END CERTIFICATE-----\n',
};

/** A cluster with some controllers in it, whose time stands still. */
export interface TestWorld {
  readonly client: Client;
  /** A client with the rights of somebody. */
  clientOf(user: UserInfo): Client;
  readonly clock: FakeClock;
  readonly nodes: FakeNodeConnector;
  /** Write requests so far, as `verb plural[/subresource] key`. */
  readonly requests: readonly string[];
  /** Creates objects, with their status, before or after the controllers run. Returns the world. */
  with(...objects: readonly Built[]): Promise<TestWorld>;
  /** Runs the controllers until nothing is left to do; they go on running. */
  settle(): Promise<void>;
  /** Moves time and settles. */
  advance(ms: number): Promise<void>;
  get<T extends KubeObject>(kind: ResourceKind<T>, key: ObjectKey | string): Promise<T>;
  list<T extends KubeObject>(kind: ResourceKind<T>, namespace?: string): Promise<readonly T[]>;
  exists(kind: ResourceKind<KubeObject>, key: ObjectKey | string): Promise<boolean>;
  /** `Type Reason Message` of the events about an object, oldest first; all events without one. */
  events(about?: Built): Promise<readonly string[]>;
  /** What the controllers show about themselves and about the cluster. */
  metrics(wanted?: MetricFilter): Promise<readonly MetricFamily[]>;
  close(): Promise<void>;
}

/** A key from `namespace/name` or, for cluster-scoped objects, `name`. */
export function keyFrom(key: ObjectKey | string, namespaced = true): ObjectKey {
  if (typeof key !== 'string') return key;
  const slash = key.indexOf('/');
  if (slash >= 0) return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
  return { namespace: namespaced ? 'default' : '', name: key };
}

export function testWorld(options: TestWorldOptions): TestWorld {
  const clock = fakeClock();
  const nodes = fakeNodeConnector();
  const rights = componentRights(options.controllers.filter(({ rules }) => rules !== undefined));
  const withRights = new Set(rights.map(({ name }) => name));
  const cluster = options.api === 'server' ? serverCluster(clock, rights, options.admission, options) : memoryCluster(clock);
  const { client } = cluster;
  const stop = new AbortController();
  let uids = 0;
  const manager = new ControllerManager({
    // controllers act with the rights they declare; stand-ins of a test, which declare none, may do anything
    clientFor: (name) => (withRights.has(name) ? cluster.clientFor(name) : client),
    clock,
    log: options.log ?? silentLogger,
    random: () => 0.5,
    uid: () => `00000000-0000-4000-8000-${String(++uids).padStart(12, '0')}`,
    nodes,
    queuePrefix: (name) => options.clientParts?.(name)?.prefix ?? '',
    settings: { ...SETTINGS, ...options.settings },
  });
  for (const registration of options.controllers) manager.register(registration);
  let isStarted = false;
  const settle = async (): Promise<void> => {
    if (!isStarted) manager.start(stop.signal);
    isStarted = true;
    await manager.settle(AbortSignal.any([stop.signal, AbortSignal.timeout(10_000)]));
  };
  const world: TestWorld = {
    client,
    clientOf: (user) => cluster.clientOf(user),
    clock,
    nodes,
    requests: cluster.requests,
    async with(...objects) {
      await cluster.prepareFor(objects.map(({ object }) => object));
      for (const { kind, object } of objects) await createWithStatus(client, kind, object);
      return world;
    },
    settle,
    async advance(ms) {
      clock.advance(ms);
      await settle();
    },
    get: (kind, key) => client.get(kind, keyFrom(key, kind.namespaced)),
    list: async (kind, namespace) => (await client.list(kind, namespace ? { namespace } : {})).items,
    exists: (kind, key) =>
      client.get(kind, keyFrom(key, kind.namespaced)).then(
        () => true,
        () => false,
      ),
    async events(about) {
      const { items } = await client.list(EventKind);
      return items
        .filter((event) => about === undefined || concerns(event, about))
        .map((event) => `${event.type} ${event.reason} ${event.message}`);
    },
    metrics: async (wanted) => [...(await manager.metricFamilies(wanted)), ...(await cluster.requestMetrics(wanted))],
    async close() {
      stop.abort();
      await manager.stopped();
      await cluster.close();
    },
  };
  return world;
}

/** Creates the nodes and lets them become ready before anything is there that could look for one. */
export async function startWithNodes(world: TestWorld, objects: readonly Built[]): Promise<void> {
  const isNode = ({ kind }: Built): boolean => kind.plural === 'nodes';
  await world.with(...objects.filter(isNode));
  await world.settle();
  await world.with(...objects.filter((built) => !isNode(built)));
  await world.settle();
}

function memoryCluster(clock: FakeClock): ServerCluster {
  const cluster = new MemoryCluster(clock);
  const client = cluster.client();
  return {
    client,
    clientFor: () => client,
    clientOf: () => client,
    requests: cluster.requests,
    requestMetrics: async () => [],
    prepareFor: async () => {},
    close: async () => {},
  };
}

async function createWithStatus(
  client: Client,
  kind: ResourceKind<KubeObject>,
  object: KubeObject & { status?: unknown },
): Promise<void> {
  await client.create(kind, object);
  // a patch, because controllers that run already may have changed the object
  if (object.status !== undefined) {
    await client.patch(kind, keyOf(object), { status: object.status }, { type: 'merge', subresource: 'status' });
  }
}

function concerns(event: CoreEvent, { kind, object }: Built): boolean {
  const { name, namespace } = keyOf(object);
  const involved = event.involvedObject;
  return involved.kind === kind.kind && involved.name === name && (involved.namespace ?? '') === namespace;
}
