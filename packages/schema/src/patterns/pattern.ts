import { RE2JS } from 're2js';
import { isLinear } from './linear.ts';
import { parseSimple } from './parse-simple.ts';

/** A regular expression as RE2 understands it; the time of a test is linear in the text. */
export interface Pattern {
  /** The pattern matches somewhere in the text. */
  test(text: string): boolean;
}

/** Bounded: a client can offer any number of patterns without storing one. */
const MAX_COMPILED = 2000;
/** Longer patterns are refused before anything looks at them. */
const MAX_SOURCE = 16_384;
/** The engine of JavaScript keeps its stack in proportion to the text. */
const MAX_BACKTRACKED = 65_536;

const patterns = new Map<string, Pattern>();
const programs = new Map<string, RE2JS>();

/** The pattern ready to use; kept. Throws Error with the words of RE2 for one that is not in its language. */
export function patternOf(source: string): Pattern {
  return remember(patterns, source, compile);
}

/** Text of the first match, if any; matches are those of RE2. Throws as `patternOf`. */
export function findFirst(text: string, source: string): string | undefined {
  const matcher = programOf(source).matcher(text);
  return matcher.find() ? (matcher.group() ?? undefined) : undefined;
}

/** Texts of all matches, or of the first `limit`. Throws as `patternOf`. */
export function findAll(text: string, source: string, limit = Number.POSITIVE_INFINITY): string[] {
  const matcher = programOf(source).matcher(text);
  const found: string[] = [];
  while (found.length < limit && matcher.find()) found.push(matcher.group() ?? '');
  return found;
}

/** Why a pattern is refused, in the words of RE2; undefined for a good one. */
export function patternComplaint(source: string): string | undefined {
  try {
    patternOf(source);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error); // the only failure is that of the pattern
  }
}

function remember<T>(known: Map<string, T>, source: string, make: (source: string) => T): T {
  const found = known.get(source);
  if (found !== undefined) return found;
  const made = make(source);
  if (known.size >= MAX_COMPILED) known.clear();
  known.set(source, made);
  return made;
}

const programOf = (source: string): RE2JS => remember(programs, source, program);

function program(source: string): RE2JS {
  if (source.length > MAX_SOURCE) throw new Error(`pattern exceeds ${MAX_SOURCE} characters`);
  return RE2JS.compile(source);
}

/** The engine of JavaScript is ten times as fast, so it gets what it is proven to do in linear time. */
function compile(source: string): Pattern {
  const simple = source.length > MAX_SOURCE ? undefined : parseSimple(source);
  if (simple === undefined || !isLinear(simple)) {
    const slow = programOf(source);
    return { test: (text) => slow.test(text) };
  }
  const fast = new RegExp(simple.source, 'u');
  return { test: (text) => (text.length <= MAX_BACKTRACKED ? fast.test(text) : programOf(source).test(text)) };
}
