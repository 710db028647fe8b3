import { badRequest, isObject, type JsonObject } from '@slipway/apimachinery';

/** The request's options; an empty body means none. Throws 400 for anything that is not an object. */
export function optionsOf(body: unknown): JsonObject {
  if (body === undefined || body === null || body === '') return {};
  if (!isObject(body))
    throw badRequest(`Can not unmarshal Request body to struct, error: expected an object, got ${typeof body}`);
  return body;
}

export function isDryRun(options: JsonObject): boolean {
  const { dryRun } = options;
  if (dryRun === undefined || dryRun === null) return false;
  if (!Array.isArray(dryRun) || dryRun.some((mode) => mode !== 'All'))
    throw badRequest('Can not unmarshal Request body to struct, error: dryRun must be ["All"]');
  return dryRun.length > 0;
}

/** An optional whole number; throws 400 for anything else. */
export function integerOption(options: JsonObject, name: string): number | undefined {
  const value = options[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value))
    throw badRequest(`Can not unmarshal Request body to struct, error: ${name} must be an integer`);
  return value;
}
