import type { Token, TokenType } from './lexer.ts';
import type { Command, Operand, Pipe } from './nodes.ts';
import { goQuote } from './quote.ts';
import type { TokenReader } from './token-reader.ts';
import { unquote } from './unquote.ts';

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

/** Parses what stands in an action: commands, their operands, and variables. */
export class PipelineParser {
  /** Names that are known here; whoever parses bodies forgets them at their ends. */
  variables: string[] = ['$'];
  private readonly tokens: TokenReader;
  private readonly source: string;
  private readonly hasFunction: (name: string) => boolean;

  constructor(tokens: TokenReader, source: string, hasFunction: (name: string) => boolean) {
    this.tokens = tokens;
    this.source = source;
    this.hasFunction = hasFunction;
  }

  /** The commands up to the token that ends them, which is taken; `context` is what messages call the place. */
  pipeline(context: string, end: TokenType): Pipe {
    this.tokens.enter('pipelines');
    const { position } = this.tokens.peekNonSpace();
    const { variables, assigns } = this.declarations(context);
    const commands: Command[] = [];
    for (let token = this.tokens.nextNonSpace(); token.type !== end; token = this.tokens.nextNonSpace()) {
      if (!OPERANDS.has(token.type)) throw this.tokens.unexpected(token, context);
      this.tokens.back();
      commands.push(this.command());
    }
    this.checkPipeline(commands, context);
    this.tokens.leave();
    return { type: 'pipe', position, assigns, variables, commands };
  }

  private checkPipeline(commands: readonly Command[], context: string): void {
    if (commands.length === 0) throw this.tokens.error(`missing value for ${context}`);
    commands.forEach(({ operands }, index) => {
      const first = operands[0]?.type;
      if (index > 0 && (first === 'bool' || first === 'dot' || first === 'nil' || first === 'number' || first === 'string'))
        throw this.tokens.error(`non executable command in pipeline stage ${index + 1}`);
    });
  }

  private declarations(context: string): { readonly variables: string[]; readonly assigns: boolean } {
    const variables: string[] = [];
    for (;;) {
      const token = this.tokens.peekNonSpace();
      if (token.type !== 'variable') return { variables, assigns: false };
      const start = this.tokens.mark();
      this.tokens.next();
      const { type, text } = this.tokens.peekNonSpace();
      if (type === 'assign' || type === 'declare') {
        this.tokens.next();
        variables.push(token.text);
        this.variables.push(token.text);
        return { variables, assigns: type === 'assign' };
      }
      if (type !== 'char' || text !== ',') {
        this.tokens.rewind(start);
        return { variables, assigns: false };
      }
      this.tokens.next();
      variables.push(token.text);
      this.variables.push(token.text);
      if (context !== 'range' || variables.length > 1) throw this.tokens.error(`too many declarations in ${context}`);
      if (!['variable', 'rightDelim', 'rightParen'].includes(this.tokens.peekNonSpace().type))
        throw this.tokens.error('range can only initialize variables');
    }
  }

  private command(): Command {
    const { position } = this.tokens.peekNonSpace();
    const operands: Operand[] = [];
    for (;;) {
      this.tokens.peekNonSpace();
      const operand = this.operand();
      if (operand) operands.push(operand);
      const token = this.tokens.next();
      if (token.type === 'space') continue;
      if (token.type === 'rightDelim' || token.type === 'rightParen') this.tokens.back();
      else if (token.type !== 'pipe') throw this.tokens.unexpected(token, 'operand');
      break;
    }
    if (operands.length === 0) throw this.tokens.error('empty command');
    return { type: 'command', position, operands };
  }

  private operand(): Operand | undefined {
    const node = this.term();
    if (node === undefined || this.tokens.peek().type !== 'field') return node;
    const { position } = this.tokens.peek();
    const names: string[] = [];
    while (this.tokens.peek().type === 'field') names.push(this.tokens.next().text.slice(1));
    if (node.type === 'field' || node.type === 'variable') return { type: node.type, position, names: [...node.names, ...names] };
    if (['bool', 'string', 'number', 'nil', 'dot'].includes(node.type)) {
      const text = node.type === 'string' ? node.source : this.source.slice(node.position, position);
      throw this.tokens.error(`unexpected . after term ${goQuote(text)}`);
    }
    return { type: 'chain', position, node, names };
  }

  private term(): Operand | undefined {
    const token = this.tokens.nextNonSpace();
    const { position, text } = token;
    switch (token.type) {
      case 'identifier':
        if (!this.hasFunction(text)) throw this.tokens.error(`function ${goQuote(text)} not defined`);
        return { type: 'identifier', position, name: text };
      case 'dot':
      case 'nil':
        return { type: token.type, position };
      case 'variable':
        if (!this.variables.includes(text)) throw this.tokens.error(`undefined variable ${goQuote(text)}`);
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
        return { type: 'string', position, text: this.tokens.textOf(token), source: text };
      default:
        this.tokens.back();
        return undefined;
    }
  }

  private number({ position, text, type, line }: Token): Operand {
    if (type === 'charConstant') {
      const char = unquote(text);
      if (char === undefined || Array.from(char).length !== 1)
        throw this.tokens.error(`malformed character constant: ${text}`, line);
      return { type: 'number', position, text };
    }
    const isInteger = /^[+-]?(?:0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]+|0[bB][01_]+|[1-9][0-9_]*|0)$/.test(text);
    const isFloat = /^[+-]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?$/.test(text);
    if (!isInteger && !isFloat) throw this.tokens.error(`bad number syntax: ${goQuote(text)}`, line);
    return { type: 'number', position, text };
  }
}
