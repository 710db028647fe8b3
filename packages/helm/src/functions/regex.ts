import { RE2JS } from 're2js';
import { define, FunctionError, type FunctionTable } from '../template/functions.ts';
import { type Int, strings } from '../template/values.ts';
import type { FunctionSources } from './context.ts';

const MAX_PATTERN = 16_384;

function compile(pattern: string): RE2JS {
  if (pattern.length > MAX_PATTERN) throw new FunctionError(`error parsing regexp: pattern exceeds ${MAX_PATTERN} characters`);
  try {
    return RE2JS.compile(pattern);
  } catch (error) {
    throw new FunctionError(error instanceof Error ? error.message : String(error));
  }
}

interface Match {
  readonly from: number;
  readonly to: number;
  readonly groups: readonly (string | null)[];
}

/** Matches as Go finds them: an empty one right after another match does not count. */
function matches(pattern: RE2JS, text: string, limit: number): Match[] {
  const matcher = pattern.matcher(text);
  const found: Match[] = [];
  let end = -1;
  while ((limit < 0 || found.length < limit) && matcher.find()) {
    const [from, to] = [matcher.start(), matcher.end()];
    if (from === to && from === end) continue;
    end = to;
    found.push({ from, to, groups: Array.from({ length: matcher.groupCount() + 1 }, (_none, index) => matcher.group(index)) });
  }
  return found;
}

function replaced(text: string, found: readonly Match[], replacement: (match: Match) => string): string {
  let [out, at] = ['', 0];
  for (const match of found) {
    out += text.slice(at, match.from) + replacement(match);
    at = match.to;
  }
  return out + text.slice(at);
}

/** `$1`, `${name}` and `$$` of a replacement, as Go expands them. */
function expand(template: string, { groups }: Match, names: Readonly<Record<string, number>>): string {
  return template.replace(/\$(?:\$|\{(\w+)\}|(\w+))/g, (all, braced?: string, bare?: string) => {
    if (all === '$$') return '$';
    const name = braced ?? bare ?? '';
    const index = /^\d+$/.test(name) ? Number(name) : names[name];
    return index === undefined ? '' : (groups[index] ?? '');
  });
}

function split(pattern: RE2JS, text: string, limit: number): string[] {
  if (limit === 0) return [];
  const parts: string[] = [];
  let at = 0;
  for (const { from, to } of matches(pattern, text, -1)) {
    if (limit > 0 && parts.length === limit - 1) break;
    if (to === 0) continue;
    parts.push(text.slice(at, from));
    at = to;
  }
  // an empty match at the very end gives no empty part
  if (at !== text.length || text === '' || !matches(pattern, text, -1).some(({ from, to }) => from === to && to === text.length))
    parts.push(text.slice(at));
  return parts;
}

/** Sprig's regex functions: RE2, whose time is linear in the text. */
export function regexFunctions({ budget }: FunctionSources): FunctionTable {
  const table = {
    regexMatch: define('string string', (pattern: string, text: string) => compile(pattern).matcher(text).find()),
    regexFind: define('string string', (pattern: string, text: string) => matches(compile(pattern), text, 1)[0]?.groups[0] ?? ''),
    regexFindAll: define('string string int', (pattern: string, text: string, limit: Int) =>
      strings(matches(compile(pattern), text, Number(limit.value)).map(({ groups }) => groups[0] ?? '')),
    ),
    regexReplaceAll: define('string string string', (source: string, text: string, replacement: string) => {
      const pattern = compile(source);
      const names = groupNames(pattern);
      const found = matches(pattern, text, -1);
      budget.grow(found.length * replacement.length);
      return replaced(text, found, (match) => {
        const part = expand(replacement, match, names);
        budget.grow(part.length);
        return part;
      });
    }),
    regexReplaceAllLiteral: define('string string string', (pattern: string, text: string, replacement: string) => {
      const found = matches(compile(pattern), text, -1);
      budget.grow(found.length * replacement.length);
      return replaced(text, found, () => replacement);
    }),
    regexSplit: define('string string int', (pattern: string, text: string, limit: Int) =>
      strings(split(compile(pattern), text, Number(limit.value))),
    ),
  };
  const must = Object.entries(table).map(([name, callee]) => [`mustRegex${name.slice('regex'.length)}`, callee]);
  return {
    ...table,
    ...Object.fromEntries(must),
    // a bad pattern simply does not match
    regexMatch: define('string string', (pattern: string, text: string) => {
      try {
        return compile(pattern).matcher(text).find();
      } catch (error) {
        if (error instanceof FunctionError) return false;
        throw error;
      }
    }),
    regexQuoteMeta: define('string', (text: string) => text.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&')),
  };
}

const groupNames = (pattern: RE2JS): Readonly<Record<string, number>> =>
  Object.assign(Object.create(null) as object, pattern.namedGroups());
