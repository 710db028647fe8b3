import type { ASTNode } from '@marcbachmann/cel-js';
import type { StructuralSchema } from '@slipway/apimachinery';
import { childrenOf } from './environment.ts';
import { PER_CHARACTER, PER_PATTERN_CHARACTER, STEP_COST } from './cost-units.ts';
import { escapeField } from './values.ts';

/** What a rule costs at worst may not exceed this, counted over all values that one request can hold. */
export const RULE_LIMIT = 10_000_000;
/** The same for all rules of a schema together. */
export const SCHEMA_LIMIT = 100_000_000;

/** The longest text and the most items that fit into a request. */
const MAX_REQUEST_BYTES = 3 * 1024 * 1024;
const BYTES_PER_CHARACTER = 4;
/** Items that take a byte of their own and a comma. */
const SMALLEST_ITEM = 2;
const SMALLEST_ENTRY = 6;

/** Cost of an expression, and what is known of its value. */
interface Estimate {
  readonly cost: number;
  /** Characters or items; 1 when nothing is known: what cannot be told is not held against a rule. */
  readonly size: number;
  readonly schema?: StructuralSchema | undefined;
}

type Scope = Readonly<Record<string, Estimate>>;

/** The most that evaluating an expression once can cost, when `self` and `oldSelf` are as large as a schema allows. */
export function estimateCost(root: ASTNode, schema: StructuralSchema): number {
  const self = valueOf(schema, 1);
  return estimate(root, { self, oldSelf: self }).cost;
}

/** How many values of a list or map can be in one request. */
export function maxItems(schema: StructuralSchema): number {
  if (schema.type === 'array') {
    return schema.maxItems ?? Math.floor((MAX_REQUEST_BYTES - 2) / (smallest(schema.items) + 1));
  }
  const values = typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined;
  return schema.maxProperties ?? Math.floor((MAX_REQUEST_BYTES - 2) / (smallest(values) + SMALLEST_ENTRY));
}

/** Bytes of the smallest JSON text of a schema. */
function smallest(schema: StructuralSchema | undefined, depth = 0): number {
  if (schema === undefined || depth > 10) return SMALLEST_ITEM;
  switch (schema.type) {
    case 'object':
      return (schema.required ?? []).reduce(
        (bytes, name) => bytes + name.length + 4 + smallest(schema.properties?.[name], depth + 1),
        2,
      );
    case 'boolean':
      return 4;
    case 'integer':
    case 'number':
      return 1;
    default:
      return SMALLEST_ITEM;
  }
}

/** A value of a schema that has been read at `cost`. */
function valueOf(schema: StructuralSchema | undefined, cost: number): Estimate {
  return { cost, size: schema === undefined ? 1 : maxSize(schema), schema };
}

function maxSize(schema: StructuralSchema): number {
  if (schema.type === 'string') return maxLength(schema);
  const isMap = schema.type === 'object' && typeof schema.additionalProperties === 'object';
  return schema.type === 'array' || isMap ? maxItems(schema) : 1;
}

const LENGTHS: Readonly<Record<string, number>> = { 'date-time': 40, date: 10, duration: 32, byte: MAX_REQUEST_BYTES };

function maxLength({ maxLength: limit, enum: values, format }: StructuralSchema): number {
  if (limit !== undefined) return limit * BYTES_PER_CHARACTER;
  if (values !== undefined) return Math.max(1, ...values.map((value) => String(value).length));
  return LENGTHS[format ?? ''] ?? MAX_REQUEST_BYTES - 2;
}

const reading = (size: number): number => Math.ceil(size * PER_CHARACTER);
const isText = ({ schema }: Estimate): boolean => schema?.type === 'string';

function estimate(node: ASTNode, scope: Scope): Estimate {
  switch (node.op) {
    case 'value':
      return { cost: 0, size: typeof node.args === 'string' ? node.args.length : 1, schema: literalSchema(node.args) };
    case 'id':
      return scope[node.args] ?? { cost: 1, size: 1 };
    case '.':
    case '.?':
      return field(estimate(node.args[0], scope), node.args[1]);
    case '[]':
    case '[?]':
      return element(estimate(node.args[0], scope), estimate(node.args[1], scope));
    case 'call':
      return node.args[0] === 'has' ? presence(node.args[1], scope) : call(node.args[0], node.args[1], scope);
    case 'rcall':
      return method(node.args, scope);
    default:
      return compound(node, scope);
  }
}

function compound(node: ASTNode, scope: Scope): Estimate {
  switch (node.op) {
    case '?:':
      return ternary(node.args, scope);
    case 'list':
      return { cost: 10 + sum(node.args, scope), size: node.args.length };
    case 'map':
      return { cost: 30 + sum(childrenOf(node), scope), size: node.args.length };
    case '&&':
    case '||':
      return { cost: sum(childrenOf(node), scope), size: 1 };
    default:
      return operator(node, scope);
  }
}

const sum = (nodes: readonly ASTNode[], scope: Scope): number =>
  nodes.reduce((cost, node) => cost + estimate(node, scope).cost, 0);

const literalSchema = (value: unknown): StructuralSchema | undefined =>
  typeof value === 'string' ? { type: 'string', maxLength: value.length } : undefined;

function field(target: Estimate, name: string): Estimate {
  const { properties, additionalProperties } = target.schema ?? {};
  const own = Object.entries(properties ?? {}).find(([key]) => escapeField(key) === name)?.[1];
  const schema = own ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined);
  return valueOf(schema, target.cost + 1);
}

function element(target: Estimate, index: Estimate): Estimate {
  const { items, additionalProperties } = target.schema ?? {};
  const schema = items ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined);
  return valueOf(schema, target.cost + index.cost + 1);
}

/** Asking whether a field is there costs what leads to it. */
function presence([argument]: readonly ASTNode[], scope: Scope): Estimate {
  return { cost: argument?.op === '.' ? estimate(argument.args[0], scope).cost : 0, size: 1 };
}

function ternary([condition, yes, no]: readonly [ASTNode, ASTNode, ASTNode], scope: Scope): Estimate {
  const [left, right] = [estimate(yes, scope), estimate(no, scope)];
  const larger = left.size >= right.size ? left : right;
  return { ...larger, cost: estimate(condition, scope).cost + Math.max(left.cost, right.cost) };
}

function operator(node: ASTNode, scope: Scope): Estimate {
  const [left, right] = childrenOf(node).map((child) => estimate(child, scope));
  if (left === undefined) return { cost: 1, size: 1 };
  const cost = 1 + left.cost + (right?.cost ?? 0);
  if (right === undefined) return { cost, size: 1 };
  if (node.op === 'in') return { cost: cost + (right.schema?.type === 'array' ? right.size : 0), size: 1 };
  if (node.op === '+') {
    const size = left.size + right.size;
    return { cost: cost + (isText(left) || isText(right) ? reading(size) : 0), size, schema: left.schema ?? right.schema };
  }
  return { cost: cost + (isText(left) && isText(right) ? reading(Math.min(left.size, right.size)) : 0), size: 1 };
}

function call(name: string, args: readonly ASTNode[], scope: Scope): Estimate {
  const values = args.map((argument) => estimate(argument, scope));
  const cost = 1 + values.reduce((total, value) => total + value.cost, 0);
  const [first] = values;
  if (name === 'size' || first === undefined) return { cost, size: 1 };
  return { cost: cost + values.reduce((total, value) => total + (isText(value) ? reading(value.size) : 0), 0), size: first.size };
}

/** Loops, and how many names stand before what they evaluate. */
const LOOPS: Readonly<Record<string, true>> = {
  ...{ all: true, exists: true, exists_one: true, existsOne: true, map: true, filter: true },
  ...{ transformList: true, transformMap: true, transformMapEntry: true },
};

function method([name, receiver, args]: readonly [string, ASTNode, ASTNode[]], scope: Scope): Estimate {
  const target = estimate(receiver, scope);
  if (Object.hasOwn(LOOPS, name)) return loop(name, target, args, scope);
  if (name === 'bind' && args[0]?.op === 'id' && args[1] !== undefined && args[2] !== undefined) {
    const value = estimate(args[1], scope);
    const body = estimate(args[2], { ...scope, [args[0].args]: { ...value, cost: 1 } });
    return { ...body, cost: body.cost + value.cost };
  }
  const values = args.map((argument) => estimate(argument, scope));
  const cost = 1 + target.cost + values.reduce((total, value) => total + value.cost, 0);
  return { cost: cost + methodCost(name.replace(/__$/, ''), target, values), size: target.size, schema: target.schema };
}

function methodCost(name: string, target: Estimate, [first]: readonly Estimate[]): number {
  const argument = first?.size ?? 1;
  switch (name) {
    case 'size':
      return 0;
    case 'matches':
    case 'find':
    case 'findAll':
      return reading(target.size + 1) * Math.ceil(argument * PER_PATTERN_CHARACTER);
    case 'startsWith':
    case 'endsWith':
      return reading(argument);
    case 'contains':
      return isText(target) ? reading(target.size) * Math.max(1, reading(argument)) : 0;
    default:
      return isText(target) ? reading(target.size) : target.schema?.type === 'array' ? target.size : 0;
  }
}

/** The last argument is what each turn evaluates; the one before, where it is no name, a filter. */
function loop(name: string, target: Estimate, args: readonly ASTNode[], scope: Scope): Estimate {
  const hasTwo = args.length > 2 && args[1]?.op === 'id' && name !== 'map';
  const names = args.slice(0, hasTwo ? 2 : 1).map((node) => (node.op === 'id' ? node.args : ''));
  const item = element({ ...target, cost: 0 }, { cost: 0, size: 1 });
  const isList = target.schema?.type === 'array';
  const key: Estimate = { cost: 1, size: 1 };
  const value: Estimate = { ...item, cost: 1 };
  const [first = '', second = ''] = names;
  const inner: Scope = hasTwo ? { ...scope, [first]: key, [second]: value } : { ...scope, [first]: isList ? value : key };
  const body = sum(args.slice(hasTwo ? 2 : 1), inner);
  const kept = name === 'filter' ? target.schema : undefined;
  return { cost: target.cost + target.size * (body + STEP_COST), size: target.size, schema: kept };
}

/** `exceeds budget by factor of …`, in the words of the API server. */
export function excessText(what: string, cost: number, limit: number): string {
  const ratio = cost / limit;
  const factor = ratio > 100 ? 'more than 100x' : ratio < 1.5 ? `${ratio.toFixed(6)}x` : `${ratio.toFixed(1)}x`;
  return `${what} exceeds budget by factor of ${factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)`;
}
