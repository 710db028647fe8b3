import type { FieldError, FieldErrorType } from './errors.ts';

/** How a value reads inside an error message: strings quoted, composite values in the API server's Go notation. */
export function showValue(value: unknown): string {
  if (value === undefined || value === null) return 'null';
  if (typeof value !== 'object') return JSON.stringify(value);
  if (!Array.isArray(value)) return `map[string]interface {}${goLiteral(value as Record<string, unknown>)}`; // JSON object
  const element = value.every((item) => typeof item === 'string') ? 'string' : 'map[string]interface {}';
  return `[]${element}{${value.map((item: unknown) => (typeof item === 'string' ? JSON.stringify(item) : showValue(item))).join(', ')}}`;
}

function goLiteral(object: Record<string, unknown>): string {
  const fields = Object.keys(object).sort();
  return `{${fields.map((field) => `${JSON.stringify(field)}:${showValue(object[field])}`).join(', ')}}`;
}

const error = (type: FieldErrorType, path: string, detail: string): FieldError => ({ type, path, detail });
const withReason = (text: string, reason: string): string => (reason === '' ? text : `${text}: ${reason}`);

/** `Invalid value: VALUE: REASON`. */
export function invalidValue(path: string, value: unknown, reason = ''): FieldError {
  return error('Invalid', path, withReason(`Invalid value: ${showValue(value)}`, reason));
}

/** Like `invalidValue`, with the cause reason of a wrong JSON type. */
export function invalidType(path: string, shown: string, reason: string): FieldError {
  return error('TypeInvalid', path, withReason(`Invalid value: ${shown}`, reason));
}

export function requiredValue(path: string, reason = ''): FieldError {
  return error('Required', path, withReason('Required value', reason));
}

export function duplicateValue(path: string, value: unknown): FieldError {
  return error('Duplicate', path, `Duplicate value: ${showValue(value)}`);
}

export function forbiddenField(path: string, reason: string): FieldError {
  return error('Forbidden', path, withReason('Forbidden', reason));
}

export function unsupportedValue(path: string, value: unknown, supported: readonly string[]): FieldError {
  const list = supported.map((item) => JSON.stringify(item)).join(', ');
  return error('NotSupported', path, `Unsupported value: ${showValue(value)}${list === '' ? '' : `: supported values: ${list}`}`);
}

export function tooLong(path: string, maxBytes: number): FieldError {
  return error('TooLong', path, `Too long: must have at most ${maxBytes} bytes`);
}

export function tooMany(path: string, actual: number, max: number): FieldError {
  return error('TooMany', path, `Too many: ${actual}: must have at most ${max} items`);
}

export function fieldNotFound(path: string, value: unknown): FieldError {
  return error('NotFound', path, `Not found: ${showValue(value)}`);
}
