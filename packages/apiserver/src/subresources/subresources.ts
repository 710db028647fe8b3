import { decodeValue } from '../pipeline/decode-body.ts';
import { methodNotAllowed, resourceNotFound } from '../pipeline/resource-handler.ts';
import type { Answer, Call, VirtualHandler } from '../pipeline/server-context.ts';
import type { ResourceDefinition } from '../registry/resource-definition.ts';

/** Answers subresources other than status, and resources that are not stored. Throws StatusError. */
export async function handleSubresource(
  call: Call,
  _definition: ResourceDefinition,
  handler: VirtualHandler | undefined,
): Promise<Answer> {
  if (handler === undefined) throw resourceNotFound();
  if (call.info.verb === 'list' || call.info.verb === 'watch') throw methodNotAllowed();
  return handler(call, decodeValue(call.request));
}
