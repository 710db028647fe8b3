import { checkType, type Checked, constant, constantArgument, zeroElement } from './arguments.ts';
import { type Budget, LimitExceeded } from './budget.ts';
import { formatValue } from './format.ts';
import { FunctionError, type FunctionTable } from './functions.ts';
import { type Branch, type Command, describe, type Node, type Operand, type Pipe, type Statement, type Tree } from './nodes.ts';
import { goQuote } from './quote.ts';
import {
  type GoFunction,
  Int,
  isFunction,
  isList,
  isNil,
  isObject,
  isTrue,
  mapOf,
  type ParameterType,
  sortedKeys,
  typeName,
  type Value,
} from './values.ts';

/** A template failed while it was executed; the message has Go's words with file, line and column. */
export class TemplateExecError extends Error {}

export interface ExecuteOptions {
  readonly functions: FunctionTable;
  readonly budget: Budget;
  readonly templates: ReadonlyMap<string, Tree>;
  /** A key that is missing in a map is an error. */
  readonly isStrict?: boolean;
}

/** No value was piped in. */
const NOTHING = Symbol('nothing');
type Piped = Value | typeof NOTHING;
type Flow = 'break' | 'continue' | undefined;

/** Executes one template with this value as dot and returns its output. */
export function executeTemplate(tree: Tree, data: Value, options: ExecuteOptions, depth = 0): string {
  return new Execution(tree, data, options, depth).run();
}

class Execution {
  private readonly output: string[] = [];
  private readonly variables: { readonly name: string; value: Value }[];
  private node: Node | undefined;
  private readonly tree: Tree;
  private readonly dot: Value;
  private readonly options: ExecuteOptions;
  private readonly depth: number;

  constructor(tree: Tree, dot: Value, options: ExecuteOptions, depth: number) {
    this.tree = tree;
    this.dot = dot;
    this.options = options;
    this.depth = depth;
    this.variables = [{ name: '$', value: dot }];
  }

  run(): string {
    this.walkAll(this.dot, this.tree.body);
    return this.output.join('');
  }

  private write(text: string): void {
    this.options.budget.grow(text.length);
    this.output.push(text);
  }

  private error(message: string): TemplateExecError {
    const { tree, node } = this;
    if (node === undefined) return new TemplateExecError(`template: ${tree.name}: ${message}`);
    const before = tree.source.slice(0, node.position);
    const line = before.split('\n').length;
    const column = Buffer.byteLength(before.slice(before.lastIndexOf('\n') + 1));
    const where = `${tree.file}:${line}:${column}: executing ${goQuote(tree.name)} at <${describe(node)}>`;
    return new TemplateExecError(`template: ${where}: ${message}`);
  }

  private checked(result: Checked): Value {
    if ('complaint' in result) throw this.error(result.complaint);
    return result.value;
  }

  private walkAll(dot: Value, body: readonly Statement[]): Flow {
    for (const statement of body) {
      const flow = this.walk(dot, statement);
      if (flow !== undefined) return flow;
    }
    return undefined;
  }

  private walk(dot: Value, statement: Statement): Flow {
    this.options.budget.step();
    this.node = statement;
    switch (statement.type) {
      case 'text':
        this.write(statement.text);
        return undefined;
      case 'action': {
        const value = this.pipeline(dot, statement.pipe);
        if (statement.pipe.variables.length === 0) this.print(statement, value);
        return undefined;
      }
      case 'break':
      case 'continue':
        return statement.type;
      case 'template':
        this.callTemplate(dot, statement.name, statement, statement.pipe);
        return undefined;
      case 'range':
        return this.range(dot, statement);
      default:
        return this.condition(dot, statement);
    }
  }

  private print(node: Node, value: Value): void {
    this.node = node;
    if (isFunction(value)) throw this.error(`can't print ${describe(node)} of type func()`);
    this.write(value === undefined ? '<no value>' : formatValue(value, this.options.budget));
  }

  private callTemplate(dot: Value, name: string, node: Statement, pipe?: Pipe): void {
    const tree = this.options.templates.get(name);
    if (tree === undefined) throw this.error(`template ${goQuote(name)} not defined`);
    if (this.depth >= this.options.budget.limits.maxDepth)
      throw new LimitExceeded(`exceeded maximum template depth (${this.depth})`);
    const value = pipe ? this.pipeline(dot, pipe) : undefined;
    this.node = node;
    this.output.push(executeTemplate(tree, value, this.options, this.depth + 1));
  }

  private condition(dot: Value, { type, pipe, body, otherwise }: Branch): Flow {
    const known = this.variables.length;
    const value = this.pipeline(dot, pipe);
    const chosen = isTrue(value) ? body : otherwise;
    const inner = type === 'with' && chosen === body ? value : dot;
    const flow = chosen && this.walkAll(inner, chosen);
    this.variables.length = known;
    return flow;
  }

  private range(dot: Value, branch: Branch): Flow {
    const known = this.variables.length;
    const value = this.pipeline(dot, branch.pipe);
    const inside = this.variables.length;
    let count = 0;
    for (const [key, item] of this.items(value, branch)) {
      count++;
      this.options.budget.step();
      this.setRangeVariables(branch.pipe, key, item);
      const flow = this.walkAll(item, branch.body);
      this.variables.length = inside;
      if (flow === 'break') break;
    }
    const flow = count === 0 && branch.otherwise ? this.walkAll(dot, branch.otherwise) : undefined;
    this.variables.length = known;
    return flow;
  }

  private *items(value: Value, { pipe }: Branch): Generator<readonly [Value, Value]> {
    if (isNil(value)) return;
    const map = mapOf(value);
    if (map) {
      for (const key of sortedKeys(map)) yield [key, map.get(key)];
    } else if (isList(value)) {
      for (let at = 0; at < value.length; at++) yield [new Int(at), value[at]];
    } else if (value instanceof Int) {
      if (pipe.variables.length > 1) throw this.error(`can't use ${String(value.value)} to iterate over more than one variable`);
      for (let at = 0n; at < value.value; at++) yield [new Int(at, value.kind), new Int(at, value.kind)];
    } else throw this.error(`range can't iterate over ${formatValue(value, this.options.budget)}`);
  }

  private setRangeVariables({ variables, assigns }: Pipe, key: Value, item: Value): void {
    const values = variables.length > 1 ? [key, item] : [item];
    variables.forEach((name, index) => {
      if (assigns) this.assign(name, values[index]);
      else {
        const slot = this.variables[this.variables.length - variables.length + index];
        if (slot) slot.value = values[index];
      }
    });
  }

  private assign(name: string, value: Value): void {
    const slot = this.variables.findLast((variable) => variable.name === name);
    if (slot === undefined) throw this.error(`undefined variable: ${name}`);
    slot.value = value;
  }

  private pipeline(dot: Value, pipe: Pipe): Value {
    this.node = pipe;
    let value: Piped = NOTHING;
    for (const command of pipe.commands) {
      const result: Value = this.command(dot, command, value);
      value = result ?? undefined;
    }
    const result = value === NOTHING ? undefined : value;
    for (const name of pipe.variables) {
      if (pipe.assigns) this.assign(name, result);
      else this.variables.push({ name, value: result });
    }
    return result;
  }

  private command(dot: Value, command: Command, piped: Piped): Value {
    const [first, ...args] = command.operands;
    if (first === undefined) throw this.error('empty command');
    switch (first.type) {
      case 'field':
        this.node = first;
        return this.fieldChain(dot, dot, first, first.names, args, piped);
      case 'variable':
        return this.variable(dot, first, args, piped);
      case 'chain':
        return this.chain(dot, first, args, piped);
      case 'identifier':
        return this.named(dot, first.name, first, command, args, piped);
      case 'pipe':
        this.refuseArguments(first, args, piped);
        return this.pipeline(dot, first);
      default:
        this.node = first;
        this.refuseArguments(first, args, piped);
        if (first.type === 'dot') return dot;
        if (first.type === 'nil') throw this.error('nil is not a command');
        return this.checked(constant(first));
    }
  }

  private refuseArguments(first: Operand, args: readonly Operand[], piped: Piped): void {
    if (args.length > 0 || piped !== NOTHING) throw this.error(`can't give argument to non-function ${describe(first)}`);
  }

  private variable(dot: Value, node: Operand & { type: 'field' | 'variable' }, args: readonly Operand[], piped: Piped): Value {
    this.node = node;
    const [name = '', ...names] = node.names;
    const slot = this.variables.findLast((variable) => variable.name === name);
    if (slot === undefined) throw this.error(`undefined variable: ${name}`);
    if (names.length > 0) return this.fieldChain(dot, slot.value, node, names, args, piped);
    this.refuseArguments(node, args, piped);
    return slot.value;
  }

  private chain(dot: Value, node: Operand & { type: 'chain' }, args: readonly Operand[], piped: Piped): Value {
    this.node = node;
    if (node.node.type === 'nil') throw this.error(`indirection through explicit nil in ${describe(node)}`);
    const value = this.untypedArgument(dot, node.node);
    return this.fieldChain(dot, value, node, node.names, args, piped);
  }

  private fieldChain(
    dot: Value,
    receiver: Value,
    node: Operand,
    names: readonly string[],
    args: readonly Operand[],
    piped: Piped,
  ): Value {
    let value = receiver;
    names.forEach((name, index) => {
      const isLast = index === names.length - 1;
      value = this.field(dot, value, node, name, isLast ? args : [], isLast ? piped : NOTHING);
    });
    return value;
  }

  private field(dot: Value, receiver: Value, node: Operand, name: string, args: readonly Operand[], piped: Piped): Value {
    if (receiver === undefined) {
      if (this.options.isStrict) throw this.error(`nil data; no entry for key ${goQuote(name)}`);
      return undefined;
    }
    if (receiver === null) throw this.error(`nil pointer evaluating interface {}.${name}`);
    const hasArguments = args.length > 0 || piped !== NOTHING;
    if (!isObject(receiver)) return this.mapItem(receiver, name, hasArguments);
    const member = receiver.member(name);
    if (isFunction(member)) return this.callFunction(dot, member, name, node, args, piped);
    if (member === undefined && receiver.entries !== undefined) return this.mapItem(receiver, name, hasArguments);
    if (member === undefined) throw this.error(`can't evaluate field ${name} in type ${typeName(receiver)}`);
    if (hasArguments) throw this.error(`${name} has arguments but cannot be invoked as function`);
    return member;
  }

  private mapItem(receiver: Value, name: string, hasArguments: boolean): Value {
    const map = mapOf(receiver);
    if (map === undefined) throw this.error(`can't evaluate field ${name} in type ${typeName(receiver)}`);
    if (hasArguments) throw this.error(`${name} is not a method but has arguments`);
    const item = map.get(name);
    if (item === undefined && !map.has(name) && this.options.isStrict)
      throw this.error(`map has no entry for key ${goQuote(name)}`);
    return item ?? zeroElement(receiver);
  }

  private named(dot: Value, name: string, node: Operand, at: Node, args: readonly Operand[], piped: Piped): Value {
    this.node = node;
    const callee = Object.hasOwn(this.options.functions, name) ? this.options.functions[name] : undefined;
    if (callee === undefined) throw this.error(`${goQuote(name)} is not a defined function`);
    return this.callFunction(dot, callee, name, at, args, piped);
  }

  private callFunction(dot: Value, callee: GoFunction, name: string, at: Node, args: readonly Operand[], piped: Piped): Value {
    this.checkCount(callee, name, args, piped);
    if (callee === this.options.functions['and'] || callee === this.options.functions['or'])
      return this.shortCircuit(dot, name === 'or', args, piped);
    const { parameters, rest } = callee;
    const typeAt = (index: number): ParameterType => parameters[index] ?? rest ?? 'any';
    const values = args.map((arg, index) => this.argument(dot, typeAt(index), arg));
    if (piped !== NOTHING) values.push(this.checked(checkType(piped, typeAt(args.length))));
    this.options.budget.step();
    try {
      return this.measured(callee.call(values));
    } catch (error) {
      if (!(error instanceof FunctionError || error instanceof TemplateExecError)) throw error;
      this.node = at;
      throw this.error(`error calling ${name}: ${error.message}`);
    }
  }

  private checkCount({ parameters, rest }: GoFunction, name: string, args: readonly Operand[], piped: Piped): void {
    const given = args.length + (piped === NOTHING ? 0 : 1);
    if (rest !== undefined && given < parameters.length)
      throw this.error(`wrong number of args for ${name}: want at least ${parameters.length} got ${args.length}`);
    if (rest === undefined && given !== parameters.length)
      throw this.error(`wrong number of args for ${name}: want ${parameters.length} got ${given}`);
  }

  private measured(value: Value): Value {
    if (typeof value === 'string') this.options.budget.grow(value.length);
    else if (isList(value)) this.options.budget.step(value.length);
    return value;
  }

  private shortCircuit(dot: Value, stopsAt: boolean, args: readonly Operand[], piped: Piped): Value {
    let value: Value;
    for (const arg of args) {
      value = this.argument(dot, 'any', arg);
      if (isTrue(value) === stopsAt) return value;
    }
    return piped === NOTHING ? value : piped;
  }

  private untypedArgument(dot: Value, node: Operand): Value {
    const value = this.operandValue(dot, node);
    return value === NOTHING ? this.checked(constant(node)) : value;
  }

  private argument(dot: Value, type: ParameterType, node: Operand): Value {
    this.node = node;
    if (node.type === 'nil') {
      if (type === 'any' || type === 'object') return null;
      if (type === 'map' || type === 'list' || type === 'strings') return this.checked(checkType(undefined, type));
      throw this.error(`cannot assign nil to ${type}`);
    }
    const value = this.operandValue(dot, node);
    return this.checked(value === NOTHING ? constantArgument(node, type) : checkType(value, type));
  }

  /** The value of an operand that is no constant. */
  private operandValue(dot: Value, node: Operand): Piped {
    this.node = node;
    switch (node.type) {
      case 'dot':
        return dot;
      case 'field':
        return this.fieldChain(dot, dot, node, node.names, [], NOTHING);
      case 'variable':
        return this.variable(dot, node, [], NOTHING);
      case 'pipe':
        return this.pipeline(dot, node);
      case 'identifier':
        return this.named(dot, node.name, node, node, [], NOTHING);
      case 'chain':
        return this.chain(dot, node, [], NOTHING);
      default:
        return NOTHING;
    }
  }
}
