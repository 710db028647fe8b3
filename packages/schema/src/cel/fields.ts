import type { ASTNode } from '@marcbachmann/cel-js';
import type { StructuralSchema } from '@slipway/apimachinery';
import { childrenOf } from './environment.ts';
import { escapeField } from './values.ts';

/** A field that is read but not declared, and where. */
export interface UndefinedField {
  readonly field: string;
  readonly position: number;
}

/** Schemas of the variables of an expression; variables without one may hold anything. */
export type VariableSchemas = Readonly<Record<string, StructuralSchema>>;

/** The first path from a variable that its schema does not declare. */
export function undefinedField(root: ASTNode, schemas: VariableSchemas): UndefinedField | undefined {
  const node = findNode(root, (candidate) => isUndefined(candidate, schemas));
  return node?.op === '.' ? { field: node.args[1], position: node.pos } : undefined;
}

function isUndefined(node: ASTNode, schemas: VariableSchemas): boolean {
  if (node.op !== '.') return false;
  const parent = schemaOf(node.args[0], schemas);
  return parent?.type === 'object' && !isOpen(parent) && fieldByCelName(parent, node.args[1]) === undefined;
}

const isOpen = (schema: StructuralSchema): boolean =>
  schema['x-kubernetes-preserve-unknown-fields'] === true ||
  schema['x-kubernetes-embedded-resource'] === true ||
  schema.additionalProperties !== undefined ||
  schema.properties === undefined ||
  isUntypedRoot(schema.properties);

/** Whole objects have metadata, whether their schema says so or not. */
const isUntypedRoot = (properties: Readonly<Record<string, StructuralSchema>>): boolean =>
  'apiVersion' in properties && properties['metadata']?.properties === undefined;

function fieldByCelName(schema: StructuralSchema, name: string): StructuralSchema | undefined {
  const entry = Object.entries(schema.properties ?? {}).find(([field]) => escapeField(field) === name);
  return entry?.[1];
}

/** Schema of an expression, as far as it is a path from a variable. */
function schemaOf(node: ASTNode, schemas: VariableSchemas): StructuralSchema | undefined {
  if (node.op === 'id') return Object.hasOwn(schemas, node.args) ? schemas[node.args] : undefined;
  if (node.op === '.') {
    const parent = schemaOf(node.args[0], schemas);
    return parent === undefined || isOpen(parent) ? undefined : fieldByCelName(parent, node.args[1]);
  }
  return node.op === '[]' ? schemaOf(node.args[0], schemas)?.items : undefined;
}

/** The first node, parts before wholes, for which `matches` holds. */
export function findNode(node: ASTNode, matches: (node: ASTNode) => boolean): ASTNode | undefined {
  for (const child of childrenOf(node)) {
    const found = findNode(child, matches);
    if (found !== undefined) return found;
  }
  return matches(node) ? node : undefined;
}
