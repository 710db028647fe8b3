import {
  type UnstructuredObject,
  apiVersionOf,
  badRequest,
  cloneJson,
  conflict,
  invalid,
  isObject,
  requiredValue,
} from '@slipway/apimachinery';
import { applied } from '../registry/managed-fields.ts';
import { type UpdateResult, checkIdentity, updateObject } from '../registry/update-object.ts';
import { OPTIMISTIC_LOCK_MESSAGE, type WriteContext, refOf } from '../registry/write-context.ts';
import { asObject, parseText } from './decode-body.ts';
import type { Call } from './server-context.ts';

/** Server-side apply: creates the object when it is missing. Throws StatusError. */
export async function handleApply(call: Call, context: WriteContext, name: string): Promise<UpdateResult> {
  const { query } = call.request;
  if (!query.get('fieldManager')) {
    throw invalid({ group: 'meta.k8s.io', kind: 'PatchOptions' }, '', [
      requiredValue('fieldManager', 'is required for apply patch'),
    ]);
  }
  const config = decodeConfiguration(call, context);
  checkIdentity(context, config, name);
  config.metadata.name = name;
  const force = query.get('force') === 'true' || query.get('force') === '1';
  const { resourceVersion } = config.metadata;
  const next = (old: UnstructuredObject): UnstructuredObject => {
    if (resourceVersion && resourceVersion !== old.metadata.resourceVersion) {
      throw conflict(refOf(context.definition), name, OPTIMISTIC_LOCK_MESSAGE);
    }
    return cloneJson(applied(context, old, config, force));
  };
  const creates = context.subresource === '';
  return updateObject(context, name, {
    next,
    isReplacement: false,
    isApplied: true,
    ...(creates && { createWhenMissing: () => cloneJson(applied(context, undefined, config, force)) }),
  });
}

function decodeConfiguration({ request }: Call, { definition }: WriteContext): UnstructuredObject {
  const { body } = request;
  const value: unknown =
    body.type === 'value'
      ? cloneJson(body.value)
      : body.type === 'bytes'
        ? parseText(body.bytes.toString('utf8'), 'yaml')
        : undefined;
  if (!isObject(value)) throw badRequest('error decoding YAML: the applied configuration must be an object');
  const expected = apiVersionOf(definition);
  const given = value['apiVersion'];
  if (given !== expected) {
    const shown = typeof given === 'string' ? given : '';
    throw badRequest(`Incorrect version specified in apply patch. Specified patch version: ${shown}, expected: ${expected}`);
  }
  return asObject(value, definition);
}
