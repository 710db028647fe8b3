/** A part of PromQL: what the rules of the platform are written in. */
export type Expression =
  | { readonly type: 'number'; readonly value: number }
  | { readonly type: 'selector'; readonly name: string; readonly matchers: readonly Matcher[]; readonly rangeMs?: number }
  | {
      readonly type: 'aggregate';
      readonly operator: Aggregator;
      readonly grouping: Grouping | undefined;
      readonly inner: Expression;
    }
  | { readonly type: 'call'; readonly name: string; readonly args: readonly Expression[] }
  | {
      readonly type: 'binary';
      readonly operator: string;
      readonly isBool: boolean;
      readonly matching: Grouping | undefined;
      readonly left: Expression;
      readonly right: Expression;
    };

export interface Matcher {
  readonly label: string;
  readonly operator: '=' | '!=' | '=~' | '!~';
  readonly value: string;
}

/** Labels that count, or (`isWithout`) that do not. */
export interface Grouping {
  readonly isWithout: boolean;
  readonly labels: readonly string[];
  /** Labels of the one side are added to the many side. */
  readonly group?: { readonly side: 'left' | 'right'; readonly include: readonly string[] };
}

const AGGREGATORS = ['sum', 'count', 'max', 'min', 'avg'] as const;
export type Aggregator = (typeof AGGREGATORS)[number];

/** By precedence, weakest first. */
const LEVELS: readonly (readonly string[])[] = [
  ['or'],
  ['and', 'unless'],
  ['==', '!=', '>', '<', '>=', '<='],
  ['+', '-'],
  ['*', '/', '%'],
];
const TOKEN =
  /\s+|(?<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![smhdw\d]))|(?<duration>\d+[smhdw])|(?<name>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?<sign>=~|!~|==|!=|>=|<=|[-+*/%<>=(){}[\],])/gy;
const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

interface Token {
  readonly kind: 'number' | 'duration' | 'name' | 'text' | 'sign';
  readonly text: string;
}

/** Thrown for what is no PromQL, or beyond the part of it that is understood. */
export class PromqlError extends Error {}

function tokensOf(source: string): readonly Token[] {
  const tokens: Token[] = [];
  let end = 0;
  for (const found of source.matchAll(TOKEN)) {
    end = found.index + found[0].length;
    const kind = (['number', 'duration', 'name', 'text', 'sign'] as const).find((each) => found.groups?.[each] !== undefined);
    if (kind !== undefined) tokens.push({ kind, text: found[0] });
  }
  if (end !== source.length) throw new PromqlError(`unexpected text at ${end}: ${source.slice(end, end + 10)}`);
  return tokens;
}

/** Milliseconds of a duration such as `5m`. */
export function durationMs(text: string): number {
  return Number.parseFloat(text) * (UNIT_MS[text.at(-1) ?? ''] ?? Number.NaN);
}

export type Selector = Extract<Expression, { type: 'selector' }>;

/** What an expression looks at. */
export function selectorsIn(expression: Expression): readonly Selector[] {
  switch (expression.type) {
    case 'number':
      return [];
    case 'selector':
      return [expression];
    case 'aggregate':
      return selectorsIn(expression.inner);
    case 'call':
      return expression.args.flatMap(selectorsIn);
    case 'binary':
      return [...selectorsIn(expression.left), ...selectorsIn(expression.right)];
  }
}

export function parsePromql(source: string): Expression {
  const parser = new Parser(tokensOf(source));
  const expression = parser.binary(0);
  parser.end();
  return expression;
}

class Parser {
  private readonly tokens: readonly Token[];
  private at = 0;

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens;
  }

  end(): void {
    if (this.at < this.tokens.length) throw new PromqlError(`unexpected ${this.peek()}`);
  }

  binary(level: number): Expression {
    const operators = LEVELS[level];
    if (operators === undefined) return this.unary();
    let left = this.binary(level + 1);
    while (operators.includes(this.peek())) {
      const operator = this.next().text;
      const isBool = this.take('bool');
      const matching = this.matching();
      left = { type: 'binary', operator, isBool, matching, left, right: this.binary(level + 1) };
    }
    return left;
  }

  private unary(): Expression {
    if (!this.take('-')) return this.primary();
    const zero: Expression = { type: 'number', value: 0 };
    return { type: 'binary', operator: '-', isBool: false, matching: undefined, left: zero, right: this.primary() };
  }

  private primary(): Expression {
    if (this.take('(')) {
      const inner = this.binary(0);
      this.expect(')');
      return inner;
    }
    if (this.peek() === '{') return this.selector('');
    const token = this.next();
    if (token.kind === 'number') return { type: 'number', value: Number(token.text) };
    if (token.kind !== 'name') throw new PromqlError(`unexpected ${token.text}`);
    const aggregator = AGGREGATORS.find((name) => name === token.text);
    if (aggregator !== undefined && ['(', 'by', 'without'].includes(this.peek())) return this.aggregate(aggregator);
    return this.peek() === '(' ? { type: 'call', name: token.text, args: this.args() } : this.selector(token.text);
  }

  private aggregate(operator: Aggregator): Expression {
    const before = this.grouping('by', 'without');
    this.expect('(');
    const inner = this.binary(0);
    this.expect(')');
    return { type: 'aggregate', operator, grouping: before ?? this.grouping('by', 'without'), inner };
  }

  private args(): Expression[] {
    this.expect('(');
    const args: Expression[] = [];
    while (!this.take(')')) {
      args.push(this.binary(0));
      if (this.peek() !== ')') this.expect(',');
    }
    return args;
  }

  private selector(name: string): Expression {
    const matchers: Matcher[] = [];
    if (this.take('{')) {
      while (!this.take('}')) {
        matchers.push(this.matcher());
        if (this.peek() !== '}') this.expect(',');
      }
    }
    if (!this.take('[')) return { type: 'selector', name, matchers };
    const rangeMs = durationMs(this.next().text);
    this.expect(']');
    return { type: 'selector', name, matchers, rangeMs };
  }

  private matcher(): Matcher {
    const label = this.next().text;
    const operator = this.next().text;
    const value = this.next();
    if (value.kind !== 'text' || !['=', '!=', '=~', '!~'].includes(operator)) throw new PromqlError(`bad matcher of ${label}`);
    const text = value.text.slice(1, -1).replace(/\\(.)/g, '$1');
    return { label, operator: operator as Matcher['operator'], value: text }; // listed above
  }

  private matching(): Grouping | undefined {
    const grouping = this.grouping('on', 'ignoring');
    const side = grouping && (['group_left', 'group_right'] as const).find((name) => this.take(name));
    if (grouping === undefined || side === undefined) return grouping;
    return {
      ...grouping,
      group: { side: side === 'group_left' ? 'left' : 'right', include: this.peek() === '(' ? this.names() : [] },
    };
  }

  private grouping(with_: string, without: string): Grouping | undefined {
    const isWithout = this.peek() === without;
    if (!isWithout && this.peek() !== with_) return undefined;
    this.next();
    return { isWithout, labels: this.names() };
  }

  private names(): string[] {
    this.expect('(');
    const names: string[] = [];
    while (!this.take(')')) {
      names.push(this.next().text);
      if (this.peek() !== ')') this.expect(',');
    }
    return names;
  }

  private peek(): string {
    return this.tokens[this.at]?.text ?? '';
  }

  private next(): Token {
    const token = this.tokens[this.at++];
    if (token === undefined) throw new PromqlError('unexpected end');
    return token;
  }

  private take(text: string): boolean {
    if (this.peek() !== text || this.tokens[this.at]?.kind === 'text') return false;
    this.at++;
    return true;
  }

  private expect(text: string): void {
    if (!this.take(text)) throw new PromqlError(`expected ${text}, found ${this.peek() || 'the end'}`);
  }
}
