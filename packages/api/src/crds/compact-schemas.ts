import type { StructuralSchema } from '@slipway/apimachinery';
import { intOrStringSchema, openObjectSchema } from './openapi-schemas.ts';

/**
 * A compact field tree: `t` type, `f` fields, `i` items, `v` map values. A bare string is a scalar type, `#Name` a
 * shared subtree.
 */
export type CompactNode =
  | string
  | {
      readonly t?: string;
      readonly f?: Readonly<Record<string, CompactNode>>;
      readonly i?: CompactNode;
      readonly v?: CompactNode;
      readonly listType?: string;
      readonly listMapKeys?: readonly string[];
      readonly mapType?: string;
      /** Rules, also with the message of their own. */
      readonly cel?: readonly (string | { readonly rule: string; readonly message: string })[];
      readonly preserve?: boolean;
      readonly patchMergeKey?: string;
      readonly patchStrategy?: string;
      /** A shared subtree with members of its own (a patch strategy). */
      readonly ref?: string;
      readonly [keyword: string]: unknown;
    };

export type CompactDefinitions = Readonly<Record<string, CompactNode>>;

const COPIED = [
  'format',
  'pattern',
  'enum',
  'nullable',
  'required',
  'default',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'minimum',
  'maximum',
  'maxProperties',
] as const;

/** Quantities of built-in kinds are marked, so that they can be brought to canonical form. */
const builtinQuantitySchema: StructuralSchema = { 'x-kubernetes-int-or-string': true, format: 'quantity' };

export const isQuantitySchema = (schema: StructuralSchema): boolean => schema.format === 'quantity';

/** Expands compact trees; shared subtrees stay shared objects. */
export function compactExpander(definitions: CompactDefinitions): (node: CompactNode) => StructuralSchema {
  const resolved = new Map<string, StructuralSchema>();

  const resolve = (name: string): StructuralSchema => {
    const known = resolved.get(name);
    if (known !== undefined) return known;
    const node = definitions[name];
    if (node === undefined) throw new Error(`Schema table has no definition ${name}`);
    const schema = expand(node);
    resolved.set(name, schema);
    return schema;
  };

  const expand = (node: CompactNode): StructuralSchema => {
    if (typeof node === 'string') return node.startsWith('#') ? resolve(node.slice(1)) : scalar(node);
    if (node.ref !== undefined) return { ...expand(node.ref), ...extensions(node) };
    const schema: StructuralSchema = { ...scalar(node.t ?? 'object') };
    if (node.t === 'object' && node.f !== undefined && node.preserve !== true)
      delete schema['x-kubernetes-preserve-unknown-fields'];
    for (const keyword of COPIED) if (node[keyword] !== undefined) Object.assign(schema, { [keyword]: node[keyword] });
    if (node.f !== undefined) {
      schema.properties = Object.fromEntries(Object.entries(node.f).map(([name, field]) => [name, expand(field)]));
    }
    if (node.i !== undefined) schema.items = expand(node.i);
    if (node.v !== undefined) schema.additionalProperties = expand(node.v);
    return Object.assign(schema, extensions(node));
  };
  return expand;
}

function scalar(type: string): StructuralSchema {
  if (type === 'int-or-string') return intOrStringSchema;
  if (type === 'quantity') return builtinQuantitySchema;
  if (type === 'micro-time') return { type: 'string', format: 'date-time', nullable: true };
  if (type === 'any') return { 'x-kubernetes-preserve-unknown-fields': true };
  if (type === 'time') return { type: 'string', format: 'date-time', nullable: true };
  if (type === 'map') return { type: 'object' };
  if (type === 'object') return openObjectSchema;
  return { type: type as NonNullable<StructuralSchema['type']> }; // the legend's scalar types
}

function extensions(node: Exclude<CompactNode, string>): StructuralSchema {
  return {
    ...(node.preserve === true && { 'x-kubernetes-preserve-unknown-fields': true }),
    ...(node.listType !== undefined && { 'x-kubernetes-list-type': node.listType as 'atomic' | 'set' | 'map' }), // legend
    ...(node.listMapKeys !== undefined && { 'x-kubernetes-list-map-keys': [...node.listMapKeys] }),
    ...(node.mapType !== undefined && { 'x-kubernetes-map-type': node.mapType as 'atomic' | 'granular' }), // legend
    ...(node.patchMergeKey !== undefined && { 'x-kubernetes-patch-merge-key': node.patchMergeKey }),
    ...(node.patchStrategy !== undefined && { 'x-kubernetes-patch-strategy': node.patchStrategy }),
    ...(node.cel !== undefined && {
      'x-kubernetes-validations': node.cel.map((rule) => (typeof rule === 'string' ? { rule } : { ...rule })),
    }),
  };
}
