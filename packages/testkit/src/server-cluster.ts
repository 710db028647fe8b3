import { ignoreAlreadyExists, type KubeObject } from '@slipway/apimachinery';
import { bundledCustomResourceDefinitions, NamespaceKind } from '@slipway/api';
import {
  type ApiServer,
  type ApiServerOptions,
  builtinResources,
  createApiServer,
  type FieldConverter,
} from '@slipway/apiserver';
import type { Client } from '@slipway/client';
import {
  type AdmissionHandler,
  type Clock,
  type ComponentRights,
  componentUser,
  type MetricFamily,
  type MetricFilter,
  type UserInfo,
} from '@slipway/runtime';
import { memoryStoreFs, openStore } from '@slipway/store';

/** An API server in this process on a store in memory. */
export interface ServerCluster {
  readonly client: Client;
  /** The client of a component, with the rights that it declares and no others. */
  clientFor(name: string): Client;
  /** A client of somebody, without checking that it is them. */
  clientOf(user: UserInfo): Client;
  /** Writes so far, as `verb plural[/subresource] key`. */
  readonly requests: readonly string[];
  /** What the server counts of its requests. */
  requestMetrics(wanted?: MetricFilter): Promise<readonly MetricFamily[]>;
  /** Creates the namespaces that these objects live in. */
  prepareFor(objects: readonly KubeObject[]): Promise<void>;
  close(): Promise<void>;
}

/** The platform's own namespace, whose service accounts admission knows. */
const NAMESPACE = 'openshift-cnv';
const ADMIN = { username: 'tests', groups: ['system:masters'] };

export interface ServerClusterOptions {
  readonly fieldConverters?: ReadonlyMap<string, FieldConverter> | undefined;
  readonly clientParts?: ApiServerOptions['clientParts'] | undefined;
  readonly aggregatedApis?: ApiServerOptions['aggregatedApis'] | undefined;
}

export function serverCluster(
  clock: Clock,
  components: readonly ComponentRights[] = [],
  admission: (client: Client) => readonly AdmissionHandler[] = () => [],
  { fieldConverters, clientParts, aggregatedApis }: ServerClusterOptions = {},
): ServerCluster {
  const requests: string[] = [];
  // handlers ask the server that they are part of
  const own = recordingClient(
    Promise.resolve().then(async () => client),
    [],
  );
  const started = startServer({
    clock,
    components,
    admissionHandlers: admission(own),
    ...(fieldConverters && { fieldConverters }),
    ...(clientParts && { clientParts }),
    ...(aggregatedApis && { aggregatedApis }),
  });
  const client = started.then(({ server }) => server.client(ADMIN));
  return {
    client: recordingClient(client, requests),
    clientFor: (name) =>
      recordingClient(
        started.then(({ server }) => server.client(componentUser(NAMESPACE, name), name)),
        requests,
      ),
    clientOf: (user) =>
      recordingClient(
        started.then(({ server }) => server.client(user)),
        requests,
      ),
    requests,
    requestMetrics: async (wanted) => (await started).server.requestMetrics(wanted),
    async prepareFor(objects) {
      const names = new Set(objects.flatMap(({ metadata }) => metadata.namespace ?? []));
      for (const { kind, metadata } of objects) if (kind === 'Namespace') names.delete(metadata.name ?? '');
      for (const name of names) {
        const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
        await (await client).create(NamespaceKind, namespace).catch(ignoreAlreadyExists);
      }
    },
    async close() {
      const { server, store } = await started;
      await server.close();
      await store.close();
    },
  };
}

interface ServerParts {
  readonly clock: Clock;
  readonly components: readonly ComponentRights[];
  readonly admissionHandlers: readonly AdmissionHandler[];
  readonly fieldConverters?: ReadonlyMap<string, FieldConverter>;
  readonly clientParts?: NonNullable<ApiServerOptions['clientParts']>;
  readonly aggregatedApis?: NonNullable<ApiServerOptions['aggregatedApis']>;
}

async function startServer({
  clock,
  components,
  ...rest
}: ServerParts): Promise<{ server: ApiServer; store: Awaited<ReturnType<typeof openStore>> }> {
  const store = await openStore({ fs: memoryStoreFs(), now: () => clock.now() });
  const server = await createApiServer({
    store,
    definitions: builtinResources({ serviceCidrs: ['10.0.0.0/16', 'fd10:96::/112'] }),
    bundledCrds: bundledCustomResourceDefinitions(),
    nowMs: () => clock.now(),
    ...rest,
    components: components.map((component) => ({ ...component, namespace: NAMESPACE })),
  });
  return { server, store };
}

/** Notes writes, and waits for a client that is still being made. */
function recordingClient(made: Promise<Client>, requests: string[]): Client {
  const note = (verb: string, plural: string, name: string | undefined, subresource?: string): void => {
    requests.push(`${verb} ${plural}${subresource ? `/${subresource}` : ''} ${name ?? ''}`);
  };
  return {
    get: async (kind, key, options) => (await made).get(kind, key, options),
    list: async (kind, options) => (await made).list(kind, options),
    async create(kind, object, options) {
      note('create', kind.plural, object.metadata.name, options?.subresource);
      return (await made).create(kind, object, options);
    },
    async update(kind, object, options) {
      note('update', kind.plural, object.metadata.name, options?.subresource);
      return (await made).update(kind, object, options);
    },
    async patch(kind, key, patch, options) {
      note('patch', kind.plural, key.name, options.subresource);
      return (await made).patch(kind, key, patch, options);
    },
    async delete(kind, key, options) {
      note('delete', kind.plural, key.name);
      return (await made).delete(kind, key, options);
    },
    deleteCollection: async (kind, list, options) => (await made).deleteCollection(kind, list, options),
    async *watch(kind, options) {
      yield* (await made).watch(kind, options);
    },
    raw: async (request) => (await made).raw(request),
    connect: async (request) => (await made).connect(request),
  };
}
