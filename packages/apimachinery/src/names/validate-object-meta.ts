import type { FieldError } from '../errors.ts';
import { forbiddenField, invalidValue, requiredValue, showValue, tooLong } from '../field-errors.ts';
import type { ObjectMeta, OwnerReference } from '../types.ts';
import { type NameCheck, checkDns1123Label, checkLabelValue, checkQualifiedName, maskTrailingDash } from './names.ts';

const MAX_ANNOTATION_BYTES = 262_144;
const STANDARD_FINALIZERS = new Set(['kubernetes', 'orphan', 'foregroundDeletion']);

export interface ObjectMetaRules {
  readonly namespaced: boolean;
  readonly checkName: NameCheck;
  /** Path of the metadata, `metadata` unless it is a template's. */
  readonly path?: string;
}

/** Findings of an object's metadata on create. */
export function validateObjectMeta(
  meta: ObjectMeta,
  { namespaced, checkName, path = 'metadata' }: ObjectMetaRules,
): FieldError[] {
  const errors: FieldError[] = [];
  if (meta.generateName) {
    for (const text of checkName(maskTrailingDash(meta.generateName))) {
      errors.push(invalidValue(`${path}.generateName`, meta.generateName, text));
    }
  }
  if (!meta.name) errors.push(requiredValue(`${path}.name`, 'name or generateName is required'));
  else for (const text of checkName(meta.name)) errors.push(invalidValue(`${path}.name`, meta.name, text));
  errors.push(...validateNamespace(meta, namespaced, path));
  return [...errors, ...validateCommonMeta(meta, path)];
}

function validateNamespace(meta: ObjectMeta, namespaced: boolean, path: string): FieldError[] {
  if (!namespaced) return meta.namespace ? [forbiddenField(`${path}.namespace`, 'not allowed on this type')] : [];
  if (!meta.namespace) return [requiredValue(`${path}.namespace`)];
  return checkDns1123Label(meta.namespace).map((text) => invalidValue(`${path}.namespace`, meta.namespace, text));
}

function validateCommonMeta(meta: ObjectMeta, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if ((meta.generation ?? 0) < 0)
    errors.push(invalidValue(`${path}.generation`, meta.generation, 'must be greater than or equal to 0'));
  errors.push(...validateLabels(meta.labels, `${path}.labels`));
  errors.push(...validateAnnotations(meta.annotations, `${path}.annotations`));
  errors.push(...validateOwnerReferences(meta.ownerReferences ?? [], `${path}.ownerReferences`));
  errors.push(...validateFinalizers(meta.finalizers ?? [], `${path}.finalizers`));
  return errors;
}

export function validateLabels(labels: Record<string, string> | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const key in labels) {
    for (const text of checkQualifiedName(key)) errors.push(invalidValue(path, key, text));
    for (const text of checkLabelValue(labels[key] ?? '')) errors.push(invalidValue(path, labels[key], text));
  }
  return errors;
}

export function validateAnnotations(annotations: Record<string, string> | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  let bytes = 0;
  for (const key in annotations) {
    // the rule is case-insensitive for annotations
    for (const text of checkQualifiedName(key.toLowerCase())) errors.push(invalidValue(path, key, text));
    bytes += Buffer.byteLength(key) + Buffer.byteLength(annotations[key] ?? '');
  }
  if (bytes > MAX_ANNOTATION_BYTES) errors.push(tooLong(path, MAX_ANNOTATION_BYTES));
  return errors;
}

export function validateFinalizers(finalizers: readonly string[], path: string): FieldError[] {
  const errors: FieldError[] = [];
  finalizers.forEach((finalizer, index) => {
    for (const text of checkQualifiedName(finalizer)) errors.push(invalidValue(path, finalizer, text));
    if (!finalizer.includes('/') && !STANDARD_FINALIZERS.has(finalizer)) {
      errors.push(
        invalidValue(`${path}[${index}]`, finalizer, 'name is neither a standard finalizer name nor is it fully qualified'),
      );
    }
  });
  if (finalizers.includes('orphan') && finalizers.includes('foregroundDeletion')) {
    errors.push(invalidValue(path, finalizers, 'finalizer orphan and foregroundDeletion cannot be both set'));
  }
  return errors;
}

function validateOwnerReferences(references: readonly OwnerReference[], path: string): FieldError[] {
  const errors = references.flatMap((reference) => validateOwnerReference(reference, references, path));
  const controllers = references.filter((reference) => reference.controller === true);
  const [first, second] = controllers;
  if (first !== undefined && second !== undefined) {
    const text = `Only one reference can have Controller set to true. Found "true" in references for ${first.kind}/${first.name} and ${second.kind}/${second.name}`;
    errors.push(invalidValue(path, references, text));
  }
  return errors;
}

function validateOwnerReference(reference: OwnerReference, all: readonly OwnerReference[], path: string): FieldError[] {
  const errors: FieldError[] = [];
  // clients may leave out what the type requires
  const given: Partial<OwnerReference> = reference;
  const { apiVersion = '', kind = '', name = '', uid = '' } = given;
  const version = apiVersion.slice(apiVersion.indexOf('/') + 1);
  if (version === '') errors.push(invalidValue(`${path}.apiVersion`, apiVersion, 'version must not be empty'));
  if (kind === '') errors.push(invalidValue(`${path}.kind`, kind, 'kind must not be empty'));
  if (name === '') errors.push(invalidValue(`${path}.name`, name, 'name must not be empty'));
  if (uid === '') errors.push(invalidValue(`${path}.uid`, uid, 'uid must not be empty'));
  if (apiVersion === 'v1' && kind === 'Event') {
    errors.push(invalidValue(path, all, '/v1, Kind=Event is disallowed from being an owner'));
  }
  return errors;
}

const IMMUTABLE_TEXT = 'field is immutable';

/** Findings of an update beyond those of the new metadata itself. Both sides carry server-set fields already. */
export function validateObjectMetaUpdate(meta: ObjectMeta, old: ObjectMeta, path = 'metadata'): FieldError[] {
  const errors: FieldError[] = [];
  const immutable = (
    field: 'name' | 'namespace' | 'uid' | 'creationTimestamp' | 'deletionTimestamp' | 'deletionGracePeriodSeconds',
  ) => {
    if (meta[field] !== old[field]) errors.push(invalidValue(`${path}.${field}`, meta[field], IMMUTABLE_TEXT));
  };
  if (old.deletionTimestamp !== undefined) {
    const added = (meta.finalizers ?? []).filter((finalizer) => !old.finalizers?.includes(finalizer));
    if (added.length > 0) {
      const text = `no new finalizers can be added if the object is being deleted, found new finalizers ${showValue(added)}`;
      errors.push(forbiddenField(`${path}.finalizers`, text));
    }
  }
  immutable('name');
  immutable('namespace');
  immutable('uid');
  immutable('creationTimestamp');
  immutable('deletionTimestamp');
  immutable('deletionGracePeriodSeconds');
  return [...errors, ...validateCommonMeta(meta, path)];
}
