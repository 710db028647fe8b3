import {
  StatusError,
  type UnstructuredObject,
  applyJsonPatch,
  applyMergePatch,
  badRequest,
  cloneJson,
  isObject,
} from '@slipway/apimachinery';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { asObject, decodeValue, mediaType } from './decode-body.ts';
import type { Call } from './server-context.ts';

const JSON_PATCH = 'application/json-patch+json';
const MERGE_PATCH = 'application/merge-patch+json';
export const STRATEGIC_PATCH = 'application/strategic-merge-patch+json';
export const APPLY_PATCH = 'application/apply-patch+yaml';

const unsupportedPatch = (): StatusError =>
  new StatusError({ code: 415, reason: 'UnsupportedMediaType', message: '415: Unsupported Media Type', details: {} });

/** Media type of a PATCH. Throws 415. */
export function patchType(call: Call, definition: ResourceDefinition): string {
  const type = mediaType(call.request);
  const known = definition.custom
    ? [JSON_PATCH, MERGE_PATCH, APPLY_PATCH]
    : [JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH];
  if (!known.includes(type)) throw unsupportedPatch();
  return type;
}

/** A function from the stored object to the patched one. Throws StatusError for a patch that does not fit. */
export function patcher(
  call: Call,
  definition: ResourceDefinition,
  strategic: (old: UnstructuredObject, patch: Record<string, unknown>, definition: ResourceDefinition) => unknown,
): (old: UnstructuredObject) => UnstructuredObject {
  const type = patchType(call, definition);
  const patch = decodeValue(call.request);
  if (type !== JSON_PATCH && !isObject(patch)) throw badRequest('error decoding patch: the patch must be an object');
  return (old) => {
    const patched = applyPatch(type, old, patch, (target, change) => strategic(target, change, definition));
    if (!isObject(patched)) throw badRequest('the patched document is not an object');
    return asObject(cloneJson(patched), definition);
  };
}

function applyPatch(
  type: string,
  old: UnstructuredObject,
  patch: unknown,
  strategic: (old: UnstructuredObject, patch: Record<string, unknown>) => unknown,
): unknown {
  if (type === JSON_PATCH) return applyJsonPatch(old, patch);
  if (type === MERGE_PATCH) return applyMergePatch(old, patch);
  return strategic(old, patch as Record<string, unknown>); // the caller checked that it is an object
}
