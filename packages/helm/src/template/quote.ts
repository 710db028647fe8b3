const ESCAPES: Readonly<Record<string, string>> = {
  '\u0007': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
};
const NEEDS_ESCAPE = /[\\\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|[^\P{Zs} ]/gu;

/** The text as a Go string constant (`strconv.Quote`). */
export function goQuote(text: string, quote = '"', isAscii = false): string {
  let inner = text.replace(NEEDS_ESCAPE, escape).replaceAll(quote, `\\${quote}`);
  if (isAscii) inner = inner.replace(/[^\p{ASCII}]/gu, escape);
  return quote + inner + quote;
}

function escape(char: string): string {
  const simple = ESCAPES[char];
  if (simple !== undefined) return simple;
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x80) return `\\x${code.toString(16).padStart(2, '0')}`;
  return code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
}
