import {
  StatusError,
  type UnstructuredObject,
  badRequest,
  cloneJson,
  conflict,
  formatTime,
  invalid,
  isObject,
  requiredValue,
} from '@slipway/apimachinery';
import { admitSubresource, alreadyAdmitted } from '../admission/subresource-admission.ts';
import type { Answer, Call } from '../pipeline/server-context.ts';
import { writeContext } from '../pipeline/write-options.ts';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { updateObject } from '../registry/update-object.ts';
import { withCondition } from './pod-condition.ts';

const success = { status: 201, value: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 } };

/** POST `pods/NAME/binding`: gives the pod to a node, once. */
export async function handleBinding(call: Call, definition: ResourceDefinition, body: unknown): Promise<Answer> {
  const { name } = call.info;
  const target = isObject(body) ? body['target'] : undefined;
  const nodeName = isObject(target) && (!target['kind'] || target['kind'] === 'Node') ? target['name'] : undefined;
  if (typeof nodeName !== 'string' || nodeName === '') {
    throw invalid({ group: '', kind: 'Binding' }, name, [requiredValue('target.name')]);
  }
  const admitted = await admitSubresource(call, definition, {
    operation: 'CREATE',
    subresource: 'binding',
    kind: { group: '', version: 'v1', kind: 'Binding' },
    body,
  });
  const { annotations } = admitted.metadata;
  const context = { ...writeContext(call, definition, { subresource: 'binding' }), admission: alreadyAdmitted };
  await updateObject(context, name, {
    isReplacement: false,
    next(old) {
      const pod = cloneJson(old);
      const spec = (isObject(pod['spec']) ? pod['spec'] : {}) as Record<string, unknown>;
      if (old.metadata.deletionTimestamp !== undefined)
        throw bindingConflict(name, `pod ${name} is being deleted, cannot be assigned to a host`);
      if (spec['nodeName'])
        throw bindingConflict(name, `pod ${name} is already assigned to node ${JSON.stringify(spec['nodeName'])}`);
      pod['spec'] = { ...spec, nodeName };
      if (isObject(annotations))
        pod.metadata.annotations = { ...pod.metadata.annotations, ...(annotations as Record<string, string>) }; // validated below
      withCondition(pod, {
        type: 'PodScheduled',
        status: 'True',
        lastProbeTime: null,
        lastTransitionTime: formatTime(context.nowMs()),
      });
      return pod;
    },
  });
  return success;
}

/** POST `bindings`, the older form: the body names the pod. */
export async function createBinding(call: Call, body: unknown): Promise<Answer> {
  const definition = call.server.registry.find('', 'v1', 'pods');
  const name = isObject(body) && isObject(body['metadata']) ? body['metadata']['name'] : undefined;
  if (definition === undefined || typeof name !== 'string' || name === '') throw badRequest('name is required');
  const info = { ...call.info, resource: 'pods', name, subresource: 'binding' };
  return handleBinding({ ...call, info }, definition, body);
}

const bindingConflict = (name: string, message: string): StatusError =>
  conflict({ resource: 'pods/binding', group: '' }, name, message);

/** The containers of a pod by name, and the one a request means. Throws 400 when it is not clear. */
export function containerOf(pod: UnstructuredObject, wanted: string | null): string {
  const spec = isObject(pod['spec']) ? pod['spec'] : {};
  const names = (list: unknown): string[] =>
    Array.isArray(list) ? list.map((item) => String((item as { name?: unknown }).name)) : [];
  const containers = names(spec['containers']);
  const all = [...containers, ...names(spec['initContainers']), ...names(spec['ephemeralContainers'])];
  const { name } = pod.metadata;
  if (!wanted) {
    if (containers.length === 1 && containers[0] !== undefined) return containers[0];
    const choice =
      names(spec['initContainers']).length > 0
        ? ` or one of the init containers: [${names(spec['initContainers']).join(' ')}]`
        : '';
    throw badRequest(`a container name must be specified for pod ${name}, choose one of: [${containers.join(' ')}]${choice}`);
  }
  if (!all.includes(wanted)) throw badRequest(`container ${wanted} is not valid for pod ${name}`);
  return wanted;
}

/** Node a pod runs on. Throws 400 when it has none. */
export function nodeOf(pod: UnstructuredObject): string {
  const nodeName = isObject(pod['spec']) ? pod['spec']['nodeName'] : undefined;
  if (typeof nodeName !== 'string' || nodeName === '') throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`);
  return nodeName;
}
