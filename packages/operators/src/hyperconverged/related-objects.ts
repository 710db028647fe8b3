import { apiVersionOf, type KubeObject } from '@slipway/apimachinery';
import type { RelatedObject } from '../kinds.ts';
import type { Operand } from './operands.ts';

/** Entry of `status.relatedObjects`. */
export function relatedObject({ kind }: Pick<Operand, 'kind'>, { metadata }: KubeObject): RelatedObject {
  const { name = '', namespace, uid, resourceVersion } = metadata;
  return {
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
    name,
    ...(namespace && { namespace }),
    ...(uid && { uid }),
    ...(resourceVersion && { resourceVersion }),
  };
}
