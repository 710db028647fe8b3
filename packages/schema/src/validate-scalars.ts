import { type StructuralSchema, invalidType, invalidValue } from '@slipway/apimachinery';
import { isFormatValid } from './formats.ts';
import { renderPath } from './path.ts';
import { patternOf } from './patterns/pattern.ts';
import type { Walk } from './validate.ts';

function complain(walk: Walk, value: unknown, rule: string): void {
  const path = renderPath(walk.stack);
  walk.errors.push(invalidValue(path, value, `${path} in body should ${rule}`));
}

/** Length, pattern and format. Lengths count code points, as Go's runes do. */
export function checkString(value: string, schema: StructuralSchema, walk: Walk): void {
  const { minLength, maxLength, pattern, format } = schema;
  if (maxLength !== undefined && value.length > maxLength && runeCount(value) > maxLength) {
    walk.errors.push({ type: 'TooLong', path: renderPath(walk.stack), detail: `Too long: may not be longer than ${maxLength}` });
  }
  if (minLength !== undefined && runeCount(value) < minLength) {
    complain(walk, value, `be at least ${minLength} chars long`);
  }
  if (pattern !== undefined && !patternOf(pattern).test(value)) complain(walk, value, `match '${pattern}'`);
  if (format !== undefined && !isFormatValid(format, value)) {
    const path = renderPath(walk.stack);
    const shown = JSON.stringify(value);
    walk.errors.push(invalidType(path, shown, `${path} in body must be of type ${format}: ${shown}`));
  }
}

/** Code points. */
function runeCount(text: string): number {
  let count = 0;
  for (const _rune of text) count++;
  return count;
}

export function checkNumber(value: number, schema: StructuralSchema, walk: Walk): void {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema;
  if (maximum !== undefined && (exclusiveMaximum ? value >= maximum : value > maximum)) {
    complain(walk, value, `be less than ${exclusiveMaximum ? '' : 'or equal to '}${maximum}`);
  }
  if (minimum !== undefined && (exclusiveMinimum ? value <= minimum : value < minimum)) {
    complain(walk, value, `be greater than ${exclusiveMinimum ? '' : 'or equal to '}${minimum}`);
  }
  if (multipleOf !== undefined && !isMultiple(value, multipleOf)) complain(walk, value, `be a multiple of ${multipleOf}`);
}

function isMultiple(value: number, factor: number): boolean {
  const ratio = value / factor;
  return Math.abs(ratio - Math.round(ratio)) < 1e-9;
}
