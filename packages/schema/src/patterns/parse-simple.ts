import { type CharSet, DIGITS, EMPTY, WORDS, complement, range, single } from './char-set.ts';

/** A pattern of the plain kind: characters, classes, groups, alternatives, greedy repetition. */
export type PatternNode =
  | { readonly type: 'chars'; readonly set: CharSet; readonly source: string }
  | { readonly type: 'sequence'; readonly items: readonly PatternNode[] }
  | { readonly type: 'choice'; readonly branches: readonly PatternNode[] }
  | { readonly type: 'repeat'; readonly body: PatternNode; readonly min: number; readonly max: number };

export interface SimplePattern {
  /** `^` stands before the whole pattern. */
  readonly isAnchored: boolean;
  readonly node: PatternNode;
  /** The same pattern as JavaScript spells it in Unicode mode. */
  readonly source: string;
}

const MAX_REPEAT = 1000;
const MAX_DEPTH = 50;
const PUNCTUATION = /^[!-/:-@[-`{-~]$/;
const SYNTAX = /[\^$\\.*+?()[\]{}|/]/;

/** Thrown inside this file for whatever is not plain. */
class NotPlain extends Error {}

/** Undefined for patterns that use more of the syntax than is understood here, or are no patterns. */
export function parseSimple(source: string): SimplePattern | undefined {
  try {
    return new Parser(source).parse();
  } catch (error) {
    if (error instanceof NotPlain) return undefined;
    throw error;
  }
}

const escaped = (char: string): string => (SYNTAX.test(char) ? `\\${char}` : char);
const sourceOf = (set: string, isNegated: boolean): string => `[${isNegated ? '^' : ''}${set}]`;

/** Reads a pattern from left to right. */
class Parser {
  private readonly text: string;
  private position = 0;
  private depth = 0;

  constructor(text: string) {
    this.text = text;
  }

  parse(): SimplePattern {
    const isAnchored = this.take('^');
    const endsAnchored = /(^|[^\\])(\\\\)*\$$/.test(this.text);
    const end = endsAnchored ? this.text.length - 1 : this.text.length;
    const node = this.choice(end);
    // `^a|b$` anchors each end of one branch only
    if (this.position !== end || ((isAnchored || endsAnchored) && node.type === 'choice')) throw new NotPlain();
    return { isAnchored, node, source: `${isAnchored ? '^' : ''}${render(node)}${endsAnchored ? '$' : ''}` };
  }

  private take(char: string): boolean {
    if (this.text[this.position] !== char) return false;
    this.position++;
    return true;
  }

  private next(): string {
    const char = this.text[this.position++];
    if (char === undefined || char < ' ' || char > '~') throw new NotPlain();
    return char;
  }

  private choice(end: number): PatternNode {
    if (++this.depth > MAX_DEPTH) throw new NotPlain();
    const branches = [this.sequence(end)];
    while (this.position < end && this.take('|')) branches.push(this.sequence(end));
    this.depth--;
    return branches.length === 1 && branches[0] !== undefined ? branches[0] : { type: 'choice', branches };
  }

  private sequence(end: number): PatternNode {
    const items: PatternNode[] = [];
    while (this.position < end && this.text[this.position] !== '|' && this.text[this.position] !== ')') {
      items.push(this.repeated(this.atom(end)));
    }
    return { type: 'sequence', items };
  }

  private atom(end: number): PatternNode {
    const char = this.next();
    switch (char) {
      case '(':
        return this.group(end);
      case '[':
        return this.charClass();
      case '\\':
        return this.escape();
      case '.':
        return { type: 'chars', set: complement(single('\n')), source: '[^\\n]' };
      default:
        if (SYNTAX.test(char) && char !== '/') throw new NotPlain();
        return { type: 'chars', set: single(char), source: escaped(char) };
    }
  }

  private group(end: number): PatternNode {
    if (this.take('?') && !this.take(':')) throw new NotPlain();
    const node = this.choice(end);
    if (!this.take(')')) throw new NotPlain();
    return node;
  }

  private escape(): PatternNode {
    const char = this.next();
    if (char === 'd') return { type: 'chars', set: DIGITS, source: '\\d' };
    if (char === 'w') return { type: 'chars', set: WORDS, source: '\\w' };
    if (!PUNCTUATION.test(char)) throw new NotPlain();
    return { type: 'chars', set: single(char), source: escaped(char) };
  }

  private charClass(): PatternNode {
    const isNegated = this.take('^');
    let set = EMPTY;
    let source = '';
    for (let isFirst = true; isFirst || !this.take(']'); isFirst = false) {
      const item = this.classItem(isFirst);
      set |= item.set;
      source += item.source;
    }
    return { type: 'chars', set: isNegated ? complement(set) : set, source: sourceOf(source, isNegated) };
  }

  private classItem(isFirst: boolean): { set: CharSet; source: string } {
    const first = this.classChar(isFirst);
    if (first.length > 1) return { set: first === '\\d' ? DIGITS : WORDS, source: first };
    const hasRange = this.text[this.position] === '-' && this.text[this.position + 1] !== ']';
    if (!hasRange) return { set: single(first), source: inClass(first) };
    this.position++;
    const last = this.classChar(false);
    if (last.length > 1 || last < first) throw new NotPlain();
    return { set: range(first, last), source: `${inClass(first)}-${inClass(last)}` };
  }

  /** One character, or `\d` or `\w`. */
  private classChar(isFirst: boolean): string {
    const char = this.next();
    if (char === '[' || (char === ']' && isFirst)) throw new NotPlain();
    if (char !== '\\') return char;
    const escape = this.next();
    if (escape === 'd' || escape === 'w') return `\\${escape}`;
    if (!PUNCTUATION.test(escape)) throw new NotPlain();
    return escape;
  }

  private repeated(body: PatternNode): PatternNode {
    const bounds = this.bounds();
    if (bounds === undefined) return body;
    // lazy and doubled repetition
    if (/^[*+?{]/.test(this.text.slice(this.position, this.position + 1))) throw new NotPlain();
    return { type: 'repeat', body, ...bounds };
  }

  private bounds(): { min: number; max: number } | undefined {
    if (this.take('*')) return { min: 0, max: Number.POSITIVE_INFINITY };
    if (this.take('+')) return { min: 1, max: Number.POSITIVE_INFINITY };
    if (this.take('?')) return { min: 0, max: 1 };
    if (this.text[this.position] !== '{') return undefined;
    const match = /^\{(\d{1,4})(,(\d{1,4})?)?\}/.exec(this.text.slice(this.position, this.position + 12));
    if (match === null) throw new NotPlain();
    this.position += match[0].length;
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : match[3] === undefined ? Number.POSITIVE_INFINITY : Number(match[3]);
    if (max < min || min > MAX_REPEAT || (max > MAX_REPEAT && max !== Number.POSITIVE_INFINITY)) throw new NotPlain();
    return { min, max };
  }
}

const inClass = (char: string): string => (/[\\\]^[-]/.test(char) ? `\\${char}` : char);

function render(node: PatternNode): string {
  switch (node.type) {
    case 'chars':
      return node.source;
    case 'sequence':
      return node.items.map((item) => (item.type === 'choice' ? `(?:${render(item)})` : render(item))).join('');
    case 'choice':
      return node.branches.map(render).join('|');
    default: {
      const max = node.max === Number.POSITIVE_INFINITY ? '' : node.max;
      return `(?:${render(node.body)}){${node.min},${max}}`;
    }
  }
}
