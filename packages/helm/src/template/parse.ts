import type { Token } from './lexer.ts';
import type { Branch, Statement, Tree } from './nodes.ts';
import { PipelineParser } from './pipeline-parser.ts';
import { goQuote } from './quote.ts';
import { TokenReader } from './token-reader.ts';

type ListEnd = 'end' | 'else';
interface Block {
  readonly body: Statement[];
  readonly end: ListEnd;
}

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
  private readonly tokens: TokenReader;
  private readonly pipelines: PipelineParser;
  private readonly trees = new Map<string, Tree>();
  private readonly file: string;
  private readonly source: string;
  private rangeDepth = 0;

  constructor(file: string, source: string, hasFunction: (name: string) => boolean) {
    this.file = file;
    this.source = source;
    this.tokens = new TokenReader(file, source);
    this.pipelines = new PipelineParser(this.tokens, source, hasFunction);
  }

  parse(): Tree[] {
    const body: Statement[] = [];
    while (this.tokens.peek().type !== 'eof') {
      if (this.tokens.peek().type === 'leftDelim' && this.tokens.skipsTo('define')) {
        this.definition();
        continue;
      }
      const statement = this.textOrAction();
      if (isEnd(statement)) throw this.tokens.error(`unexpected {{${statement}}}`);
      body.push(statement);
    }
    return [{ name: this.file, file: this.file, source: this.source, body }, ...this.trees.values()];
  }

  private definition(): void {
    const context = 'define clause';
    const name = this.templateName(this.tokens.nextNonSpace(), context);
    this.tokens.expect('rightDelim', context);
    this.addTree(name, context);
  }

  /** The body up to its end becomes a template; it sees no variables of the outside. */
  private addTree(name: string, context: string): void {
    const { rangeDepth } = this;
    const { variables } = this.pipelines;
    this.pipelines.variables = ['$'];
    this.rangeDepth = 0;
    const { body, end } = this.statements();
    if (end !== 'end') throw this.tokens.error(`unexpected {{${end}}} in ${context}`);
    this.pipelines.variables = variables;
    this.rangeDepth = rangeDepth;
    const old = this.trees.get(name);
    if (old && !isEmptyTree(old.body)) {
      if (!isEmptyTree(body)) throw this.tokens.error(`template: multiple definition of template ${goQuote(name)}`);
      return;
    }
    this.trees.set(name, { name, file: this.file, source: this.source, body });
  }

  private templateName(token: Token, context: string): string {
    if (token.type !== 'string' && token.type !== 'rawString') throw this.tokens.unexpected(token, context);
    return this.tokens.textOf(token);
  }

  private statements(): Block {
    this.tokens.enter('actions');
    const body: Statement[] = [];
    while (this.tokens.peekNonSpace().type !== 'eof') {
      const statement = this.textOrAction();
      if (isEnd(statement)) {
        this.tokens.leave();
        return { body, end: statement };
      }
      body.push(statement);
    }
    throw this.tokens.error('unexpected EOF', this.tokens.peek().line);
  }

  private textOrAction(): Statement | ListEnd {
    const token = this.tokens.nextNonSpace();
    if (token.type === 'text') return { type: 'text', position: token.position, text: token.text };
    if (token.type !== 'leftDelim') throw this.tokens.unexpected(token, 'input');
    this.tokens.actionLine = token.line;
    try {
      return this.action();
    } finally {
      this.tokens.actionLine = 0;
    }
  }

  private action(): Statement | ListEnd {
    const token = this.tokens.nextNonSpace();
    switch (token.type) {
      case 'block':
        return this.block();
      case 'break':
      case 'continue':
        return this.jump(token, token.type);
      case 'else':
        return this.otherwise();
      case 'end':
        this.tokens.expect('rightDelim', 'end');
        return 'end';
      case 'if':
      case 'range':
      case 'with':
        return this.branch(token, token.type);
      case 'template':
        return this.templateCall();
      default: {
        this.tokens.back();
        const { position } = this.tokens.peek();
        return { type: 'action', position, pipe: this.pipelines.pipeline('command', 'rightDelim') };
      }
    }
  }

  private jump(token: Token, type: 'break' | 'continue'): Statement {
    const after = this.tokens.nextNonSpace();
    if (after.type !== 'rightDelim') throw this.tokens.unexpected(after, `{{${type}}}`);
    if (this.rangeDepth === 0) throw this.tokens.error(`{{${type}}} outside {{range}}`);
    return { type, position: token.position };
  }

  private otherwise(): ListEnd {
    const { type } = this.tokens.peekNonSpace();
    // `else if` and `else with` have no delimiter of their own
    if (type !== 'if' && type !== 'with') this.tokens.expect('rightDelim', 'else');
    return 'else';
  }

  private branch({ position }: Token, type: Branch['type']): Branch {
    const known = this.pipelines.variables.length;
    const pipe = this.pipelines.pipeline(type, 'rightDelim');
    if (type === 'range') this.rangeDepth++;
    const { body, end } = this.statements();
    if (type === 'range') this.rangeDepth--;
    const otherwise = end === 'else' ? this.otherwiseBody(type) : undefined;
    this.pipelines.variables.length = known;
    return { type, position, pipe, body, ...(otherwise && { otherwise }) };
  }

  private otherwiseBody(type: Branch['type']): Statement[] {
    const token = this.tokens.peek();
    if ((token.type === 'if' && type === 'if') || (token.type === 'with' && type === 'with')) {
      this.tokens.next();
      this.tokens.enter('actions');
      const inner = this.branch(token, token.type);
      this.tokens.leave();
      return [inner];
    }
    if (token.type === 'if' || token.type === 'with') throw this.tokens.unexpected(token, 'input');
    const { body, end } = this.statements();
    if (end !== 'end') throw this.tokens.error(`expected end; found {{${end}}}`);
    return body;
  }

  private templateCall(): Statement {
    const context = 'template clause';
    const token = this.tokens.nextNonSpace();
    const { position } = token;
    const name = this.templateName(token, context);
    if (this.tokens.peekNonSpace().type === 'rightDelim') {
      this.tokens.next();
      return { type: 'template', position, name };
    }
    return { type: 'template', position, name, pipe: this.pipelines.pipeline(context, 'rightDelim') };
  }

  private block(): Statement {
    const context = 'block clause';
    const token = this.tokens.nextNonSpace();
    const { position } = token;
    const name = this.templateName(token, context);
    const pipe = this.pipelines.pipeline(context, 'rightDelim');
    this.addTree(name, context);
    return { type: 'template', position, name, pipe };
  }
}

const isEnd = (statement: Statement | ListEnd): statement is ListEnd => statement === 'end' || statement === 'else';
