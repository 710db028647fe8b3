import { type Token, type TokenType, tokenize } from './lexer.ts';
import { TemplateParseError } from './parse-error.ts';
import { goQuote } from './quote.ts';
import { unquote } from './unquote.ts';

/** Deeper nesting is refused before it can exhaust the stack. */
const MAX_NESTING = 500;

/** Where the parse of one file is, and what is wrong there. */
export class TokenReader {
  /** Line on which the action began that is being read; 0: none is. */
  actionLine = 0;
  private readonly file: string;
  private readonly tokens: Token[];
  private at = 0;
  private nesting = 0;

  constructor(file: string, source: string) {
    this.file = file;
    this.tokens = tokenize(source);
  }

  peek(): Token {
    return this.token(this.at);
  }

  next(): Token {
    return this.token(this.at++);
  }

  peekNonSpace(): Token {
    if (this.peek().type === 'space') this.at++;
    return this.peek();
  }

  nextNonSpace(): Token {
    this.peekNonSpace();
    return this.next();
  }

  /** The token that was read last comes again. */
  back(): void {
    this.at--;
  }

  /** For `rewind`. */
  mark(): number {
    return this.at;
  }

  rewind(mark: number): void {
    this.at = mark;
  }

  /** After a left delimiter: takes it and the keyword when that comes next. */
  skipsTo(keyword: TokenType): boolean {
    const after = this.token(this.at + 1).type === 'space' ? 2 : 1;
    if (this.token(this.at + after).type !== keyword) return false;
    this.at += after + 1;
    return true;
  }

  expect(type: TokenType, context: string): Token {
    const token = this.nextNonSpace();
    if (token.type !== type) throw this.unexpected(token, context);
    return token;
  }

  /** What a string constant says. */
  textOf(token: Token): string {
    const text = unquote(token.text);
    if (text === undefined) throw this.error('invalid syntax', token.line);
    return text;
  }

  /** One level deeper, until `leave`. */
  enter(what: string): void {
    if (++this.nesting > MAX_NESTING) throw this.error(`${what} are nested too deeply`);
  }

  leave(): void {
    this.nesting--;
  }

  error(message: string, line = this.tokens[this.at - 1]?.line ?? 1): TemplateParseError {
    return new TemplateParseError(`template: ${this.file}:${line}: ${message}`);
  }

  unexpected(token: Token, context: string): TemplateParseError {
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
}

function describeToken({ type, text }: Token): string {
  if (type === 'eof') return 'EOF';
  if (/^(?:block|break|continue|define|else|end|if|range|template|with|dot|nil)$/.test(type)) return `<${text}>`;
  const shown = Array.from(text);
  return shown.length > 10 ? `${goQuote(shown.slice(0, 10).join(''))}...` : goQuote(text);
}
