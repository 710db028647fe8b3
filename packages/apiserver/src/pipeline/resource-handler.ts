import {
  StatusError,
  type UnstructuredObject,
  apiVersionOf,
  applyStrategicMergePatch,
  badRequest,
  cloneJson,
  notFound,
} from '@slipway/apimachinery';
import { PROTOBUF_TYPE } from '../protobuf/decode.ts';
import { hasProtobuf } from '../protobuf/encode.ts';
import { watchInProtobuf } from '../protobuf/watch-frames.ts';
import { createObject } from '../registry/create-object.ts';
import { type DeleteResult, deleteObject } from '../registry/delete-object.ts';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { checkIdentity, updateObject } from '../registry/update-object.ts';
import { type WriteContext, refOf } from '../registry/write-context.ts';
import type { RequestInfo } from '../routing/request-info.ts';
import type { StoredObject } from '../watch-cache/stored-object.ts';
import { tableOf } from '../table/table.ts';
import { handleApply } from './apply.ts';
import { decodeObject, decodeValue } from './decode-body.ts';
import { listObjects } from './list.ts';
import { type Accepted, negotiate, notAcceptable } from './negotiate.ts';
import { mapText, patchRefusal, patchedText } from './patch-refusal.ts';
import { APPLY_PATCH, STRATEGIC_PATCH, patchType, patcher } from './patch.ts';
import { parseResourceVersion, waitForRevision } from './resource-version.ts';
import type { Answer, Call } from './server-context.ts';
import { partialMetadata, shapeList, shapeObject, tableOptions } from './shape.ts';
import { type FrameShape, openWatch } from './watch.ts';
import { deleteOptions, writeContext } from './write-options.ts';

export const methodNotAllowed = (): StatusError =>
  new StatusError({
    code: 405,
    reason: 'MethodNotAllowed',
    message: 'the server does not allow this method on the requested resource',
    details: {},
  });

export const resourceNotFound = (): StatusError =>
  new StatusError({ code: 404, reason: 'NotFound', message: 'the server could not find the requested resource', details: {} });

/** Answers a request for a stored resource or its status. Throws StatusError. */
export async function handleResource(call: Call, definition: ResourceDefinition): Promise<Answer> {
  const { info, request } = call;
  if (definition.deprecationWarning !== undefined) call.warnings.push(definition.deprecationWarning);
  const accepted = negotiate(request.headers['accept'], {
    isCustom: definition.custom,
    isCollection: info.name === '',
    hasProtobuf: () => !definition.custom && hasProtobuf(apiVersionOf(definition), definition.kind),
  });
  if (!allowsRequest(definition, info)) throw methodNotAllowed();
  switch (info.verb) {
    case 'get':
      return shapeObject(call, definition, await getObject(call, definition), accepted);
    case 'list':
      await prepareAll(call, definition);
      return shapeList(
        call,
        definition,
        await listObjects(call.server.registry, definition, scopeOf(call, definition), request.query),
        accepted,
      );
    case 'watch':
      return watchObjects(call, definition, accepted);
    case 'create':
      return create(call, definition, accepted);
    case 'update':
      return replace(call, definition, accepted);
    case 'patch':
      return patch(call, definition, accepted);
    case 'delete':
      return remove(call, definition, accepted);
    case 'deletecollection':
      return removeCollection(call, definition, accepted);
    default:
      throw methodNotAllowed();
  }
}

/** Converts what a read may show, where that takes a webhook. */
async function prepareAll(call: Call, definition: ResourceDefinition): Promise<void> {
  if (definition.convert === undefined) return;
  const { registry } = call.server;
  const { name, namespace } = call.info;
  const collection = registry.collectionOf(definition);
  const wanted =
    name === '' ? collection.list(scopeOf(call, definition)) : [collection.get(registry.keyOf(definition, namespace, name))];
  await registry.prepare(definition, wanted);
}

const scopeOf = (call: Call, definition: ResourceDefinition): string => (definition.namespaced ? call.info.namespace : '');

function allowsRequest(definition: ResourceDefinition, { verb, name, namespace, subresource }: RequestInfo): boolean {
  if (name === '' && (verb === 'update' || verb === 'patch')) return false;
  if (definition.namespaced && namespace === '' && verb !== 'list' && verb !== 'watch') return false;
  return allowsVerb(definition, verb, subresource);
}

function allowsVerb(definition: ResourceDefinition, verb: string, subresource: string): boolean {
  if (subresource === '') return definition.verbs.some((allowed) => allowed === verb);
  return verb === 'get' || verb === 'update' || verb === 'patch';
}

async function getObject(call: Call, definition: ResourceDefinition): Promise<StoredObject> {
  const { registry } = call.server;
  const revision = parseResourceVersion(call.request.query.get('resourceVersion'));
  if (revision !== undefined && revision > registry.cache.revision) await waitForRevision(registry.cache, revision);
  if (definition.convert !== undefined) await prepareAll(call, definition);
  const stored = registry.get(definition, call.info.namespace, call.info.name);
  if (stored === undefined) throw notFound(refOf(definition), call.info.name);
  return stored;
}

async function watchObjects(call: Call, definition: ResourceDefinition, accepted: Accepted): Promise<Answer> {
  if (accepted.format === 'yaml') {
    throw notAcceptable(['application/json;stream=watch', 'application/vnd.kubernetes.protobuf;stream=watch']);
  }
  const shape = accepted.as === undefined ? undefined : watchShape(call, definition, accepted);
  const watch = await openWatch(call.server.registry, definition, scopeOf(call, definition), watchQueryOf(call), shape);
  if (accepted.format === 'json') return { status: 200, watch };
  return { status: 200, watch: watchInProtobuf(watch), headers: { 'content-type': `${PROTOBUF_TYPE};stream=watch` } };
}

/** The old form `/watch/…/NAME` watches one object. */
function watchQueryOf({ info, request }: Call): URLSearchParams {
  if (info.name === '') return request.query;
  const query = new URLSearchParams(request.query);
  query.set('fieldSelector', `metadata.name=${info.name}`);
  return query;
}

function watchShape(call: Call, definition: ResourceDefinition, accepted: Accepted): FrameShape {
  let isFirst = true;
  const options = tableOptions(call, accepted);
  return (_type, stored) => {
    if (accepted.as !== 'Table') return partialMetadata(stored.object, options.apiVersion);
    const table = tableOf(definition, [stored], { ...options, resourceVersion: stored.object.metadata.resourceVersion ?? '' });
    const shown = isFirst ? table : { ...table, columnDefinitions: null };
    isFirst = false;
    return shown;
  };
}

async function create(call: Call, definition: ResourceDefinition, accepted: Accepted): Promise<Answer> {
  if (call.info.name !== '') throw methodNotAllowed();
  const context = writeContext(call, definition);
  const body = decodeObject(call.request, definition);
  checkIdentity(context, body, undefined);
  return shapeWritten(call, context, await createObject(context, body), accepted, 201);
}

async function replace(call: Call, definition: ResourceDefinition, accepted: Accepted): Promise<Answer> {
  const context = writeContext(call, definition);
  const body = decodeObject(call.request, definition);
  const { name } = call.info;
  checkIdentity(context, body, name);
  if (!body.metadata.name) throw badRequest('name must be provided');
  const createsMissing = definition.strategy.allowCreateOnUpdate === true && call.info.subresource === '';
  const result = await updateObject(context, name, {
    next: () => cloneJson(body),
    isReplacement: true,
    ...(createsMissing && { createWhenMissing: () => cloneJson(body) }),
  });
  return shapeWritten(call, context, result.stored, accepted, result.isCreated ? 201 : 200);
}

async function patch(call: Call, definition: ResourceDefinition, accepted: Accepted): Promise<Answer> {
  const written = writeContext(call, definition);
  const { name } = call.info;
  const type = patchType(call, definition);
  if (type === APPLY_PATCH) {
    const applied = await handleApply(call, written, name);
    return shapeWritten(call, written, applied.stored, accepted, applied.isCreated ? 201 : 200);
  }
  const apply = patcher(call, definition, strategicPatch);
  let shown = '';
  const context: WriteContext = { ...written, decodingError: (why) => patchRefusal(shown, why) };
  const next = (old: UnstructuredObject): UnstructuredObject => {
    const patched = apply(old);
    shown = type === STRATEGIC_PATCH ? mapText(decodeValue(call.request)) : patchedText(patched, definition);
    checkIdentity(context, patched, name);
    return patched;
  };
  const { stored } = await updateObject(context, name, { next, isReplacement: false });
  return shapeWritten(call, context, stored, accepted, 200);
}

const strategicPatch = (old: UnstructuredObject, change: Record<string, unknown>, { schema }: ResourceDefinition): unknown =>
  applyStrategicMergePatch(old, change, schema ?? {});

async function remove(call: Call, definition: ResourceDefinition, accepted: Accepted): Promise<Answer> {
  const { options, dryRun } = deleteOptions(decodeValue(call.request), call.request.query);
  const context = writeContext(call, definition, { dryRun });
  const result = await deleteObject(context, call.info.name, options);
  if (!result.isGone || definition.strategy.deleteReturnsObject) return shapeWritten(call, context, result.stored, accepted, 200);
  return { status: 200, value: deletedStatus(definition, result) };
}

function deletedStatus({ group, plural }: ResourceDefinition, { stored }: DeleteResult): unknown {
  const details = { name: stored.name, ...(group && { group }), kind: plural, uid: stored.object.metadata.uid };
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details };
}

async function removeCollection(call: Call, definition: ResourceDefinition, accepted: Accepted): Promise<Answer> {
  const { options, dryRun } = deleteOptions(decodeValue(call.request), call.request.query);
  const { registry } = call.server;
  await prepareAll(call, definition);
  const list = await listObjects(registry, definition, scopeOf(call, definition), call.request.query);
  const deleted: StoredObject[] = [];
  for (const { namespace, name } of list.items) {
    const base = writeContext(call, definition, { dryRun });
    try {
      deleted.push((await deleteObject({ ...base, namespace }, name, options)).stored);
    } catch (error) {
      if (!(error instanceof StatusError && error.code === 404)) throw error; // somebody else deleted it
    }
  }
  const { continue: token, ...rest } = list;
  return shapeList(call, definition, { ...rest, ...(token !== undefined && { continue: token }), items: deleted }, accepted);
}

/** A dry run of a create shows no resourceVersion, since there is none. */
function shapeWritten(call: Call, context: WriteContext, stored: StoredObject, accepted: Accepted, status: number): Answer {
  return shapeObject(call, context.definition, stored, accepted, status);
}
