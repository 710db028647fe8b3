import { type Token, type TokenType, tokenize } from './lexer.ts';
import type { Branch, Command, Operand, Pipe, Statement, Tree } from './nodes.ts';
import { goQuote } from './quote.ts';
import { unquote } from './unquote.ts';

/** The template is not one; the message has Go's words. */
export class TemplateParseError extends Error {}

type ListEnd = 'end' | 'else';
interface Block {
  readonly body: Statement[];
  readonly end: ListEnd;
}

/** Deeper nesting is refused before it can exhaust the stack. */
const MAX_NESTING = 500;
const OPERANDS: ReadonlySet<TokenType> = new Set([
  'bool',
  'charConstant',
  'dot',
  'field',
  'identifier',
  'number',
  'nil',
  'rawString',
  'string',
  'variable',
  'leftParen',
]);

/**
 * Parses one file: the tree of the file itself first, then those of its `define` and `block` actions. Function names
 * must be known; `hasFunction` tells.
 */
export function parseTemplate(file: string, source: string, hasFunction: (name: string) => boolean): Tree[] {
  return new Parser(file, source, hasFunction).parse();
}

/** Nothing but white space and definitions: such a tree replaces no other. */
export function isEmptyTree(body: readonly Statement[]): boolean {
  return body.every((statement) => statement.type === 'text' && statement.text.trim() === '');
}

class Parser {
  private readonly tokens: Token[];
  private readonly trees = new Map<string, Tree>();
  private readonly file: string;
  private readonly source: string;
  private readonly hasFunction: (name: string) => boolean;
  private at = 0;
  private variables: string[] = ['$'];
  private rangeDepth = 0;
  private nesting = 0;
  private actionLine = 0;

  constructor(file: string, source: string, hasFunction: (name: string) => boolean) {
    this.file = file;
    this.source = source;
    this.hasFunction = hasFunction;
    this.tokens = tokenize(source);
  }

  parse(): Tree[] {
    const body: Statement[] = [];
    while (this.peek().type !== 'eof') {
      if (this.peek().type === 'leftDelim' && this.skipsTo('define')) {
        this.definition();
        continue;
      }
      const statement = this.textOrAction();
      if (isEnd(statement)) throw this.error(`unexpected {{${statement}}}`);
      body.push(statement);
    }
    return [{ name: this.file, file: this.file, source: this.source, body }, ...this.trees.values()];
  }

  private error(message: string, line = this.tokens[this.at - 1]?.line ?? 1): TemplateParseError {
    return new TemplateParseError(`template: ${this.file}:${line}: ${message}`);
  }

  private unexpected(token: Token, context: string): TemplateParseError {
    if (token.type !== 'error') return this.error(`unexpected ${describeToken(token)} in ${context}`, token.line);
    const started = this.actionLine !== 0 && this.actionLine !== token.line;
    const extra = started ? ` in action started at ${this.file}:${this.actionLine}` : '';
    const text = token.text.endsWith(' action') ? extra.replace(' in action', '') : extra;
    return this.error(token.text + text, token.line);
  }

  private token(at: number): Token {
    const token = this.tokens[Math.min(at, this.tokens.length - 1)];
    if (token === undefined) throw new Error('no tokens'); // the lexer always ends with one
    return token;
  }

  private peek(): Token {
    return this.token(this.at);
  }

  private next(): Token {
    return this.token(this.at++);
  }

  private peekNonSpace(): Token {
    if (this.peek().type === 'space') this.at++;
    return this.peek();
  }

  private nextNonSpace(): Token {
    this.peekNonSpace();
    return this.next();
  }

  /** After a left delimiter: takes it and the keyword when that comes next. */
  private skipsTo(keyword: TokenType): boolean {
    const after = this.token(this.at + 1).type === 'space' ? 2 : 1;
    if (this.token(this.at + after).type !== keyword) return false;
    this.at += after + 1;
    return true;
  }

  private expect(type: TokenType, context: string): Token {
    const token = this.nextNonSpace();
    if (token.type !== type) throw this.unexpected(token, context);
    return token;
  }

  private definition(): void {
    const context = 'define clause';
    const name = this.templateName(this.nextNonSpace(), context);
    this.expect('rightDelim', context);
    this.addTree(name, context);
  }

  /** The body up to its end becomes a template; it sees no variables of the outside. */
  private addTree(name: string, context: string): void {
    const { variables, rangeDepth } = this;
    this.variables = ['$'];
    this.rangeDepth = 0;
    const { body, end } = this.statements();
    if (end !== 'end') throw this.error(`unexpected {{${end}}} in ${context}`);
    this.variables = variables;
    this.rangeDepth = rangeDepth;
    const old = this.trees.get(name);
    if (old && !isEmptyTree(old.body)) {
      if (!isEmptyTree(body)) throw this.error(`template: multiple definition of template ${goQuote(name)}`);
      return;
    }
    this.trees.set(name, { name, file: this.file, source: this.source, body });
  }

  private templateName(token: Token, context: string): string {
    if (token.type !== 'string' && token.type !== 'rawString') throw this.unexpected(token, context);
    return this.textOf(token);
  }

  private textOf(token: Token): string {
    const text = unquote(token.text);
    if (text === undefined) throw this.error('invalid syntax', token.line);
    return text;
  }

  private statements(): Block {
    if (++this.nesting > MAX_NESTING) throw this.error('actions are nested too deeply');
    const body: Statement[] = [];
    while (this.peekNonSpace().type !== 'eof') {
      const statement = this.textOrAction();
      if (isEnd(statement)) {
        this.nesting--;
        return { body, end: statement };
      }
      body.push(statement);
    }
    throw this.error('unexpected EOF', this.peek().line);
  }

  private textOrAction(): Statement | ListEnd {
    const token = this.nextNonSpace();
    if (token.type === 'text') return { type: 'text', position: token.position, text: token.text };
    if (token.type !== 'leftDelim') throw this.unexpected(token, 'input');
    this.actionLine = token.line;
    try {
      return this.action();
    } finally {
      this.actionLine = 0;
    }
  }

  private action(): Statement | ListEnd {
    const token = this.nextNonSpace();
    switch (token.type) {
      case 'block':
        return this.block();
      case 'break':
      case 'continue':
        return this.jump(token, token.type);
      case 'else':
        return this.otherwise();
      case 'end':
        this.expect('rightDelim', 'end');
        return 'end';
      case 'if':
      case 'range':
      case 'with':
        return this.branch(token, token.type);
      case 'template':
        return this.templateCall();
      default: {
        this.at--;
        const { position } = this.peek();
        return { type: 'action', position, pipe: this.pipeline('command', 'rightDelim') };
      }
    }
  }

  private jump(token: Token, type: 'break' | 'continue'): Statement {
    const after = this.nextNonSpace();
    if (after.type !== 'rightDelim') throw this.unexpected(after, `{{${type}}}`);
    if (this.rangeDepth === 0) throw this.error(`{{${type}}} outside {{range}}`);
    return { type, position: token.position };
  }

  private otherwise(): ListEnd {
    const { type } = this.peekNonSpace();
    // `else if` and `else with` have no delimiter of their own
    if (type !== 'if' && type !== 'with') this.expect('rightDelim', 'else');
    return 'else';
  }

  private branch({ position }: Token, type: Branch['type']): Branch {
    const known = this.variables.length;
    const pipe = this.pipeline(type, 'rightDelim');
    if (type === 'range') this.rangeDepth++;
    const { body, end } = this.statements();
    if (type === 'range') this.rangeDepth--;
    const otherwise = end === 'else' ? this.otherwiseBody(type) : undefined;
    this.variables.length = known;
    return { type, position, pipe, body, ...(otherwise && { otherwise }) };
  }

  private otherwiseBody(type: Branch['type']): Statement[] {
    const token = this.peek();
    if ((token.type === 'if' && type === 'if') || (token.type === 'with' && type === 'with')) {
      this.next();
      if (++this.nesting > MAX_NESTING) throw this.error('actions are nested too deeply');
      const inner = this.branch(token, token.type);
      this.nesting--;
      return [inner];
    }
    if (token.type === 'if' || token.type === 'with') throw this.unexpected(token, 'input');
    const { body, end } = this.statements();
    if (end !== 'end') throw this.error(`expected end; found {{${end}}}`);
    return body;
  }

  private templateCall(): Statement {
    const context = 'template clause';
    const token = this.nextNonSpace();
    const { position } = token;
    const name = this.templateName(token, context);
    if (this.peekNonSpace().type === 'rightDelim') {
      this.next();
      return { type: 'template', position, name };
    }
    return { type: 'template', position, name, pipe: this.pipeline(context, 'rightDelim') };
  }

  private block(): Statement {
    const context = 'block clause';
    const token = this.nextNonSpace();
    const { position } = token;
    const name = this.templateName(token, context);
    const pipe = this.pipeline(context, 'rightDelim');
    this.addTree(name, context);
    return { type: 'template', position, name, pipe };
  }

  private pipeline(context: string, end: TokenType): Pipe {
    if (++this.nesting > MAX_NESTING) throw this.error('pipelines are nested too deeply');
    const { position } = this.peekNonSpace();
    const { variables, assigns } = this.declarations(context);
    const commands: Command[] = [];
    for (let token = this.nextNonSpace(); token.type !== end; token = this.nextNonSpace()) {
      if (!OPERANDS.has(token.type)) throw this.unexpected(token, context);
      this.at--;
      commands.push(this.command());
    }
    this.checkPipeline(commands, context);
    this.nesting--;
    return { type: 'pipe', position, assigns, variables, commands };
  }

  private checkPipeline(commands: readonly Command[], context: string): void {
    if (commands.length === 0) throw this.error(`missing value for ${context}`);
    commands.forEach(({ operands }, index) => {
      const first = operands[0]?.type;
      if (index > 0 && (first === 'bool' || first === 'dot' || first === 'nil' || first === 'number' || first === 'string'))
        throw this.error(`non executable command in pipeline stage ${index + 1}`);
    });
  }

  private declarations(context: string): { readonly variables: string[]; readonly assigns: boolean } {
    const variables: string[] = [];
    for (;;) {
      const token = this.peekNonSpace();
      if (token.type !== 'variable') return { variables, assigns: false };
      const start = this.at;
      this.next();
      const { type, text } = this.peekNonSpace();
      if (type === 'assign' || type === 'declare') {
        this.next();
        variables.push(token.text);
        this.variables.push(token.text);
        return { variables, assigns: type === 'assign' };
      }
      if (type !== 'char' || text !== ',') {
        this.at = start;
        return { variables, assigns: false };
      }
      this.next();
      variables.push(token.text);
      this.variables.push(token.text);
      if (context !== 'range' || variables.length > 1) throw this.error(`too many declarations in ${context}`);
      if (!['variable', 'rightDelim', 'rightParen'].includes(this.peekNonSpace().type))
        throw this.error('range can only initialize variables');
    }
  }

  private command(): Command {
    const { position } = this.peekNonSpace();
    const operands: Operand[] = [];
    for (;;) {
      this.peekNonSpace();
      const operand = this.operand();
      if (operand) operands.push(operand);
      const token = this.next();
      if (token.type === 'space') continue;
      if (token.type === 'rightDelim' || token.type === 'rightParen') this.at--;
      else if (token.type !== 'pipe') throw this.unexpected(token, 'operand');
      break;
    }
    if (operands.length === 0) throw this.error('empty command');
    return { type: 'command', position, operands };
  }

  private operand(): Operand | undefined {
    const node = this.term();
    if (node === undefined || this.peek().type !== 'field') return node;
    const { position } = this.peek();
    const names: string[] = [];
    while (this.peek().type === 'field') names.push(this.next().text.slice(1));
    if (node.type === 'field' || node.type === 'variable') return { type: node.type, position, names: [...node.names, ...names] };
    if (['bool', 'string', 'number', 'nil', 'dot'].includes(node.type)) {
      const text = node.type === 'string' ? node.source : this.source.slice(node.position, position);
      throw this.error(`unexpected . after term ${goQuote(text)}`);
    }
    return { type: 'chain', position, node, names };
  }

  private term(): Operand | undefined {
    const token = this.nextNonSpace();
    const { position, text } = token;
    switch (token.type) {
      case 'identifier':
        if (!this.hasFunction(text)) throw this.error(`function ${goQuote(text)} not defined`);
        return { type: 'identifier', position, name: text };
      case 'dot':
      case 'nil':
        return { type: token.type, position };
      case 'variable':
        if (!this.variables.includes(text)) throw this.error(`undefined variable ${goQuote(text)}`);
        return { type: 'variable', position, names: [text] };
      case 'field':
        return { type: 'field', position, names: [text.slice(1)] };
      case 'bool':
        return { type: 'bool', position, value: text === 'true' };
      case 'charConstant':
      case 'number':
        return this.number(token);
      case 'leftParen':
        return this.pipeline('parenthesized pipeline', 'rightParen');
      case 'string':
      case 'rawString':
        return { type: 'string', position, text: this.textOf(token), source: text };
      default:
        this.at--;
        return undefined;
    }
  }

  private number({ position, text, type, line }: Token): Operand {
    if (type === 'charConstant') {
      const char = unquote(text);
      if (char === undefined || Array.from(char).length !== 1) throw this.error(`malformed character constant: ${text}`, line);
      return { type: 'number', position, text };
    }
    const isInteger = /^[+-]?(?:0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]+|0[bB][01_]+|[1-9][0-9_]*|0)$/.test(text);
    const isFloat = /^[+-]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?$/.test(text);
    if (!isInteger && !isFloat) throw this.error(`bad number syntax: ${goQuote(text)}`, line);
    return { type: 'number', position, text };
  }
}

const isEnd = (statement: Statement | ListEnd): statement is ListEnd => statement === 'end' || statement === 'else';

function describeToken({ type, text }: Token): string {
  if (type === 'eof') return 'EOF';
  if (/^(?:block|break|continue|define|else|end|if|range|template|with|dot|nil)$/.test(type)) return `<${text}>`;
  const shown = Array.from(text);
  return shown.length > 10 ? `${goQuote(shown.slice(0, 10).join(''))}...` : goQuote(text);
}
