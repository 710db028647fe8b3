import { type FieldError, StatusError, type StructuralSchema, type UnstructuredObject, badRequest } from '@slipway/apimachinery';
import {
  applyDefaults,
  dropNulls,
  metadataTypeComplaint,
  prune,
  validateListTypes,
  validateRules,
  validateValue,
} from '@slipway/schema';
import { WrongType } from './resource-definition.ts';
import type { WriteContext } from './write-context.ts';

/** Drops unknown fields (warning or refusing as the client wishes) and fills the schema's defaults. */
export function applySchema(context: WriteContext, body: UnstructuredObject): UnstructuredObject {
  const { schema, custom } = context.definition;
  if (schema === undefined) return body;
  if (custom) {
    requireMetadataTypes(context, body, schema);
    fillNullFinalizers(body);
  }
  const { value, unknownFields } = prune(body, schema, { isRoot: true, inDocumentOrder: !custom });
  reportUnknown(context, context.definition.custom ? unknownFields : metadataFirst(unknownFields));
  return applyDefaults(dropNulls(value, schema), schema);
}

/** What a webhook made of an object: unknown fields are dropped without a word, defaults filled. */
export function normalized(context: WriteContext, object: UnstructuredObject): UnstructuredObject {
  const next = applySchema({ ...context, fieldValidation: 'Ignore' }, object);
  applyDefaulting(context, next);
  return next;
}

/** Built-in objects are read field by field, and their metadata comes first. */
function metadataFirst(paths: readonly string[]): string[] {
  const isMetadata = (path: string): boolean => path.startsWith('metadata.');
  return [...paths.filter(isMetadata), ...paths.filter((path) => !isMetadata(path))];
}

/** A null in a list of texts means the empty text. */
function fillNullFinalizers({ metadata }: UnstructuredObject): void {
  const finalizers: readonly (string | null)[] | undefined = metadata.finalizers;
  if (finalizers?.includes(null) === true) metadata.finalizers = finalizers.map((finalizer) => finalizer ?? '');
}

function requireMetadataTypes(context: WriteContext, body: UnstructuredObject, schema: StructuralSchema): void {
  const complaint = metadataTypeComplaint(body, schema);
  if (complaint === undefined) return;
  throw decodingError(context, complaint);
}

function reportUnknown(context: WriteContext, paths: readonly string[]): void {
  const { textFindings = [], fieldValidation } = context;
  if (paths.length + textFindings.length === 0 || fieldValidation === 'Ignore') return;
  const texts = [...textFindings, ...paths.map((path) => `unknown field "${path}"`)];
  if (context.fieldValidation === 'Warn') return texts.forEach(context.warn);
  throw strictError(context, texts);
}

/** Refusal under `fieldValidation=Strict`. */
export function strictError(context: WriteContext, texts: readonly string[]): StatusError {
  return decodingError(context, `strict decoding error: ${texts.join(', ')}`);
}

/** Refusal of a body that cannot be read as the kind it should be. */
export function decodingError(context: WriteContext, why: string): StatusError {
  const { kind, version } = context.definition;
  return context.decodingError?.(why) ?? badRequest(`${kind} in version "${version}" cannot be handled as a ${kind}: ${why}`);
}

/** Fills the kind's own defaults, which also checks the types of built-in kinds. Throws as `decodingError` says. */
export function applyDefaulting(context: WriteContext, object: UnstructuredObject): void {
  try {
    context.definition.strategy.default?.(object);
  } catch (error) {
    if (error instanceof WrongType) throw decodingError(context, error.message);
    throw error;
  }
}

/** Findings of the schema, and of its rules when it has none. Unchanged places count, as in 1.26. */
export function schemaErrors(
  context: WriteContext,
  object: UnstructuredObject,
  old: UnstructuredObject | undefined,
): FieldError[] {
  const { schema, custom } = context.definition;
  if (schema === undefined || !custom) return []; // built-in kinds check themselves, with wording of their own
  const errors = [...validateValue(object, schema), ...validateListTypes(object, schema)];
  return errors.length > 0 ? errors : validateRules(object, old, schema);
}
