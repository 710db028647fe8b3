import { tryParseQuantity } from '@slipway/apimachinery';
import { CommandFailure } from '../io.ts';

/** The values of one flag such as `src:my-pvc,bootorder:1`. */
export type Params<K extends string> = Readonly<Partial<Record<K, string>>>;

export const flagFailure = (flag: string, reason: string): CommandFailure =>
  new CommandFailure(`failed to parse "--${flag}" flag: ${reason}`);

/**
 * Reads `key:value,key:value`; a value may hold colons, and commas stand between pairs alone.
 * Throws CommandFailure for anything else and for keys that are not `known`.
 */
export function parseParams<K extends string>(flag: string, text: string, known: readonly K[]): Params<K> {
  if (text === '') throw flagFailure(flag, 'params may not be empty');
  const params: Partial<Record<K, string>> = {};
  const unknown: string[] = [];
  for (const pair of text.split(',')) {
    const colon = pair.indexOf(':');
    if (colon < 0) throw flagFailure(flag, `params need to have at least one colon: ${pair}`);
    const key = known.find((name) => name === pair.slice(0, colon));
    if (key === undefined) unknown.push(pair);
    else params[key] = pair.slice(colon + 1);
  }
  if (unknown.length > 0) throw flagFailure(flag, `unknown param(s): ${unknown.join(', ')}`);
  return params;
}

/** The value of a parameter that must be there. */
export function required<K extends string>(flag: string, params: Params<K>, key: K): string {
  const value = params[key];
  if (value === undefined || value === '') throw flagFailure(flag, `${key} must be specified`);
  return value;
}

/** `name` or `prefix/name`. */
export function splitPrefixedName(flag: string, text: string): { readonly prefix: string | undefined; readonly name: string } {
  const parts = text.split('/');
  const [first = '', second] = parts;
  if (parts.length > 2 || parts.includes(''))
    throw flagFailure(flag, `"${text}" is no name: write name or prefix/name, without empty parts`);
  return second === undefined ? { prefix: undefined, name: first } : { prefix: first, name: second };
}

/** A positive whole number, for boot orders. */
export function parseBootOrder(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d*$/.test(text)) throw flagFailure(flag, `bootorder must be a whole number greater than 0, not "${text}"`);
  return Number(text);
}

/** A size such as `512Mi`; throws with the flag's name for anything else. */
export function checkQuantity(flag: string, text: string): string {
  if (tryParseQuantity(text) === undefined) throw flagFailure(flag, `"${text}" is no quantity: write for example 512Mi or 10Gi`);
  return text;
}
