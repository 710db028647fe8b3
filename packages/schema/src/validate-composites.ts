import { type FieldError, type StructuralSchema, invalidValue } from '@slipway/apimachinery';
import { renderPath } from './path.ts';
import { type Walk, visit } from './validate.ts';

/** `allOf`, `anyOf`, `oneOf`, `not`. */
export function checkComposites(value: unknown, schema: StructuralSchema, walk: Walk): void {
  if (schema.anyOf !== undefined && !isTypeChoice(schema)) checkAnyOf(value, schema.anyOf, walk);
  if (schema.oneOf !== undefined) checkOneOf(value, schema.oneOf, walk);
  if (schema.allOf !== undefined) checkAllOf(value, schema.allOf, walk);
  if (schema.not !== undefined && findings(value, schema.not, walk).length === 0) {
    refuse(walk, 'must not validate the schema (not)');
  }
}

/** `anyOf: [{type: integer}, {type: string}]` only spells out int-or-string, which the type check covers. */
function isTypeChoice(schema: StructuralSchema): boolean {
  return (
    schema['x-kubernetes-int-or-string'] === true && (schema.anyOf ?? []).every((branch) => Object.keys(branch).length === 1)
  );
}

function findings(value: unknown, schema: StructuralSchema, walk: Walk): FieldError[] {
  const branch: Walk = { errors: [], stack: [...walk.stack] };
  visit(value, schema, branch);
  return branch.errors;
}

function refuse(walk: Walk, rule: string): void {
  const path = renderPath(walk.stack);
  walk.errors.push(invalidValue(path === '' ? '<nil>' : path, '', `"${path}" ${rule}`));
}

const fewest = (lists: readonly FieldError[][]): FieldError[] =>
  lists.reduce((best, list) => (list.length < best.length ? list : best), lists[0] ?? []);

function checkAnyOf(value: unknown, branches: readonly StructuralSchema[], walk: Walk): void {
  const results = branches.map((branch) => findings(value, branch, walk));
  if (results.some((errors) => errors.length === 0)) return;
  refuse(walk, 'must validate at least one schema (anyOf)');
  walk.errors.push(...fewest(results));
}

function checkOneOf(value: unknown, branches: readonly StructuralSchema[], walk: Walk): void {
  const results = branches.map((branch) => findings(value, branch, walk));
  const valid = results.filter((errors) => errors.length === 0).length;
  if (valid === 1) return;
  const found = valid === 0 ? 'Found none valid' : `Found ${valid} valid alternatives`;
  refuse(walk, `must validate one and only one schema (oneOf). ${found}`);
  if (valid === 0) walk.errors.push(...fewest(results));
}

function checkAllOf(value: unknown, branches: readonly StructuralSchema[], walk: Walk): void {
  const results = branches.map((branch) => findings(value, branch, walk));
  const failed = results.filter((errors) => errors.length > 0);
  if (failed.length === 0) return;
  refuse(walk, `must validate all the schemas (allOf)${failed.length === results.length ? '. None validated' : ''}`);
  walk.errors.push(...failed.flat());
}
