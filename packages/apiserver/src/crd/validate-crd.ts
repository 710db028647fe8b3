import {
  type FieldError,
  checkDns1035Label,
  checkDns1123Subdomain,
  deepEqual,
  duplicateValue,
  invalidValue,
  parseJsonPath,
  requiredValue,
  unsupportedValue,
} from '@slipway/apimachinery';
import { validateRuleSources, validateStructuralSchema } from '@slipway/schema';
import type { Crd, CrdColumn, CrdVersion } from './crd-types.ts';

const COLUMN_TYPES = ['boolean', 'date', 'integer', 'number', 'string'];
const SIMPLE_PATH = /^(\.[A-Za-z_][A-Za-z0-9_-]*(\[[^\]]*\])*)+$/;
const PROTECTED_GROUP = /(^|\.)(k8s|kubernetes)\.io$/;
const APPROVED = 'api-approved.kubernetes.io';

/** Findings of a CustomResourceDefinition. */
export function validateCrd(crd: Crd): FieldError[] {
  const { spec } = crd;
  const errors: FieldError[] = [];
  if (typeof spec !== 'object' || spec === null) return [requiredValue('spec')];
  const fullName = `${spec.names?.plural ?? ''}.${spec.group}`;
  if (crd.metadata.name !== fullName) {
    errors.push(invalidValue('metadata.name', crd.metadata.name, 'must be spec.names.plural+"."+spec.group'));
  }
  errors.push(...groupErrors(crd), ...scopeErrors(crd), ...nameErrors(crd), ...versionListErrors(crd));
  return errors;
}

function groupErrors({ spec, metadata }: Crd): FieldError[] {
  if (!spec.group) return [requiredValue('spec.group')];
  const errors = checkDns1123Subdomain(spec.group).map((text) => invalidValue('spec.group', spec.group, text));
  if (!spec.group.includes('.')) errors.push(invalidValue('spec.group', spec.group, 'should be a domain with at least one dot'));
  if (PROTECTED_GROUP.test(spec.group) && !metadata.annotations?.[APPROVED]) {
    errors.push(
      requiredValue(
        `metadata.annotations[${APPROVED}]`,
        `protected groups must have approval annotation "${APPROVED}", see https://github.com/kubernetes/enhancements/pull/1111`,
      ),
    );
  }
  return errors;
}

function scopeErrors({ spec }: Crd): FieldError[] {
  if (spec.scope === 'Namespaced' || spec.scope === 'Cluster') return [];
  return [
    spec.scope === undefined
      ? requiredValue('spec.scope')
      : unsupportedValue('spec.scope', spec.scope, ['Cluster', 'Namespaced']),
  ];
}

function nameErrors({ spec: { names } }: Crd): FieldError[] {
  const errors: FieldError[] = [];
  const check = (field: string, value: string | undefined, mixedCase: boolean): void => {
    if (!value) {
      if (field === 'plural' || field === 'kind') errors.push(requiredValue(`spec.names.${field}`));
      return;
    }
    for (const text of checkDns1035Label(mixedCase ? value.toLowerCase() : value)) {
      const detail = mixedCase ? `may have mixed case, but should otherwise match: ${text}` : text;
      errors.push(invalidValue(`spec.names.${field}`, value, detail));
    }
  };
  check('plural', names?.plural, false);
  check('singular', names?.singular, false);
  (names?.shortNames ?? []).forEach((name, index) => check(`shortNames[${index}]`, name, false));
  check('kind', names?.kind, true);
  check('listKind', names?.listKind, true);
  return errors;
}

function versionListErrors({ spec }: Crd): FieldError[] {
  const versions = spec.versions ?? [];
  const errors: FieldError[] = [];
  if (versions.filter(({ storage }) => storage).length !== 1) {
    errors.push(invalidValue('spec.versions', versions, 'must have exactly one version marked as storage version'));
  }
  versions.forEach(({ name }, index) => {
    for (const text of checkDns1035Label(name || '')) errors.push(invalidValue(`spec.versions[${index}].name`, name, text));
    if (versions.findIndex((other) => other.name === name) !== index)
      errors.push(duplicateValue(`spec.versions[${index}].name`, name));
  });
  // what all versions share is reported once, at the place it had before there were versions
  const isShared = (pick: (version: CrdVersion) => unknown): boolean =>
    versions.every((version) => deepEqual(pick(version), pick(versions[0] as CrdVersion))); // every() of none asks nothing
  const each = (shared: boolean, check: (version: CrdVersion, prefix: string) => FieldError[]): void => {
    if (shared && versions[0] !== undefined) errors.push(...check(versions[0], 'spec'));
    else versions.forEach((version, index) => errors.push(...check(version, `spec.versions[${index}]`)));
  };
  const schemaShared = isShared(({ schema }) => schema);
  each(schemaShared, (version, prefix) => schemaErrors(version, schemaShared ? 'spec.validation' : `${prefix}.schema`));
  each(
    isShared((version) => version.additionalPrinterColumns),
    columnErrors,
  );
  each(
    isShared((version) => version.subresources),
    scaleErrors,
  );
  return errors;
}

function schemaErrors({ schema }: CrdVersion, path: string): FieldError[] {
  const root = schema?.openAPIV3Schema;
  if (root === undefined) {
    return [
      requiredValue(
        path === 'spec.validation' ? 'spec.versions[0].schema.openAPIV3Schema' : `${path}.openAPIV3Schema`,
        'schemas are required',
      ),
    ];
  }
  const errors = validateStructuralSchema(root, `${path}.openAPIV3Schema`);
  return errors.length > 0 ? errors : validateRuleSources(root, `${path}.openAPIV3Schema`);
}

function columnErrors({ additionalPrinterColumns = [] }: CrdVersion, prefix: string): FieldError[] {
  return additionalPrinterColumns.flatMap((column, index) =>
    oneColumnErrors(column, `${prefix}.additionalPrinterColumns[${index}]`),
  );
}

function oneColumnErrors({ name, type, jsonPath }: CrdColumn, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!name) errors.push(requiredValue(`${path}.name`));
  if (!type) errors.push(requiredValue(`${path}.type`, `must be one of ${COLUMN_TYPES.join(',')}`));
  else if (!COLUMN_TYPES.includes(type))
    errors.push(invalidValue(`${path}.type`, type, `must be one of ${COLUMN_TYPES.join(',')}`));
  if (!jsonPath) errors.push(requiredValue(`${path}.JSONPath`));
  else if (!isColumnPath(jsonPath))
    errors.push(invalidValue(`${path}.JSONPath`, jsonPath, 'must be a simple json path starting with .'));
  return errors;
}

function isColumnPath(path: string): boolean {
  if (!path.startsWith('.')) return false;
  try {
    parseJsonPath(path);
    return true;
  } catch {
    return false; // the finding says so
  }
}

function scaleErrors({ subresources }: CrdVersion, prefix: string): FieldError[] {
  const scale = subresources?.scale;
  if (scale === undefined) return [];
  const path = `${prefix}.subresources.scale`;
  const check = (field: string, value: string | undefined, root: string): FieldError[] => {
    if (!value) return field === 'labelSelectorPath' ? [] : [requiredValue(`${path}.${field}`)];
    if (!SIMPLE_PATH.test(value)) return [invalidValue(`${path}.${field}`, value, 'must be a simple json path starting with .')];
    return value.startsWith(`${root}.`) ? [] : [invalidValue(`${path}.${field}`, value, `should be a json path under ${root}`)];
  };
  return [
    ...check('specReplicasPath', scale.specReplicasPath, '.spec'),
    ...check('statusReplicasPath', scale.statusReplicasPath, '.status'),
    ...(scale.labelSelectorPath?.startsWith('.spec.') ? [] : check('labelSelectorPath', scale.labelSelectorPath, '.status')),
  ];
}

/** Findings of a change: scope, group and names that are in use stay, stored versions too. */
export function validateCrdUpdate(next: Crd, old: Crd): FieldError[] {
  const errors: FieldError[] = [];
  const immutable = (path: string, value: unknown, before: unknown): void => {
    if (!deepEqual(value, before)) errors.push(invalidValue(path, value, 'field is immutable'));
  };
  if (next.spec?.names === undefined || next.spec.versions === undefined) return errors; // said by the validation of the whole
  immutable('spec.group', next.spec.group, old.spec.group);
  immutable('spec.names.plural', next.spec.names.plural, old.spec.names.plural);
  if (old.status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True')) {
    immutable('spec.scope', next.spec.scope, old.spec.scope);
    immutable('spec.names.kind', next.spec.names.kind, old.spec.names.kind);
  }
  (next.status?.storedVersions ?? []).forEach((version, index) => {
    if (!next.spec.versions.some(({ name }) => name === version)) {
      errors.push(invalidValue(`status.storedVersions[${index}]`, version, 'must appear in spec.versions'));
    }
  });
  return errors;
}
