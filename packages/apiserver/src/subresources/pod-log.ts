import { type FieldError, StatusError, badRequest, invalid, invalidValue, isObject, notFound } from '@slipway/apimachinery';
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
    ...numericOptions(query, info.name),
    ...(query.get('sinceTime') && { sinceTime: query.get('sinceTime') }),
  };
  const headers = { 'content-type': 'text/plain' };
  const nodeName = isObject(pod['spec']) ? pod['spec']['nodeName'] : undefined;
  if (typeof nodeName !== 'string' || nodeName === '') return { status: 204, bytes: new Uint8Array() };
  if (server.nodes === undefined)
    throw new StatusError({ code: 503, reason: 'ServiceUnavailable', message: `node ${nodeName} is not connected` });
  const stream = await server.nodes.open(nodeName, { verb: 'pod-log', params }, request.signal);
  return { status: 200, headers, stream };
}

const isTrue = (value: string | null): boolean => value === 'true' || value === '1';

/** Lowest value each number may have. */
const NUMERIC: Readonly<Record<string, number>> = { tailLines: 0, limitBytes: 1, sinceSeconds: 1 };

function numericOptions(query: URLSearchParams, pod: string): Record<string, number> {
  const numbers: Record<string, number> = {};
  const findings: FieldError[] = [];
  for (const [name, min] of Object.entries(NUMERIC)) {
    const text = query.get(name);
    if (text === null || text === '') continue;
    if (!/^-?[0-9]+$/.test(text)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
    const value = Number(text);
    if (value < min) findings.push(invalidValue(name, value, `must be greater than ${min === 0 ? 'or equal to 0' : '0'}`));
    numbers[name] = value;
  }
  if (findings.length > 0) throw invalid({ group: '', kind: 'PodLogOptions' }, pod, findings);
  return numbers;
}
