import {
  type UnstructuredObject,
  applyJsonPatch,
  applyMergePatch,
  badRequest,
  cloneJson,
  formatLabelSelector,
  invalid,
  invalidValue,
  isObject,
  notFound,
  selectorOf,
  type LabelSelectorObject,
} from '@slipway/apimachinery';
import { ageColumn, column, nameColumn } from '../builtin/define.ts';
import { admitSubresource, alreadyAdmitted } from '../admission/subresource-admission.ts';
import { mediaType } from '../pipeline/decode-body.ts';
import { type Accepted, negotiate, notAcceptable } from '../pipeline/negotiate.ts';
import { methodNotAllowed } from '../pipeline/resource-handler.ts';
import type { Answer, Call } from '../pipeline/server-context.ts';
import { tableOptions, withFormat } from '../pipeline/shape.ts';
import { writeContext } from '../pipeline/write-options.ts';
import type { ResourceDefinition, ScalePaths } from '../registry/resource-definition.ts';
import { updateObject } from '../registry/update-object.ts';
import { tableOf } from '../table/table.ts';
import { refOf } from '../registry/write-context.ts';

const BUILT_IN_PATHS: ScalePaths = {
  specReplicasPath: '.spec.replicas',
  statusReplicasPath: '.status.replicas',
  labelSelectorPath: '.spec.selector',
};

const countOf = (part: unknown): unknown => (isObject(part) ? (part['replicas'] ?? 0) : 0);

const SCALE_COLUMNS = [
  nameColumn,
  column('Desired', ({ spec }) => countOf(spec), { type: 'integer' }),
  column('Available', ({ status }) => countOf(status), { type: 'integer' }),
  ageColumn,
];

const segments = (path: string): string[] => path.split('.').filter((part) => part !== '');

function read(object: unknown, path: string): unknown {
  return segments(path).reduce<unknown>((value, part) => (isObject(value) ? value[part] : undefined), object);
}

function write(object: Record<string, unknown>, path: string, value: unknown): void {
  const parts = segments(path);
  const last = parts.pop() ?? '';
  let target = object;
  for (const part of parts) {
    if (!isObject(target[part])) target[part] = {};
    target = target[part] as Record<string, unknown>; // just made sure
  }
  target[last] = value;
}

/** GET, PUT and PATCH of the `autoscaling/v1` Scale of an object. Throws StatusError. */
export async function handleScale(call: Call, definition: ResourceDefinition, body: unknown): Promise<Answer> {
  const paths = definition.subresources.scale === true ? BUILT_IN_PATHS : definition.subresources.scale;
  if (paths === undefined) throw notFound(refOf(definition), call.info.name);
  const { verb, name, namespace } = call.info;
  const stored = call.server.registry.latest(definition, namespace, name);
  if (stored === undefined) {
    const ref = definition.custom ? refOf(definition) : { resource: `${definition.plural}/scale`, group: definition.group };
    throw notFound(verb === 'get' || !definition.custom ? ref : refOf(definition), name);
  }
  const accepted = negotiate(call.request.headers['accept'], { isCustom: false, hasProtobuf: () => true });
  const answer = (object: UnstructuredObject): Answer => scaleAnswer(call, scaleOf(object, paths), accepted);
  if (verb === 'get') return answer(stored.object);
  if (verb !== 'update' && verb !== 'patch') throw methodNotAllowed();
  const context = { ...writeContext(call, definition, { subresource: 'scale' }), admission: alreadyAdmitted };
  const { stored: next } = await updateObject(context, name, {
    isReplacement: false,
    async next(old) {
      const current = scaleOf(old, paths);
      const desired = desiredScale(call, current, body);
      const kind = { group: 'autoscaling', version: 'v1', kind: 'Scale' };
      const asked = { operation: 'UPDATE', subresource: 'scale', kind, body: desired, oldBody: current } as const;
      const wanted = await admitSubresource(call, definition, asked);
      const changed = cloneJson(old);
      write(changed, paths.specReplicasPath, replicasOf(wanted, name));
      const version = isObject(wanted['metadata']) ? wanted['metadata']['resourceVersion'] : undefined;
      if (typeof version === 'string' && version !== '') changed.metadata.resourceVersion = version;
      else delete changed.metadata.resourceVersion;
      return changed;
    },
  });
  return answer(next.object);
}

function scaleAnswer(call: Call, scale: UnstructuredObject, accepted: Accepted): Answer {
  if (accepted.as === undefined) return withFormat({ status: 200, value: scale }, accepted);
  if (accepted.as !== 'Table') throw notAcceptable(['application/json', 'application/yaml']);
  const { resourceVersion = '' } = scale.metadata;
  const options = { ...tableOptions(call, accepted), resourceVersion };
  return withFormat({ status: 200, value: tableOf({ columns: SCALE_COLUMNS }, [{ object: scale }], options) }, accepted);
}

function desiredScale(call: Call, current: UnstructuredObject, body: unknown): Record<string, unknown> {
  if (call.info.verb === 'update') {
    if (!isObject(body)) throw badRequest('the body of the request must be a Scale');
    return body;
  }
  const patched =
    mediaType(call.request) === 'application/json-patch+json' ? applyJsonPatch(current, body) : applyMergePatch(current, body);
  if (!isObject(patched)) throw badRequest('the patched Scale is not an object');
  return patched;
}

function replicasOf(scale: Record<string, unknown>, name: string): number {
  const replicas = isObject(scale['spec']) ? (scale['spec']['replicas'] ?? 0) : 0;
  if (typeof replicas !== 'number' || !Number.isInteger(replicas) || replicas < 0) {
    throw invalid({ group: 'autoscaling', kind: 'Scale' }, name, [
      invalidValue('spec.replicas', replicas, 'must be greater than or equal to 0'),
    ]);
  }
  return replicas;
}

function scaleOf(object: UnstructuredObject, paths: ScalePaths): UnstructuredObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const replicas = Number(read(object, paths.specReplicasPath) ?? 0);
  const selector = paths.labelSelectorPath === undefined ? undefined : selectorText(read(object, paths.labelSelectorPath));
  const status = Number(read(object, paths.statusReplicasPath) ?? 0);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: {
      ...(name && { name }),
      ...(namespace && { namespace }),
      ...(uid && { uid }),
      ...(resourceVersion && { resourceVersion }),
      ...(creationTimestamp && { creationTimestamp }),
    },
    spec: replicas === 0 ? {} : { replicas },
    status: { replicas: status, ...(selector && { selector }) },
  };
}

function selectorText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!isObject(value)) return undefined;
  const isFull = 'matchLabels' in value || 'matchExpressions' in value;
  const { matchLabels = {}, matchExpressions = [] } = (isFull ? value : { matchLabels: value }) as LabelSelectorObject; // validated on write
  const equalities = Object.entries(matchLabels).map(([key, label]) => `${key}=${label}`);
  const expressions = selectorOf({ matchExpressions }) ?? [];
  return [...equalities, ...(expressions.length > 0 ? [formatLabelSelector(expressions)] : [])].join(',');
}
