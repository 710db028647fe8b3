import { type Aggregator, type Expression, type Grouping, type Matcher, PromqlError } from './syntax.ts';

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** Where selectors find their samples. */
export interface SampleSource {
  readonly nowMs: number;
  /** Samples of a metric now. */
  now(name: string): readonly Sample[];
  /** What a metric's samples have changed by within a time, oldest known to newest; counters that began anew count from zero. */
  increase(name: string, rangeMs: number): readonly (Sample & { readonly overMs: number })[];
}

type Vector = readonly Sample[];
type Value = number | Vector;

/** The value of an expression as a vector; a number is a sample without labels. */
export function evaluate(expression: Expression, source: SampleSource): Vector {
  const value = valueOf(expression, source);
  return typeof value === 'number' ? [{ labels: {}, value }] : value;
}

function valueOf(expression: Expression, source: SampleSource): Value {
  switch (expression.type) {
    case 'number':
      return expression.value;
    case 'selector':
      return source.now(expression.name).filter(({ labels }) => matches(labels, expression.matchers));
    case 'aggregate':
      return aggregate(expression.operator, expression.grouping, vectorOf(expression.inner, source));
    case 'call':
      return call(expression.name, expression.args, source);
    default:
      return binary(expression, valueOf(expression.left, source), valueOf(expression.right, source));
  }
}

function vectorOf(expression: Expression, source: SampleSource): Vector {
  const value = valueOf(expression, source);
  if (typeof value === 'number') throw new PromqlError('expected a vector, found a number');
  return value;
}

function matches(labels: Labels, matchers: readonly Matcher[]): boolean {
  return matchers.every(({ label, operator, value }) => {
    const actual = labels[label] ?? '';
    const isMatch = operator.endsWith('~') ? new RegExp(`^(?:${value})$`).test(actual) : actual === value;
    return operator.startsWith('!') ? !isMatch : isMatch;
  });
}

const pick = (labels: Labels, { isWithout, labels: names }: Grouping): Labels =>
  Object.fromEntries(Object.entries(labels).filter(([name]) => names.includes(name) !== isWithout));
const keyOf = (labels: Labels): string => JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));

const AGGREGATES: Readonly<Record<Aggregator, (values: readonly number[]) => number>> = {
  sum: (values) => values.reduce((sum, value) => sum + value, 0),
  count: (values) => values.length,
  max: (values) => Math.max(...values),
  min: (values) => Math.min(...values),
  avg: (values) => values.reduce((sum, value) => sum + value, 0) / values.length,
};

function aggregate(operator: Aggregator, grouping: Grouping | undefined, vector: Vector): Vector {
  const groups = new Map<string, { labels: Labels; values: number[] }>();
  for (const { labels, value } of vector) {
    const kept = grouping === undefined ? {} : pick(labels, grouping);
    const group = groups.get(keyOf(kept)) ?? { labels: kept, values: [] };
    group.values.push(value);
    groups.set(keyOf(kept), group);
  }
  return [...groups.values()].map(({ labels, values }) => ({ labels, value: AGGREGATES[operator](values) }));
}

function call(name: string, args: readonly Expression[], source: SampleSource): Value {
  if (name === 'time') return source.nowMs / 1000;
  const [first] = args;
  if (first === undefined) throw new PromqlError(`${name} needs an argument`);
  if (name === 'vector') {
    const value = valueOf(first, source);
    return typeof value === 'number' ? [{ labels: {}, value }] : value;
  }
  if (name === 'increase' || name === 'rate') {
    if (first.type !== 'selector' || first.rangeMs === undefined) throw new PromqlError(`${name} needs a range`);
    return source
      .increase(first.name, first.rangeMs)
      .filter(({ labels }) => matches(labels, first.matchers))
      .map(({ labels, value, overMs }) => ({ labels, value: name === 'rate' ? value / (Math.max(overMs, 1) / 1000) : value }));
  }
  if (name === 'absent') return vectorOf(first, source).length > 0 ? [] : [{ labels: {}, value: 1 }];
  throw new PromqlError(`the function ${name} is not understood`);
}

const ARITHMETIC: Readonly<Record<string, (left: number, right: number) => number>> = {
  '+': (left, right) => left + right,
  '-': (left, right) => left - right,
  '*': (left, right) => left * right,
  '/': (left, right) => left / right,
  '%': (left, right) => left % right,
};
const COMPARISONS: Readonly<Record<string, (left: number, right: number) => boolean>> = {
  '==': (left, right) => left === right,
  '!=': (left, right) => left !== right,
  '>': (left, right) => left > right,
  '<': (left, right) => left < right,
  '>=': (left, right) => left >= right,
  '<=': (left, right) => left <= right,
};

type Binary = Extract<Expression, { type: 'binary' }>;

function binary(expression: Binary, left: Value, right: Value): Value {
  const { operator } = expression;
  if (['or', 'and', 'unless'].includes(operator)) return combine(expression, left, right);
  if (typeof left === 'number' && typeof right === 'number') return apply(expression, left, right) ?? 0;
  if (typeof right === 'number') return kept(asVector(left), (sample) => apply(expression, sample.value, right));
  if (typeof left === 'number') return kept(right, (sample) => apply(expression, left, sample.value));
  return join(expression, left, right);
}

const asVector = (value: Value): Vector => (typeof value === 'number' ? [{ labels: {}, value }] : value);

/** A comparison that does not hold gives nothing, or 0 with `bool`; one that does gives the left value, or 1. */
function apply({ operator, isBool }: Binary, left: number, right: number): number | undefined {
  const comparison = COMPARISONS[operator];
  if (comparison === undefined) return ARITHMETIC[operator]?.(left, right);
  const holds = comparison(left, right);
  if (isBool) return holds ? 1 : 0;
  return holds ? left : undefined;
}

const kept = (vector: Vector, value: (sample: Sample) => number | undefined): Vector =>
  vector.flatMap((sample) => {
    const next = value(sample);
    return next === undefined ? [] : [{ labels: sample.labels, value: next }];
  });

const ALL: Grouping = { isWithout: true, labels: [] };

function combine({ operator, matching = ALL }: Binary, left: Value, right: Value): Vector {
  const [lefts, rights] = [asVector(left), asVector(right)];
  const keysOf = (vector: Vector): ReadonlySet<string> => new Set(vector.map(({ labels }) => keyOf(pick(labels, matching))));
  const [leftKeys, rightKeys] = [keysOf(lefts), keysOf(rights)];
  const isIn = (keys: ReadonlySet<string>, { labels }: Sample): boolean => keys.has(keyOf(pick(labels, matching)));
  if (operator === 'or') return [...lefts, ...rights.filter((sample) => !isIn(leftKeys, sample))];
  return lefts.filter((sample) => isIn(rightKeys, sample) === (operator === 'and'));
}

/** One sample of each side, or many of one side with `group_left` and `group_right`. */
function join(expression: Binary, left: Vector, right: Vector): Vector {
  const { matching = ALL } = expression;
  const isRightMany = matching.group?.side === 'right';
  const [many, one] = isRightMany ? [right, left] : [left, right];
  const ones = new Map(one.map((sample) => [keyOf(pick(sample.labels, matching)), sample]));
  return many.flatMap((sample) => {
    const other = ones.get(keyOf(pick(sample.labels, matching)));
    if (other === undefined) return [];
    const value = isRightMany ? apply(expression, other.value, sample.value) : apply(expression, sample.value, other.value);
    if (value === undefined) return [];
    const included = Object.fromEntries((matching.group?.include ?? []).map((name) => [name, other.labels[name] ?? '']));
    const isComparison = COMPARISONS[expression.operator] !== undefined;
    const labels = matching.group || isComparison ? { ...sample.labels, ...included } : pick(sample.labels, matching);
    return [{ labels, value }];
  });
}
