import { createHash } from 'node:crypto';
import type { Answer, Call, ServerContext } from '../pipeline/server-context.ts';
import type { Registry } from '../registry/registry.ts';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { operationV2, operationV3, pathsOf, schemasOf } from './documents.ts';
import { PROTOBUF_V2_TYPE, encodeOpenApiV2 } from './protobuf-v2.ts';
import { schemaName } from './schema-names.ts';

interface Document {
  readonly text: string;
  readonly hash: string;
}

interface DocumentCache {
  readonly generation: string;
  readonly documents: Map<string, Document>;
}

const caches = new WeakMap<Registry, DocumentCache>();

/** Documents are made when first asked for and kept until the served resources change. */
function document(server: ServerContext, name: string, make: () => unknown): Document {
  const { registry, remoteApis } = server;
  const generation = `${registry.generation} ${remoteApis.generation}`;
  let cache = caches.get(registry);
  if (cache === undefined || cache.generation !== generation) {
    cache = { generation, documents: new Map() };
    caches.set(registry, cache);
  }
  const known = cache.documents.get(name);
  if (known !== undefined) return known;
  const text = JSON.stringify(make());
  const made = { text, hash: createHash('sha256').update(text).digest('hex').toUpperCase().slice(0, 64) };
  cache.documents.set(name, made);
  return made;
}

const stored = (server: ServerContext): ResourceDefinition[] => server.registry.all();

/** OpenAPI v2 and v3 documents. Undefined when the path is none of theirs. */
export async function handleOpenApi(call: Call): Promise<Answer | undefined> {
  const { path } = call.request;
  if (path === '/openapi/v2') return v2Answer(call);
  if (path === '/openapi/v3' || path === '/openapi/v3/') {
    return { status: 200, text: document(call.server, 'v3', () => rootDocument(call.server)).text };
  }
  if (!path.startsWith('/openapi/v3/')) return undefined;
  const name = path.slice('/openapi/v3/'.length);
  const definitions = stored(call.server).filter((definition) => documentName(definition) === name);
  const remote = definitions.length === 0 ? remoteDocument(call.server, name) : undefined;
  if (remote !== undefined) {
    return withEtag(
      call,
      document(call.server, name, () => JSON.parse(remote)),
    );
  }
  if (definitions.length === 0) return undefined;
  return withEtag(
    call,
    document(call.server, name, () => groupDocument(definitions)),
  );
}

const documentName = ({ group, version }: ResourceDefinition): string =>
  group === '' ? `api/${version}` : `apis/${group}/${version}`;

/** The document of a group and version that another server answers, as that server made it. */
function remoteDocument({ remoteApis }: ServerContext, name: string): string | undefined {
  for (const { groupVersion, documents } of remoteApis.documents()) {
    if (name === `apis/${groupVersion}`) return documents.v3;
  }
  return undefined;
}

function withEtag(call: Call, { text, hash }: Document): Answer {
  const etag = `"${hash}"`;
  const headers = { etag, vary: 'Accept' };
  if (call.request.headers['if-none-match'] === etag) return { status: 304, headers, bytes: new Uint8Array() };
  return { status: 200, headers, text };
}

function rootDocument(server: ServerContext): unknown {
  const names = [...new Set(stored(server).map(documentName))].sort();
  const paths = names.map((name) => {
    const definitions = stored(server).filter((definition) => documentName(definition) === name);
    const { hash } = document(server, name, () => groupDocument(definitions));
    return [name, { serverRelativeURL: `/openapi/v3/${name}?hash=${hash}` }];
  });
  const remotes = [...server.remoteApis.documents()].flatMap(({ groupVersion, documents: { v3 } }) => {
    if (v3 === undefined) return [];
    const name = `apis/${groupVersion}`;
    const { hash } = document(server, name, () => JSON.parse(v3));
    return [[name, { serverRelativeURL: `/openapi/v3/${name}?hash=${hash}` }]];
  });
  return { paths: Object.fromEntries([...paths, ...remotes]) };
}

function groupDocument(definitions: readonly ResourceDefinition[]): unknown {
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: 'v1.26.15' },
    paths: Object.assign({}, ...definitions.map((definition) => pathsOf(definition, operationV3))),
    components: { schemas: schemasOf(definitions, '#/components/schemas/') },
  };
}

function v2Answer(call: Call): Answer {
  const { text, hash } = document(call.server, 'v2', () => v2Document(call.server));
  if (prefersProtobuf(call.request.headers['accept'] ?? '')) return protobufAnswer(call, text, hash);
  const answer = withEtag(call, { text, hash });
  // Kubernetes-compat: this document is served without a JSON content type
  return { ...answer, headers: { ...answer.headers, 'content-type': 'text/plain; charset=utf-8' } };
}

/** True when the protobuf form stands before JSON in an Accept list. */
function prefersProtobuf(accept: string): boolean {
  const json = accept.indexOf('application/json');
  const protobuf = accept.indexOf(PROTOBUF_V2_TYPE);
  return protobuf >= 0 && (json < 0 || protobuf < json);
}

const encoded = new WeakMap<Registry, { readonly hash: string; readonly bytes: Buffer }>();

function protobufAnswer({ server: { registry }, request }: Call, text: string, hash: string): Answer {
  const etag = `"${hash}-pb"`;
  const headers = { etag, vary: 'Accept', 'content-type': 'application/octet-stream' };
  if (request.headers['if-none-match'] === etag) return { status: 304, headers, bytes: new Uint8Array() };
  let known = encoded.get(registry);
  if (known?.hash !== hash) {
    known = { hash, bytes: encodeOpenApiV2(JSON.parse(text)) };
    encoded.set(registry, known);
  }
  return { status: 200, headers, bytes: known.bytes };
}

function v2Document(server: ServerContext): unknown {
  const definitions = stored(server);
  const remotes = [...server.remoteApis.documents()].flatMap(({ documents: { v2 } }) => v2 ?? []);
  return {
    swagger: '2.0',
    info: { title: 'Kubernetes', version: 'v1.26.15' },
    paths: Object.assign(
      {},
      ...remotes.map(({ paths }) => paths),
      ...definitions.map((definition) => pathsOf(definition, operationV2)),
    ),
    // of two definitions with one name, ours is the one our own paths mean
    definitions: Object.assign(
      {},
      ...remotes.map(({ definitions: remote }) => remote),
      schemasOf(definitions, '#/definitions/'),
      namedParts(definitions),
    ),
  };
}

/** Parts of kinds that clients look up by their published name. */
function namedParts(definitions: readonly ResourceDefinition[]): Record<string, unknown> {
  const parts: Record<string, unknown> = {};
  for (const definition of definitions) {
    for (const part of ['Spec', 'Status']) {
      const schema = definition.schema?.properties?.[part.toLowerCase()];
      if (!definition.custom && schema !== undefined) parts[schemaName(definition, `${definition.kind}${part}`)] = schema;
    }
  }
  return parts;
}
