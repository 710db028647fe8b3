import {
  type FieldError,
  type StructuralSchema,
  forbiddenField,
  invalidValue,
  requiredValue,
  unsupportedValue,
} from '@slipway/apimachinery';
import { patternComplaint } from './patterns/pattern.ts';

const TYPES = ['array', 'boolean', 'integer', 'number', 'object', 'string'];
const LIST_TYPES = ['atomic', 'set', 'map'];
const MAP_TYPES = ['granular', 'atomic'];
type Place = 'root' | 'field' | 'item';
const PLACE_TEXT: Record<Place, string> = {
  root: 'must not be empty at the root',
  field: 'must not be empty for specified object fields',
  item: 'must not be empty for specified array items',
};

/** Findings of a schema that a CustomResourceDefinition may not have; `path` ends in `openAPIV3Schema`. */
export function validateStructuralSchema(schema: StructuralSchema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (schema.type !== undefined && schema.type !== 'object') {
    errors.push(invalidValue(`${path}.type`, schema.type, 'must be object at the root'));
  }
  check(schema, path, 'root', errors);
  return errors;
}

function check(schema: StructuralSchema, path: string, place: Place, errors: FieldError[]): void {
  checkType(schema, path, place, errors);
  checkForbidden(schema, path, errors);
  checkLists(schema, path, errors);
  checkPattern(schema, path, errors);
  const mapType = schema['x-kubernetes-map-type'];
  if (mapType !== undefined && !MAP_TYPES.includes(mapType)) {
    errors.push(unsupportedValue(`${path}.x-kubernetes-map-type`, mapType, MAP_TYPES));
  }
  if (schema.type === 'array' && schema.items === undefined) errors.push(requiredValue(`${path}.items`, 'must be specified'));
  for (const [name, field] of Object.entries(schema.properties ?? {}))
    check(field, `${path}.properties[${name}]`, 'field', errors);
  if (schema.items !== undefined) check(schema.items, `${path}.items`, 'item', errors);
  if (typeof schema.additionalProperties === 'object') {
    check(schema.additionalProperties, `${path}.additionalProperties`, 'field', errors);
  }
  checkBranches(schema, path, errors);
}

function checkType(schema: StructuralSchema, path: string, place: Place, errors: FieldError[]): void {
  const { type } = schema;
  const intOrString = schema['x-kubernetes-int-or-string'] === true;
  const untyped = intOrString || schema['x-kubernetes-preserve-unknown-fields'] === true;
  if (type === undefined || (type as string) === '') {
    if (!untyped || (place === 'root' && !intOrString)) errors.push(requiredValue(`${path}.type`, PLACE_TEXT[place]));
  } else if (!TYPES.includes(type)) {
    errors.push(unsupportedValue(`${path}.type`, type, TYPES));
  } else if (intOrString) {
    errors.push(invalidValue(`${path}.type`, type, 'must be empty if x-kubernetes-int-or-string is true'));
  }
  if (schema['x-kubernetes-embedded-resource'] === true) checkEmbedded(schema, path, errors);
}

function checkEmbedded(schema: StructuralSchema, path: string, errors: FieldError[]): void {
  if (schema.type !== undefined && schema.type !== 'object') {
    errors.push(invalidValue(`${path}.type`, schema.type, 'must be object if x-kubernetes-embedded-resource is true'));
  }
  if (schema['x-kubernetes-preserve-unknown-fields'] !== true && Object.keys(schema.properties ?? {}).length === 0) {
    errors.push(
      requiredValue(
        `${path}.properties`,
        'must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields',
      ),
    );
  }
}

function checkForbidden(schema: StructuralSchema, path: string, errors: FieldError[]): void {
  if (schema.uniqueItems === true) {
    errors.push(
      forbiddenField(`${path}.uniqueItems`, 'uniqueItems cannot be set to true since the runtime complexity becomes quadratic'),
    );
  }
  if (Object.keys(schema.properties ?? {}).length > 0 && typeof schema.additionalProperties === 'object') {
    errors.push(forbiddenField(`${path}.additionalProperties`, 'additionalProperties and properties are mutual exclusive'));
  }
  for (const field of ['$ref', 'definitions', 'dependencies', 'patternProperties', 'additionalItems', 'id']) {
    if (field in schema) errors.push(forbiddenField(`${path}.${field}`, `${field} is not supported`));
  }
}

function checkPattern({ pattern }: StructuralSchema, path: string, errors: FieldError[]): void {
  if (pattern === undefined) return;
  const complaint = patternComplaint(pattern);
  if (complaint === undefined) return;
  errors.push(invalidValue(`${path}.pattern`, pattern, `must be a valid regular expression, but isn't: ${complaint}`));
}

function checkLists(schema: StructuralSchema, path: string, errors: FieldError[]): void {
  const listType = schema['x-kubernetes-list-type'];
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  if (listType !== undefined) {
    if (schema.type !== 'array')
      errors.push(invalidValue(`${path}.type`, schema.type ?? '', 'must be array if x-kubernetes-list-type is specified'));
    if (!LIST_TYPES.includes(listType)) errors.push(unsupportedValue(`${path}.x-kubernetes-list-type`, listType, LIST_TYPES));
  }
  if (listType === 'map') checkMapKeys(schema, keys, path, errors);
  else if (keys.length > 0) {
    errors.push(
      forbiddenField(`${path}.x-kubernetes-list-map-keys`, "can only be specified if x-kubernetes-list-type is set to 'map'"),
    );
  }
}

function checkMapKeys({ items }: StructuralSchema, keys: readonly string[], path: string, errors: FieldError[]): void {
  if (keys.length === 0) {
    errors.push(requiredValue(`${path}.x-kubernetes-list-map-keys`, 'must not be empty if x-kubernetes-list-type is map'));
  }
  if (items === undefined) return;
  if (items.type !== 'object') {
    errors.push(
      invalidValue(`${path}.items.type`, items.type ?? '', "must be object if parent array's x-kubernetes-list-type is map"),
    );
  }
  for (const key of keys) {
    const field = items.properties?.[key];
    const itemPath = `${path}.items.properties[${key}]`;
    if (field === undefined) {
      errors.push(invalidValue(`${path}.x-kubernetes-list-map-keys`, key, 'must be a property of items'));
    } else if (field.default === undefined && items.required?.includes(key) !== true) {
      const text = 'this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property';
      errors.push(requiredValue(`${itemPath}.default`, text));
    }
  }
}

const BRANCH_FORBIDDEN = ['description', 'type', 'default', 'additionalProperties', 'nullable', 'title'] as const;

/** Inside allOf, anyOf, oneOf and not only value validations may stand. */
function checkBranches(schema: StructuralSchema, path: string, errors: FieldError[]): void {
  const intOrString = schema['x-kubernetes-int-or-string'] === true;
  for (const word of ['allOf', 'anyOf', 'oneOf'] as const) {
    schema[word]?.forEach((branch, index) => checkBranch(branch, `${path}.${word}[${index}]`, intOrString, errors));
  }
  if (schema.not !== undefined) checkBranch(schema.not, `${path}.not`, false, errors);
}

function checkBranch(branch: StructuralSchema, path: string, intOrString: boolean, errors: FieldError[]): void {
  for (const field of BRANCH_FORBIDDEN) {
    if (branch[field] === undefined || (field === 'type' && intOrString)) continue;
    const text = field === 'type' ? 'must be empty to be structural' : 'must be undefined to be structural';
    errors.push(forbiddenField(`${path}.${field}`, text));
  }
  checkPattern(branch, path, errors);
  for (const [name, field] of Object.entries(branch.properties ?? {}))
    checkBranch(field, `${path}.properties[${name}]`, false, errors);
  if (branch.items !== undefined) checkBranch(branch.items, `${path}.items`, false, errors);
  checkBranches({ ...branch, 'x-kubernetes-int-or-string': intOrString }, path, errors);
}
