import {
  type FieldError,
  checkDns1035Label,
  checkDns1123Subdomain,
  deepEqual,
  invalidValue,
  requiredValue,
  unsupportedValue,
} from '@slipway/apimachinery';
import { validateStructuralSchema } from '@slipway/schema';
import type { Crd, CrdVersion } from './crd-types.ts';

/** Findings of a CustomResourceDefinition. */
export function validateCrd(crd: Crd): FieldError[] {
  const { spec } = crd;
  const errors: FieldError[] = [];
  const { names } = spec;
  const fullName = `${names?.plural ?? ''}.${spec.group}`;
  if (crd.metadata.name !== fullName) {
    errors.push(invalidValue('metadata.name', crd.metadata.name, 'must be spec.names.plural+"."+spec.group'));
  }
  if (!spec.group) errors.push(requiredValue('spec.group'));
  else for (const text of checkDns1123Subdomain(spec.group)) errors.push(invalidValue('spec.group', spec.group, text));
  if (spec.scope !== 'Namespaced' && spec.scope !== 'Cluster') {
    errors.push(
      spec.scope === undefined
        ? requiredValue('spec.scope')
        : unsupportedValue('spec.scope', spec.scope, ['Cluster', 'Namespaced']),
    );
  }
  errors.push(...nameErrors(crd));
  const storage = (spec.versions ?? []).filter((version) => version.storage);
  if (storage.length !== 1)
    errors.push(invalidValue('spec.versions', spec.versions, 'must have exactly one version marked as storage version'));
  (spec.versions ?? []).forEach((version, index) => errors.push(...versionErrors(version, `spec.versions[${index}]`)));
  return errors;
}

function nameErrors({ spec: { names } }: Crd): FieldError[] {
  const errors: FieldError[] = [];
  const fields = ['plural', 'singular', 'kind', 'listKind'] as const;
  for (const field of fields) {
    const value = names?.[field];
    if (!value) {
      if (field === 'plural' || field === 'kind') errors.push(requiredValue(`spec.names.${field}`));
      continue;
    }
    for (const text of checkDns1035Label(value.toLowerCase())) errors.push(invalidValue(`spec.names.${field}`, value, text));
  }
  return errors;
}

function versionErrors(version: CrdVersion, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const text of checkDns1035Label(version.name ?? '')) errors.push(invalidValue(`${path}.name`, version.name, text));
  const schema = version.schema?.openAPIV3Schema;
  if (schema === undefined) errors.push(requiredValue(`${path}.schema.openAPIV3Schema`, 'schemas are required'));
  else errors.push(...validateStructuralSchema(schema, `${path}.schema.openAPIV3Schema`));
  return errors;
}

/** Findings of a change: scope, group and names that are in use stay. */
export function validateCrdUpdate(next: Crd, old: Crd): FieldError[] {
  const errors: FieldError[] = [];
  const immutable = (path: string, value: unknown, before: unknown): void => {
    if (!deepEqual(value, before)) errors.push(invalidValue(path, value, 'field is immutable'));
  };
  immutable('spec.group', next.spec.group, old.spec.group);
  immutable('spec.names.plural', next.spec.names.plural, old.spec.names.plural);
  if (old.status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True')) {
    immutable('spec.scope', next.spec.scope, old.spec.scope);
    immutable('spec.names.kind', next.spec.names.kind, old.spec.names.kind);
  }
  return errors;
}
