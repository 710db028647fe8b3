import {
  StatusError,
  type UnstructuredObject,
  apiVersionOf,
  applyJsonPatch,
  badRequest,
  cloneJson,
  deepEqual,
  internalError,
  isObject,
} from '@slipway/apimachinery';
import type { AdmissionRequest } from '@slipway/runtime';
import type { Authorizer } from '../../authz/authorizer.ts';
import type { Registry } from '../../registry/registry.ts';
import type { ResourceDefinition } from '../../registry/resource-definition.ts';
import type { DynamicAdmission, Normalize } from '../admission-chain.ts';
import { holdsConditions } from '../expressions/match-conditions.ts';
import { type Variables, requestVariables } from '../expressions/request-variables.ts';
import { callWebhook } from './call-webhook.ts';
import { isExempt, matchRules, matchesSelectors } from './match-webhook.ts';
import { type Verdict, admissionReview, denial, verdictOf } from './review.ts';
import { type Webhook, webhooksOf } from './webhook-config.ts';

export interface WebhookDeps {
  readonly registry: Registry;
  readonly authorizer: () => Authorizer;
  readonly uid: () => string;
  readonly logError: (error: unknown, what: string) => void;
}

/** Calls the webhooks that configurations in the cluster name. */
export function webhookAdmission(deps: WebhookDeps): DynamicAdmission {
  return {
    mutate: (object, request, warn, normalize) => mutateByWebhooks(deps, object, request, warn, normalize),
    async validate(request, warn) {
      if (request.object === undefined) await askMutating(deps, request, warn);
      const calls = webhooksOf(deps.registry, 'validatingwebhookconfigurations').flatMap((webhook) => {
        const form = formFor(deps, webhook, request);
        return form === undefined ? [] : [{ webhook, form }];
      });
      // all are asked at once; the first that refuses, in their order, decides
      const outcomes = await Promise.allSettled(calls.map(({ webhook, form }) => ask(deps, webhook, form, request)));
      for (const [index, outcome] of outcomes.entries()) {
        if (outcome.status === 'rejected') throw outcome.reason;
        const call = calls[index];
        if (call === undefined || outcome.value === undefined) continue;
        outcome.value.warnings.forEach(warn);
        if (!outcome.value.allowed) throw denial(call.webhook, outcome.value);
      }
    },
  };
}

/** A deletion has nothing to change, but mutating webhooks that want it may refuse it. */
async function askMutating(deps: WebhookDeps, request: AdmissionRequest, warn: (text: string) => void): Promise<void> {
  for (const webhook of webhooksOf(deps.registry, 'mutatingwebhookconfigurations')) {
    const form = formFor(deps, webhook, request);
    const verdict = form && (await ask(deps, webhook, form, request));
    if (verdict === undefined) continue;
    verdict.warnings.forEach(warn);
    if (!verdict.allowed) throw denial(webhook, verdict);
  }
}

async function mutateByWebhooks(
  deps: WebhookDeps,
  object: UnstructuredObject,
  request: AdmissionRequest,
  warn: (text: string) => void,
  normalize: Normalize,
): Promise<UnstructuredObject> {
  const seen = new Map<Webhook, UnstructuredObject>();
  const webhooks = webhooksOf(deps.registry, 'mutatingwebhookconfigurations');
  if (webhooks.length === 0) return object;
  const round = async (start: UnstructuredObject, wanted: (webhook: Webhook, now: UnstructuredObject) => boolean) => {
    let current = start;
    for (const webhook of webhooks) {
      if (!wanted(webhook, current)) continue;
      const asked = { ...request, object: current };
      const form = formFor(deps, webhook, asked);
      if (form === undefined) continue;
      current = await mutateBy(deps, webhook, form, asked, warn, normalize);
      seen.set(webhook, cloneJson(current));
    }
    return current;
  };
  const first = await round(object, () => true);
  if (first === object) return object;
  const settled = normalize(first);
  // once more those that want to see what others, or the server itself, changed after them
  return round(settled, (webhook, now) => {
    const before = seen.get(webhook);
    return webhook.reinvocationPolicy === 'IfNeeded' && before !== undefined && !deepEqual(before, now);
  });
}

async function mutateBy(
  deps: WebhookDeps,
  webhook: Webhook,
  form: ResourceDefinition,
  request: AdmissionRequest & { readonly object: UnstructuredObject },
  warn: (text: string) => void,
  normalize: Normalize,
): Promise<UnstructuredObject> {
  const verdict = await ask(deps, webhook, form, request, true);
  if (verdict === undefined) return request.object;
  verdict.warnings.forEach(warn);
  if (!verdict.allowed) throw denial(webhook, verdict);
  if (verdict.patch === undefined || verdict.patch === null) return request.object;
  const shown = shownObject(request, request.object, form, true);
  if (request.operation === 'CONNECT') shown.metadata = {};
  return normalize(unshown(applyPatch(shown, verdict.patch), request));
}

function applyPatch(object: UnstructuredObject, patch: unknown): UnstructuredObject {
  let patched: unknown;
  try {
    patched = cloneJson(applyJsonPatch(object, patch));
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    throw internalError(error.cause instanceof Error ? error.cause.message : error.message, error);
  }
  if (!isObject(patched) || !isObject(patched['metadata'])) throw internalError('the patched document is not an object');
  return patched as UnstructuredObject; // has metadata; kind and apiVersion are set again below
}

/** The definition in whose form the webhook is asked; undefined when it does not want this request. */
function formFor(deps: WebhookDeps, webhook: Webhook, request: AdmissionRequest): ResourceDefinition | undefined {
  if (isExempt(request)) return undefined;
  const matched = matchRules(deps.registry, webhook, request);
  if (matched === undefined || !matchesSelectors(deps.registry, webhook, request)) return undefined;
  const { name, matchConditions, failurePolicy } = webhook;
  const variables = (): Variables =>
    requestVariables({ registry: deps.registry, authorizer: deps.authorizer() }, request, matched.definition);
  const owner = { subject: `webhook ${JSON.stringify(name)}`, failurePolicy };
  if (!holdsConditions(matchConditions, request, variables, owner)) return undefined;
  return matched.definition ?? looseDefinition(request);
}

/** A stand-in for requests about something that is not stored. */
function looseDefinition({ group, version, kind, resource }: AdmissionRequest): ResourceDefinition {
  return {
    group,
    version,
    kind,
    plural: resource,
    singular: '',
    listKind: `${kind}List`,
    shortNames: [],
    categories: [],
    namespaced: true,
    verbs: [],
    subresources: {},
    custom: false,
    strategy: {},
  };
}

/** The verdict, or undefined when the webhook failed and its policy is to go on. */
async function ask(
  { registry, uid, logError }: WebhookDeps,
  webhook: Webhook,
  form: ResourceDefinition,
  request: AdmissionRequest,
  isMutating = false,
): Promise<Verdict | undefined> {
  if (request.dryRun && webhook.sideEffects !== 'None' && webhook.sideEffects !== 'NoneOnDryRun') {
    throw badRequest(`admission webhook ${JSON.stringify(webhook.name)} does not support dry run`);
  }
  const id = uid();
  const objects = {
    object: request.object && shownObject(request, request.object, form, isMutating),
    oldObject: request.oldObject && shownObject(request, request.oldObject, form, false),
  };
  try {
    const answer = await callWebhook(registry, {
      config: webhook.clientConfig,
      body: admissionReview(webhook, request, form, objects, id),
      timeoutMs: webhook.timeoutSeconds * 1000,
    });
    const verdict = verdictOf(answer, webhook, id);
    for (const [key, value] of Object.entries(verdict.auditAnnotations)) request.annotate?.(key, value);
    return verdict;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (webhook.failurePolicy === 'Ignore') {
      logError(error, `webhook ${webhook.name}, failure ignored`);
      return undefined;
    }
    throw internalError(`failed calling webhook ${JSON.stringify(webhook.name)}: ${text}`, error);
  }
}

/** An object as webhooks see it: in the form they asked for, and before the server has given it an identity. */
function shownObject(
  request: AdmissionRequest,
  object: UnstructuredObject,
  form: ResourceDefinition,
  isMutating: boolean,
): UnstructuredObject {
  if (request.operation === 'CONNECT') return withoutMetadata(object);
  const isOwnForm = request.objectKind === undefined && request.resource === form.plural;
  const apiVersion = isOwnForm ? apiVersionOf(form) : object.apiVersion;
  if (!isMutating || request.operation !== 'CREATE') return { ...object, apiVersion };
  const { uid: _uid, creationTimestamp: _time, ...metadata } = object.metadata;
  if (form.custom) return { ...object, apiVersion, metadata };
  return {
    ...object,
    apiVersion,
    metadata: { ...metadata, creationTimestamp: null } as unknown as UnstructuredObject['metadata'],
  };
}

/** Options of a stream have none. */
function withoutMetadata({ metadata: _metadata, ...options }: UnstructuredObject): UnstructuredObject {
  return options as unknown as UnstructuredObject;
}

/** The opposite of `shownObject`, for what a patch made of it. */
function unshown(patched: UnstructuredObject, { object, operation }: AdmissionRequest): UnstructuredObject {
  if (object === undefined) return patched;
  patched.apiVersion = object.apiVersion;
  if (operation !== 'CREATE') return patched;
  const { uid, creationTimestamp } = object.metadata;
  patched.metadata = {
    ...patched.metadata,
    ...(uid !== undefined && { uid }),
    ...(creationTimestamp !== undefined && { creationTimestamp }),
  };
  return patched;
}
