const SIMPLE: Readonly<Record<string, string>> = {
  a: '\u0007',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  "'": "'",
  '"': '"',
};
const ESCAPE = /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|([^]))/g;

/** A Go string or character constant without its quotes; undefined when an escape is wrong. */
export function unquote(source: string): string | undefined {
  const quote = source[0];
  const inner = source.slice(1, -1);
  if (quote === '`') return inner.replaceAll('\r', '');
  let isBad = false;
  // bytes given one by one are UTF-8 together
  const text = inner.replace(/(?:\\x[0-9a-fA-F]{2}|\\[0-7]{3})+/g, (run) => bytesText(run));
  const result = text.replace(ESCAPE, (_all, hex?: string, short?: string, long?: string, octal?: string, char?: string) => {
    if (hex ?? short ?? long) return codePoint(Number.parseInt(hex ?? short ?? long ?? '', 16));
    if (octal) return codePoint(Number.parseInt(octal, 8));
    const simple = SIMPLE[char ?? ''];
    if (simple === undefined || (char === "'" && quote === '"') || (char === '"' && quote === "'")) isBad = true;
    return simple ?? '';
  });
  return isBad ? undefined : result;
}

const codePoint = (code: number): string => (code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd');

function bytesText(run: string): string {
  const bytes = [...run.matchAll(/\\x(..)|\\([0-7]{3})/g)].map(([, hex, octal]) =>
    hex ? Number.parseInt(hex, 16) : Number.parseInt(octal ?? '0', 8),
  );
  return Buffer.from(bytes).toString('utf8').replace(/\\/g, '\\\\');
}
