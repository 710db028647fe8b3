import {
  type FieldError,
  type UnstructuredObject,
  StatusError,
  alreadyExists,
  badRequest,
  checkDns1123Subdomain,
  forbidden,
  formatTime,
  invalid,
  invalidValue,
  notFound,
  validateObjectMeta,
} from '@slipway/apimachinery';
import type { AdmissionRequest } from '@slipway/runtime';
import { storedObjectOf } from '../watch-cache/collection.ts';
import { StoredObject, deepFreeze, serializeObject, storeKey } from '../watch-cache/stored-object.ts';
import { ownersOf, setOwners } from './managed-fields.ts';
import { cleanMetadata } from './clean-metadata.ts';
import { generateName } from './names.ts';
import { metaErrors } from './update-object.ts';
import { applyDefaulting, applySchema, normalized, schemaErrors } from './schema-pass.ts';
import { type WriteContext, putObject, refOf, strategyContext } from './write-context.ts';

const MAX_GENERATE_ATTEMPTS = 8;

/** Admission's view of a write. */
export function admissionRequest(
  context: WriteContext,
  operation: AdmissionRequest['operation'],
  name: string,
  objects: { object?: UnstructuredObject | undefined; oldObject?: UnstructuredObject | undefined },
): AdmissionRequest {
  const { definition } = context;
  return {
    operation,
    group: definition.group,
    version: definition.version,
    kind: definition.kind,
    resource: definition.plural,
    subresource: context.subresource,
    namespace: context.namespace,
    name,
    user: context.user,
    dryRun: context.dryRun,
    ...(context.options && { options: context.options }),
    ...(context.annotate && { annotate: context.annotate }),
    ...(objects.object && { object: objects.object }),
    ...(objects.oldObject && { oldObject: objects.oldObject }),
  };
}

/** Creates `body` (a private copy). `applied` comes from server-side apply, which keeps managedFields itself. */
export async function createObject(
  context: WriteContext,
  body: UnstructuredObject,
  options: { readonly isApplied?: boolean } = {},
): Promise<StoredObject> {
  const { generateName: prefix } = body.metadata;
  // a prefix of another type is refused when the types are looked at
  const generates = !body.metadata.name && typeof prefix === 'string' && prefix !== '';
  for (let attempt = 1; ; attempt++) {
    const object = generates ? structuredClone(body) : body;
    if (generates) object.metadata.name = generateName(prefix, context.random);
    const created = await createOnce(context, object, options.isApplied === true);
    if (created !== undefined) return created;
    const name = object.metadata.name ?? '';
    if (!generates || attempt === MAX_GENERATE_ATTEMPTS) throw existsError(context, name, generates);
  }
}

function existsError(context: WriteContext, name: string, isGenerated: boolean): StatusError {
  const { definition } = context;
  const existing = context.registry.latest(definition, context.namespace, name);
  const error = alreadyExists(refOf(definition), name);
  if (isGenerated)
    return new StatusError({
      ...error.status,
      reason: 'AlreadyExists',
      details: { ...error.status.details, retryAfterSeconds: 1 },
    });
  if (existing?.object.metadata.deletionTimestamp === undefined) return error;
  return new StatusError({ ...error.status, message: `object is being deleted: ${error.message}` });
}

/** Undefined when the name is taken. */
async function createOnce(
  context: WriteContext,
  body: UnstructuredObject,
  isApplied: boolean,
): Promise<StoredObject | undefined> {
  const { definition, registry } = context;
  const { strategy } = definition;
  const strategyCtx = strategyContext(context);
  requireNamespace(context, body.metadata.name ?? '');
  fillSystemFields(context, body);
  let object = applySchema(context, body);
  applyDefaulting(context, object);
  cleanMetadata(object, context.warn);
  const name = object.metadata.name ?? '';
  const owners = isApplied ? undefined : ownersOf(context, object, undefined);
  const request = admissionRequest(context, 'CREATE', name, { object });
  object = (await context.admission.mutate(request, context.warn, (changed) => normalized(context, changed))) ?? object;
  strategy.prepareForCreate?.(object, strategyCtx);
  if (strategy.hasGeneration) object.metadata.generation = 1;
  else if (definition.custom) delete object.metadata.generation;
  throwInvalid(context, object, createErrors(context, object));
  if (!isApplied) setOwners(object, owners);
  for (const warning of strategy.warnings?.(object, undefined) ?? []) context.warn(warning);
  await context.admission.validate(admissionRequest(context, 'CREATE', name, { object }), context.warn);

  const key = registry.keyOf(definition, context.namespace, name);
  if (context.dryRun) {
    if (registry.store.latest(key) !== undefined) return undefined;
    return new StoredObject(key, 0, serializeObject(object), deepFreeze(object));
  }
  return putObject(context, key, object, 0);
}

function createErrors(context: WriteContext, object: UnstructuredObject): FieldError[] {
  const { definition } = context;
  const { strategy } = definition;
  const checkName = strategy.validateName
    ? (value: string): string[] => strategy.validateName?.(value, false) ?? []
    : checkDns1123Subdomain;
  return [
    ...metaErrors(context, validateObjectMeta(object.metadata, { namespaced: definition.namespaced, checkName })),
    ...schemaErrors(context, object, undefined),
    ...(strategy.validate?.(object, strategyContext(context)) ?? []),
  ];
}

/** Throws 422 when there are findings. */
export function throwInvalid(context: WriteContext, object: UnstructuredObject, errors: readonly FieldError[]): void {
  const { group, errorGroup = group, kind } = context.definition;
  if (errors.length > 0) throw invalid({ group: errorGroup, kind }, object.metadata.name ?? '', errors);
}

function fillSystemFields(context: WriteContext, object: UnstructuredObject): void {
  const { metadata } = object;
  if (metadata.resourceVersion && metadata.resourceVersion !== '0')
    throw badRequest('resourceVersion should not be set on objects to be created');
  delete metadata.resourceVersion;
  delete metadata.deletionTimestamp;
  delete metadata.deletionGracePeriodSeconds;
  delete (metadata as Record<string, unknown>)['selfLink']; // a field of old clients
  metadata.uid = context.uid();
  metadata.creationTimestamp = formatTime(context.nowMs());
  if (context.definition.namespaced) metadata.namespace = context.namespace;
  else delete metadata.namespace;
}

/** Objects go only into namespaces that exist and stay. */
function requireNamespace(context: WriteContext, name: string): void {
  const { definition, namespace, registry } = context;
  if (!definition.namespaced) return;
  // a namespace just being written counts: its creator got no answer yet, but others may act on its events
  const entry = registry.store.latest(storeKey({ group: '', plural: 'namespaces' }, '', namespace));
  if (entry === undefined) throw notFound({ resource: 'namespaces', group: '' }, namespace);
  if (storedObjectOf(entry).object.metadata.deletionTimestamp !== undefined) throw terminatingError(context, name);
}

function terminatingError({ definition, namespace }: WriteContext, name: string): StatusError {
  const text = `unable to create new content in namespace ${namespace} because it is being terminated`;
  const error = forbidden(refOf(definition), name, text);
  const cause = {
    reason: 'NamespaceTerminating',
    message: `namespace ${namespace} is being terminated`,
    field: 'metadata.namespace',
  };
  return new StatusError({ ...error.status, details: { ...error.status.details, causes: [cause] } });
}

/** Finding of a PUT without resourceVersion where one is needed. */
export const missingVersionError = (): FieldError => ({
  ...invalidValue('metadata.resourceVersion', '0x0', 'must be specified for an update'),
  detail: 'Invalid value: 0x0: must be specified for an update',
});
