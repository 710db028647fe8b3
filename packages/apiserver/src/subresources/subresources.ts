import { badRequest, notFound } from '@slipway/apimachinery';
import { admitSubresource } from '../admission/subresource-admission.ts';
import { decodeValue } from '../pipeline/decode-body.ts';
import { handleResource, methodNotAllowed, resourceNotFound } from '../pipeline/resource-handler.ts';
import type { Answer, Call, VirtualHandler } from '../pipeline/server-context.ts';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { refOf } from '../registry/write-context.ts';
import { handleEviction } from './eviction.ts';
import { handleBinding, nodeOf } from './pod-actions.ts';
import { handlePodLog } from './pod-log.ts';
import { handleScale } from './scale.ts';

/** Subresources that are an ordinary update of the object, with rules of their own in its strategy. */
const PARTIAL_UPDATES: ReadonlySet<string> = new Set(['finalize', 'ephemeralcontainers', 'approval', 'resize']);
const STREAMS: ReadonlySet<string> = new Set(['exec', 'attach', 'portforward', 'proxy']);

/** Answers subresources other than status, and resources that are not stored. Throws StatusError. */
export async function handleSubresource(
  call: Call,
  definition: ResourceDefinition,
  handler: VirtualHandler | undefined,
): Promise<Answer> {
  const { info } = call;
  if (handler !== undefined) {
    if (info.verb !== 'create') throw methodNotAllowed();
    return handler(call, await admittedBody(call, definition, decodeValue(call.request)));
  }
  if (info.subresource === 'scale' && definition.subresources.scale !== undefined) {
    return handleScale(call, definition, decodeValue(call.request));
  }
  if (definition.custom && (info.subresource === 'status' || info.subresource === 'scale')) {
    throw notFound(refOf(definition), info.name);
  }
  if (!definition.subresources.custom?.some(({ name }) => name === info.subresource)) throw resourceNotFound();
  if (PARTIAL_UPDATES.has(info.subresource)) return handleResource(call, definition);
  if (definition.group === '' && definition.plural === 'pods') return handlePodSubresource(call, definition);
  throw resourceNotFound();
}

const TOKEN_REQUEST = { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' };

/** Tokens are subject to admission like other writes; reviews, which are questions, are not. */
async function admittedBody(call: Call, definition: ResourceDefinition, body: unknown): Promise<unknown> {
  const { subresource } = call.info;
  if (subresource !== 'token') return body;
  return admitSubresource(call, definition, { operation: 'CREATE', subresource, kind: TOKEN_REQUEST, body });
}

async function handlePodSubresource(call: Call, definition: ResourceDefinition): Promise<Answer> {
  const { subresource, verb, name, namespace } = call.info;
  if (STREAMS.has(subresource)) {
    const pod = call.server.registry.get(definition, namespace, name)?.object;
    if (pod === undefined) throw notFound(refOf(definition), name);
    nodeOf(pod);
    if (verb !== 'get' && verb !== 'create') throw methodNotAllowed();
    if (subresource === 'proxy') throw methodNotAllowed();
    throw badRequest('Upgrade request required');
  }
  if (subresource === 'log') {
    if (verb !== 'get') throw methodNotAllowed();
    return handlePodLog(call, definition);
  }
  if (verb !== 'create') throw methodNotAllowed();
  const body = decodeValue(call.request);
  if (subresource === 'binding') return handleBinding(call, definition, body);
  if (subresource === 'eviction') return handleEviction(call, definition, body);
  throw resourceNotFound();
}
