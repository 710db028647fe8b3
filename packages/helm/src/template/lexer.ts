export type TokenType =
  | 'error'
  | 'eof'
  | 'text'
  | 'comment'
  | 'leftDelim'
  | 'rightDelim'
  | 'space'
  | 'assign'
  | 'declare'
  | 'pipe'
  | 'string'
  | 'rawString'
  | 'charConstant'
  | 'number'
  | 'bool'
  | 'nil'
  | 'dot'
  | 'field'
  | 'variable'
  | 'identifier'
  | 'leftParen'
  | 'rightParen'
  | 'char'
  | Keyword;
export type Keyword = 'block' | 'break' | 'continue' | 'define' | 'else' | 'end' | 'if' | 'range' | 'template' | 'with';

export interface Token {
  readonly type: TokenType;
  readonly text: string;
  readonly position: number;
  readonly line: number;
}

const KEYWORDS = new Set(['block', 'break', 'continue', 'define', 'else', 'end', 'if', 'range', 'template', 'with']);
const SPACE = /[ \t\r\n]/;
const WORD = /[\p{L}\p{Nd}_]/u;
const NUMBER =
  /^[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?|0[oO][0-7_]*|0[bB][01_]*|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)/;

/** Splits a template into tokens; stops at the first error token. */
export function tokenize(input: string): Token[] {
  return new Lexer(input).run();
}

class LexError extends Error {}

class Lexer {
  private readonly tokens: Token[] = [];
  private readonly input: string;
  private position = 0;
  private line = 1;
  private parens = 0;

  constructor(input: string) {
    this.input = input;
  }

  run(): Token[] {
    try {
      for (let next = this.text(); next !== 'end'; next = this.text()) if (next === 'action') this.action();
      this.tokens.push({ type: 'eof', text: '', position: this.position, line: this.line });
    } catch (error) {
      if (!(error instanceof LexError)) throw error;
      this.tokens.push({ type: 'error', text: error.message, position: this.position, line: this.line });
    }
    return this.tokens;
  }

  private emit(type: TokenType, end: number): void {
    const text = this.input.slice(this.position, end);
    this.tokens.push({ type, text, position: this.position, line: this.line });
    this.skipTo(end);
  }

  private skipTo(end: number): void {
    for (let at = this.position; at < end; at++) if (this.input.charCodeAt(at) === 10) this.line++;
    this.position = end;
  }

  /** Text up to the next action or past the next comment. */
  private text(): 'action' | 'comment' | 'end' {
    const start = this.input.indexOf('{{', this.position);
    const stop = start === -1 ? this.input.length : start;
    const trims = start !== -1 && this.input[start + 2] === '-' && SPACE.test(this.input[start + 3] ?? '');
    const end = trims ? this.trimmedEnd(stop) : stop;
    if (end > this.position) this.emit('text', end);
    this.skipTo(stop);
    if (start === -1) return 'end';
    const inside = start + (trims ? 3 : 2);
    const comment = trims ? this.commentStart(inside) : inside;
    if (this.input.startsWith('/*', comment)) {
      this.comment(comment);
      return 'comment';
    }
    this.emit('leftDelim', start + 2);
    this.skipTo(inside);
    return 'action';
  }

  /** One space may stand between a trim marker and a comment. */
  private commentStart(inside: number): number {
    return SPACE.test(this.input[inside] ?? '') ? inside + 1 : inside;
  }

  private trimmedEnd(stop: number): number {
    let end = stop;
    while (end > this.position && SPACE.test(this.input[end - 1] ?? '')) end--;
    return end;
  }

  private comment(start: number): void {
    const end = this.input.indexOf('*/', start);
    if (end === -1) throw new LexError('unclosed comment');
    this.skipTo(end + 2);
    const close = this.closing();
    if (close === undefined) throw new LexError('comment ends before closing delimiter');
    this.close(close);
  }

  /** Length of a closing delimiter at this place, with its trim marker. */
  private closing(): { readonly length: number; readonly trims: boolean } | undefined {
    if (this.input.startsWith('}}', this.position)) return { length: 2, trims: false };
    const trimmed = SPACE.test(this.input[this.position] ?? '') && this.input.startsWith('-}}', this.position + 1);
    return trimmed ? { length: 4, trims: true } : undefined;
  }

  private close({ length, trims }: { readonly length: number; readonly trims: boolean }): void {
    this.skipTo(this.position + length);
    if (!trims) return;
    let end = this.position;
    while (end < this.input.length && SPACE.test(this.input[end] ?? '')) end++;
    this.skipTo(end);
  }

  private action(): void {
    this.parens = 0;
    for (;;) {
      const close = this.closing();
      if (close) {
        if (this.parens > 0) throw new LexError('unclosed left paren');
        this.tokens.push({ type: 'rightDelim', text: '}}', position: this.position, line: this.line });
        this.close(close);
        return;
      }
      if (this.position >= this.input.length) throw new LexError('unclosed action');
      this.inside(this.input[this.position] ?? '');
    }
  }

  private inside(char: string): void {
    if (SPACE.test(char)) this.space();
    else if (char === '=') this.emit('assign', this.position + 1);
    else if (char === ':') this.declare();
    else if (char === '|') this.emit('pipe', this.position + 1);
    else if (char === '"') this.quoted('"', 'string', 'unterminated quoted string');
    else if (char === "'") this.quoted("'", 'charConstant', 'unterminated character constant');
    else if (char === '`') this.raw();
    else if (char === '$') this.name('variable', this.position + 1);
    else if (char === '(' || char === ')') this.paren(char);
    else this.word(char);
  }

  private word(char: string): void {
    const next = this.input[this.position + 1] ?? '';
    if (char === '.' && !/[0-9]/.test(next)) this.name('field', this.position + 1);
    else if (/[0-9.+-]/.test(char)) this.number();
    else if (WORD.test(this.charAt(this.position))) this.identifier();
    else if (/[!-~]/.test(char)) this.emit('char', this.position + 1);
    else throw new LexError(`unrecognized character in action: ${unicode(this.charAt(this.position))}`);
  }

  private charAt(at: number): string {
    const code = this.input.codePointAt(at);
    return code === undefined ? '' : String.fromCodePoint(code);
  }

  private space(): void {
    let end = this.position;
    while (SPACE.test(this.input[end] ?? '')) end++;
    // the last space may belong to a closing delimiter that trims
    if (this.input.startsWith('-}}', end)) end--;
    if (end > this.position) this.emit('space', end);
  }

  private declare(): void {
    if (this.input[this.position + 1] !== '=') throw new LexError('expected :=');
    this.emit('declare', this.position + 2);
  }

  private paren(char: string): void {
    this.parens += char === '(' ? 1 : -1;
    if (this.parens < 0) throw new LexError('unexpected right paren');
    this.emit(char === '(' ? 'leftParen' : 'rightParen', this.position + 1);
  }

  private quoted(quote: string, type: TokenType, complaint: string): void {
    let at = this.position + 1;
    for (; this.input[at] !== quote; at++) {
      if (this.input[at] === '\\' && at + 1 < this.input.length) at++;
      if (at >= this.input.length || this.input[at] === '\n') throw new LexError(complaint);
    }
    this.emit(type, at + 1);
  }

  private raw(): void {
    const end = this.input.indexOf('`', this.position + 1);
    if (end === -1) throw new LexError('unterminated raw quoted string');
    this.emit('rawString', end + 1);
  }

  private wordEnd(from: number): number {
    let end = from;
    for (let char = this.charAt(end); char !== '' && WORD.test(char); char = this.charAt(end)) end += char.length;
    return end;
  }

  private name(type: 'field' | 'variable', from: number): void {
    const end = this.wordEnd(from);
    this.expectEnd(end);
    this.emit(type === 'field' && end === from ? 'dot' : type, end);
  }

  private expectEnd(end: number): void {
    const char = this.charAt(end);
    if (char === '' || /[ \t\r\n.,|:()]/.test(char) || this.input.startsWith('}}', end)) return;
    throw new LexError(`bad character ${unicode(char)}`);
  }

  private identifier(): void {
    const end = this.wordEnd(this.position);
    this.expectEnd(end);
    const word = this.input.slice(this.position, end);
    // the set holds exactly the keywords
    if (KEYWORDS.has(word)) this.emit(word as Keyword, end);
    else this.emit(word === 'true' || word === 'false' ? 'bool' : word === 'nil' ? 'nil' : 'identifier', end);
  }

  private number(): void {
    const length = NUMBER.exec(this.input.slice(this.position, this.position + 400))?.[0].length ?? 0;
    const end = this.position + length;
    const after = this.charAt(end);
    if (length === 0 || WORD.test(after)) {
      const bad = this.input.slice(this.position, end + after.length);
      throw new LexError(`bad number syntax: ${JSON.stringify(bad)}`);
    }
    this.emit('number', end);
  }
}

/** As `%#U` of Go prints a character. */
function unicode(char: string): string {
  const code = (char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
  return /[\p{Cc}]/u.test(char) ? `U+${code}` : `U+${code} '${char}'`;
}
