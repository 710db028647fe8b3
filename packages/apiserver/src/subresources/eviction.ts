import {
  StatusError,
  type UnstructuredObject,
  badRequest,
  cloneJson,
  conflict,
  formatTime,
  isObject,
  notFound,
} from '@slipway/apimachinery';
import type { AdmissionChain } from '../admission/admission-chain.ts';
import type { Answer, Call } from '../pipeline/server-context.ts';
import { deleteOptions, writeContext } from '../pipeline/write-options.ts';
import { admissionRequest } from '../registry/create-object.ts';
import { type DeleteRequestOptions, deleteObject } from '../registry/delete-object.ts';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { updateObject } from '../registry/update-object.ts';
import { type WriteContext, modifiedConflict, refOf } from '../registry/write-context.ts';
import { grantEviction, planEviction } from './eviction-budget.ts';
import { withCondition } from './pod-condition.ts';

/** The pod may change while a budget is asked; then everything is looked at again. */
const MAX_ATTEMPTS = 20;
const SUCCESS = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 };

/** Changes that the server makes on its own account were admitted with the eviction. */
const UNASKED: AdmissionChain = {
  mutate: async ({ object }) => object,
  validate: async () => undefined,
};

/** POST `pods/NAME/eviction`: deletes the pod if its disruption budget, whose room shrinks by it, agrees. */
export async function handleEviction(call: Call, definition: ResourceDefinition, body: unknown): Promise<Answer> {
  const { name } = call.info;
  const eviction = evictionOf(body, name);
  const { options, dryRun } = deleteOptions(eviction['deleteOptions'], call.request.query);
  const context = writeContext(call, definition, { dryRun, subresource: 'eviction' });
  if (call.server.registry.latest(definition, context.namespace, name) === undefined) throw notFound(refOf(definition), name);
  await admitEviction(context, name, eviction);
  for (let attempt = 1; ; attempt += 1) {
    try {
      await evictOnce(call, context, options);
      return { status: 201, value: SUCCESS };
    } catch (error) {
      if (!(error instanceof PodChanged) || attempt === MAX_ATTEMPTS) throw error instanceof PodChanged ? error.refusal : error;
    }
  }
}

/** The pod is no longer what was decided about. */
class PodChanged extends Error {
  readonly refusal: StatusError;

  constructor(refusal: StatusError) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

function evictionOf(body: unknown, name: string): Record<string, unknown> {
  const eviction = isObject(body) ? body : {};
  const named = isObject(eviction['metadata']) ? eviction['metadata']['name'] : undefined;
  if (named !== undefined && named !== '' && named !== name)
    throw badRequest('name in URL does not match name in Eviction object');
  return eviction;
}

/** Lets webhooks and handlers for `pods/eviction` refuse, for example to move the guest of a launcher pod instead. */
async function admitEviction(context: WriteContext, name: string, eviction: Record<string, unknown>): Promise<void> {
  const { namespace } = context;
  const metadata = { ...(isObject(eviction['metadata']) && eviction['metadata']), name, namespace };
  const object = { apiVersion: 'policy/v1', kind: 'Eviction', ...eviction, metadata } as UnstructuredObject; // completed here
  const objectKind = { group: 'policy', version: 'v1', kind: 'Eviction' };
  const request = { ...admissionRequest(context, 'CREATE', name, { object }), objectKind };
  const admitted = await context.admission.mutate(request, context.warn, (changed) => changed);
  await context.admission.validate({ ...request, ...(admitted && { object: admitted }) }, context.warn);
}

async function evictOnce(call: Call, context: WriteContext, options: DeleteRequestOptions): Promise<void> {
  const { registry } = call.server;
  const { definition, namespace } = context;
  const { name } = call.info;
  const pod = registry.latest(definition, namespace, name)?.object;
  if (pod === undefined) throw notFound(refOf(definition), name);
  checkPreconditions(pod, options);
  const plan = planEviction(pod, registry.lookupAll('policy', 'poddisruptionbudgets', namespace));
  if (plan.type === 'ask') await askBudget(call, context, plan.budget.metadata.name ?? '', name);
  const wanted = options.preconditions ?? {};
  const isFixed = plan.type === 'delete-as-is' || wanted.resourceVersion !== undefined;
  try {
    const resourceVersion = await markPod(context, pod, isFixed);
    const preconditions = { ...wanted, ...(isFixed && resourceVersion !== undefined && { resourceVersion }) };
    await deleteObject({ ...context, subresource: '' }, name, { ...options, preconditions });
  } catch (error) {
    const isLost = isFixed && wanted.resourceVersion === undefined && error instanceof StatusError && error.code === 409;
    throw isLost ? new PodChanged(error) : error;
  }
}

/** Says in the pod's status why it goes. The version that it has then; it is not changed in a dry run. */
async function markPod(context: WriteContext, pod: UnstructuredObject, isFixed: boolean): Promise<string | undefined> {
  const { name = '', resourceVersion } = pod.metadata;
  const asSystem: WriteContext = { ...context, subresource: 'status', admission: UNASKED };
  const { stored } = await updateObject(asSystem, name, {
    isReplacement: false,
    next(old) {
      if (isFixed && old.metadata.resourceVersion !== resourceVersion) throw modifiedConflict(context.definition, name);
      const next = cloneJson(old);
      withCondition(next, {
        type: 'DisruptionTarget',
        status: 'True',
        lastProbeTime: null,
        lastTransitionTime: formatTime(context.nowMs()),
        reason: 'EvictionByEvictionAPI',
        message: 'Eviction API: evicting',
      });
      return next;
    },
  });
  return context.dryRun ? resourceVersion : String(stored.revision);
}

function checkPreconditions({ metadata }: UnstructuredObject, { preconditions }: DeleteRequestOptions): void {
  const { name = '' } = metadata;
  const refuse = (what: string, wanted: string, actual: string | undefined): StatusError =>
    conflict(
      { resource: 'pods', group: '' },
      name,
      `the ${what} in the precondition (${wanted}) does not match the ${what} in record (${actual})`,
    );
  const { uid, resourceVersion } = preconditions ?? {};
  if (uid && uid !== metadata.uid) throw refuse('UID', uid, metadata.uid);
  if (resourceVersion && resourceVersion !== metadata.resourceVersion)
    throw refuse('ResourceVersion', resourceVersion, metadata.resourceVersion);
}

/** Takes one from the budget's room: read, decided and written as one step against concurrent evictions. */
async function askBudget({ server }: Call, context: WriteContext, budgetName: string, podName: string): Promise<void> {
  const definition = server.registry.find('policy', 'v1', 'poddisruptionbudgets');
  if (definition === undefined) throw notFound({ resource: 'poddisruptionbudgets', group: 'policy' }, budgetName);
  const asSystem: WriteContext = { ...context, definition, subresource: 'status', admission: UNASKED };
  await updateObject(asSystem, budgetName, {
    isReplacement: false,
    next: (old) => grantEviction(cloneJson(old), podName, context.nowMs()),
  });
}
