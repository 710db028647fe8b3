import { applyJsonPatch, isObject } from '@slipway/apimachinery';
import type { Fields, HyperConverged } from '../kinds.ts';

/** Annotations with RFC 6902 patches of operands. */
export const JSON_PATCH_ANNOTATIONS = {
  KubeVirt: 'kubevirt.kubevirt.io/jsonpatch',
  CDI: 'containerizeddataimporter.kubevirt.io/jsonpatch',
  NetworkAddonsConfig: 'networkaddonsconfigs.kubevirt.io/jsonpatch',
  SSP: 'ssp.kubevirt.io/jsonpatch',
} as const;

/** Thrown for a jsonpatch annotation that cannot be applied. */
export class InvalidJsonPatchError extends Error {}

/** Applies the patch of an annotation to a spec. */
export function patchedSpec({ metadata }: HyperConverged, operand: keyof typeof JSON_PATCH_ANNOTATIONS, spec: Fields): Fields {
  const name = JSON_PATCH_ANNOTATIONS[operand];
  const annotation = metadata.annotations?.[name];
  if (!annotation) return spec;
  try {
    const operations: unknown = JSON.parse(annotation);
    const isOfSpec = (operation: unknown): boolean => isObject(operation) && String(operation['path']).startsWith('/spec/');
    if (!Array.isArray(operations) || !operations.every(isOfSpec)) throw new Error('can only modify spec fields');
    const result = applyJsonPatch({ spec }, operations);
    return isObject(result) && isObject(result['spec']) ? result['spec'] : spec;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InvalidJsonPatchError(`invalid jsonPatch in the ${name} annotation: ${reason}`, { cause: error });
  }
}

/** Names of the annotations that hold a patch: nobody has tested what comes of it. */
export const unsafeAnnotations = ({ metadata }: HyperConverged): readonly string[] =>
  Object.values(JSON_PATCH_ANNOTATIONS).filter((name) => !['', '[]'].includes(metadata.annotations?.[name]?.trim() ?? ''));
