/** Bounded: a client can offer any number of patterns without storing one. */
const MAX_COMPILED = 2000;
const compiled = new Map<string, RegExp>();

/** The regular expression of a schema pattern (RE2 syntax as far as JavaScript has it). Throws SyntaxError. */
export function patternOf(source: string): RegExp {
  const known = compiled.get(source);
  if (known !== undefined) return known;
  const inline = /^\(\?([ims]+)\)/.exec(source);
  const body = (inline === null ? source : source.slice(inline[0].length)).replaceAll('\\z', '$').replaceAll('\\A', '^');
  const pattern = compile(body.replaceAll('(?P<', '(?<'), inline?.[1] ?? '');
  if (compiled.size >= MAX_COMPILED) compiled.clear();
  compiled.set(source, pattern);
  return pattern;
}

function compile(body: string, flags: string): RegExp {
  try {
    return new RegExp(body, `${flags}u`);
  } catch {
    return new RegExp(body, flags); // unicode mode refuses harmless escapes such as \-
  }
}
