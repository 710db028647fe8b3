const escapeChar = (char: string): string => char.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&');

/** Many stars in one pattern would make a test slow. */
const MAX_STARS = 12;

/**
 * A glob as a test: `*` and `?` stop at a slash, `**` does not, `{a,b}` are alternatives. Undefined for a bad pattern.
 */
export function globTest(pattern: string): ((path: string) => boolean) | undefined {
  const state: GlobState = { source: '', braces: 0, stars: 0 };
  for (let at = 0; at < pattern.length; ) {
    const taken = translate(pattern, at, state);
    if (taken === 0) return undefined;
    at += taken;
  }
  if (state.braces > 0 || state.stars > MAX_STARS) return undefined;
  try {
    const test = new RegExp(`^(?:${state.source})$`, 's');
    return (path) => test.test(path);
  } catch {
    return undefined;
  }
}

interface GlobState {
  source: string;
  braces: number;
  stars: number;
}

/** Translates what stands at this place; gives how many characters that was, 0 for a bad pattern. */
function translate(pattern: string, at: number, state: GlobState): number {
  const char = pattern.charAt(at);
  switch (char) {
    case '*': {
      const run = /^\*+/.exec(pattern.slice(at))?.[0].length ?? 1;
      state.stars++;
      state.source += run > 1 ? '.*' : '[^/]*';
      return run;
    }
    case '?':
      state.source += '[^/]';
      return 1;
    case '[':
      return characterClass(pattern, at, state);
    case '\\':
      state.source += escapeChar(pattern.charAt(at + 1) || char);
      return 2;
    default:
      state.source += brace(char, state) ?? escapeChar(char);
      return 1;
  }
}

function brace(char: string, state: GlobState): string | undefined {
  if (char === '{') {
    state.braces++;
    return '(?:';
  }
  if (state.braces === 0) return undefined;
  if (char === ',') return '|';
  if (char !== '}') return undefined;
  state.braces--;
  return ')';
}

function characterClass(pattern: string, at: number, state: GlobState): number {
  const end = pattern.indexOf(']', at + 2);
  if (end === -1) return 0;
  const set = pattern.slice(at + 1, end);
  state.source += `[${/^[!^]/.test(set) ? '^' : ''}${set.replace(/^[!^]/, '').replace(/[\\[\]^]/g, '\\$&')}]`;
  return end - at + 1;
}
