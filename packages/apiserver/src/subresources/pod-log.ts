import { StatusError, badRequest, isObject, notFound } from '@slipway/apimachinery';
import type { Answer, Call } from '../pipeline/server-context.ts';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { refOf } from '../registry/write-context.ts';
import { containerOf } from './pod-actions.ts';

/** GET `pods/NAME/log`, followed when asked for; the bytes come from the agent of the pod's node. */
export async function handlePodLog(call: Call, definition: ResourceDefinition): Promise<Answer> {
  const { info, request, server } = call;
  const pod = server.registry.get(definition, info.namespace, info.name)?.object;
  if (pod === undefined) throw notFound(refOf(definition), info.name);
  const { query } = request;
  const container = containerOf(pod, query.get('container'));
  const params = {
    namespace: info.namespace,
    pod: info.name,
    podUid: pod.metadata.uid,
    container,
    follow: isTrue(query.get('follow')),
    previous: isTrue(query.get('previous')),
    timestamps: isTrue(query.get('timestamps')),
    ...numeric(query, 'tailLines'),
    ...numeric(query, 'limitBytes'),
    ...numeric(query, 'sinceSeconds'),
    ...(query.get('sinceTime') && { sinceTime: query.get('sinceTime') }),
  };
  const headers = { 'content-type': 'text/plain' };
  const nodeName = isObject(pod['spec']) ? pod['spec']['nodeName'] : undefined;
  if (!nodeName) return { status: 200, headers, text: '' };
  if (server.nodes === undefined)
    throw new StatusError({ code: 503, reason: 'ServiceUnavailable', message: `node ${String(nodeName)} is not connected` });
  const stream = await server.nodes.open(String(nodeName), { verb: 'pod-log', params }, request.signal);
  return { status: 200, headers, stream };
}

const isTrue = (value: string | null): boolean => value === 'true' || value === '1';

function numeric(query: URLSearchParams, name: string): Record<string, number> {
  const text = query.get(name);
  if (text === null || text === '') return {};
  if (!/^[0-9]+$/.test(text)) throw badRequest(`${name}: Invalid value: ${JSON.stringify(text)}: must be a whole number`);
  return { [name]: Number(text) };
}
