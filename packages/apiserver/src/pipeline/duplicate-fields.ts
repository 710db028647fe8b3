/** Reads the text of a JSON document and tells the fields given more than once in one object. */
export function duplicateFields(text: string): string[] {
  const found = new Set<string>();
  const open: Scope[] = [];
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE: {
        const end = stringEnd(text, at);
        const scope = open[open.length - 1];
        if (scope?.keys !== undefined && scope.wantsKey) enterKey(text.slice(at, end + 1), scope, open, found);
        at = end;
        break;
      }
      case OPEN_OBJECT:
        open.push({ keys: new Set(), wantsKey: true, part: '', index: 0 });
        break;
      case OPEN_LIST:
        open.push({ keys: undefined, wantsKey: false, part: '[0]', index: 0 });
        break;
      case CLOSE_OBJECT:
      case CLOSE_LIST:
        open.pop();
        break;
      case COMMA:
        nextMember(open[open.length - 1]);
        break;
      default:
    }
  }
  return [...found];
}

const QUOTE = 34;
const COMMA = 44;
const OPEN_LIST = 91;
const BACKSLASH = 92;
const CLOSE_LIST = 93;
const OPEN_OBJECT = 123;
const CLOSE_OBJECT = 125;

interface Scope {
  /** Undefined for lists. */
  readonly keys: Set<string> | undefined;
  wantsKey: boolean;
  /** The member being read, as a part of a path. */
  part: string;
  index: number;
}

function enterKey(quoted: string, scope: Scope, open: readonly Scope[], found: Set<string>): void {
  const key = keyOf(quoted);
  scope.part = key;
  scope.wantsKey = false;
  if (scope.keys?.has(key) === true) found.add(pathOf(open));
  else scope.keys?.add(key);
}

/** The text may turn out not to be JSON: whoever reads it in full says so. */
function keyOf(quoted: string): string {
  if (!quoted.includes('\\')) return quoted.slice(1, -1);
  try {
    return JSON.parse(quoted) as string; // a JSON string, delimited by the caller
  } catch {
    return quoted;
  }
}

function nextMember(scope: Scope | undefined): void {
  if (scope === undefined) return;
  if (scope.keys !== undefined) scope.wantsKey = true;
  else scope.part = `[${++scope.index}]`;
}

function pathOf(open: readonly Scope[]): string {
  return open
    .map(({ part, keys }) => (keys === undefined ? part : `.${part}`))
    .join('')
    .replace(/^\./, '');
}

function stringEnd(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  while (end > 0 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
  return end < 0 ? text.length : end;
}

function isEscaped(text: string, at: number): boolean {
  let slashes = 0;
  while (text.charCodeAt(at - 1 - slashes) === BACKSLASH) slashes++;
  return slashes % 2 === 1;
}
