import { type Status, StatusError, type UnstructuredObject, isObject } from '@slipway/apimachinery';
import type { AdmissionRequest } from '@slipway/runtime';
import type { ResourceDefinition } from '../../registry/resource-definition.ts';
import type { Webhook } from './webhook-config.ts';

export interface ReviewObjects {
  readonly object: UnstructuredObject | undefined;
  readonly oldObject: UnstructuredObject | undefined;
}

/** The document a webhook is sent. `form` is the version its rules ask for. */
export function admissionReview(
  webhook: Webhook,
  request: AdmissionRequest,
  form: ResourceDefinition,
  objects: ReviewObjects,
  uid: string,
): Record<string, unknown> {
  const { user, subresource } = request;
  return {
    kind: 'AdmissionReview',
    apiVersion: `admission.k8s.io/${webhook.reviewVersion}`,
    request: {
      uid,
      kind: request.objectKind ?? { group: form.group, version: form.version, kind: form.kind },
      resource: { group: form.group, version: form.version, resource: form.plural },
      ...(subresource && { subResource: subresource }),
      requestKind: request.objectKind ?? { group: request.group, version: request.version, kind: request.kind },
      requestResource: { group: request.group, version: request.version, resource: request.resource },
      ...(subresource && { requestSubResource: subresource }),
      ...(request.name && { name: request.name }),
      ...(request.namespace && { namespace: request.namespace }),
      operation: request.operation,
      userInfo: {
        username: user.username,
        ...(user.uid && { uid: user.uid }),
        groups: user.groups,
        ...(user.extra && Object.keys(user.extra).length > 0 && { extra: user.extra }),
      },
      object: objects.object ?? null,
      oldObject: objects.oldObject ?? null,
      dryRun: request.dryRun,
      options: request.options ?? null,
    },
  };
}

export interface Verdict {
  readonly allowed: boolean;
  readonly status: Partial<Status> | undefined;
  readonly warnings: readonly string[];
  /** For the audit log; keys carry the name of the webhook. */
  readonly auditAnnotations: Readonly<Record<string, string>>;
  /** A JSON patch. */
  readonly patch: unknown;
}

/** Reads an answer. Throws an Error whose message clients are shown. */
export function verdictOf(answer: unknown, webhook: Webhook, uid: string): Verdict {
  if (!isObject(answer) || !isObject(answer['response'])) throw new Error('webhook response was absent');
  const expected = `admission.k8s.io/${webhook.reviewVersion}`;
  if (answer['apiVersion'] !== expected || answer['kind'] !== 'AdmissionReview') {
    throw new Error(
      `received invalid webhook response: expected webhook response of ${expected}, Kind=AdmissionReview, got ${String(answer['apiVersion'] as string)}, Kind=${String(answer['kind'] as string)}`,
    );
  }
  const { response } = answer;
  if (response['uid'] !== uid) {
    throw new Error(
      `received invalid webhook response: expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response['uid'] ?? '')}`,
    );
  }
  const { patch, patchType } = response;
  const hasPatch = typeof patch === 'string' && patch !== '';
  if (hasPatch && patchType !== 'JSONPatch') {
    throw new Error(
      `received invalid webhook response: webhook returned invalid response.patchType of ${JSON.stringify(patchType ?? '')}`,
    );
  }
  return {
    allowed: response['allowed'] === true,
    status: isObject(response['status']) ? (response['status'] as Partial<Status>) : undefined, // copied field by field
    warnings: Array.isArray(response['warnings']) ? response['warnings'].filter((text) => typeof text === 'string') : [],
    auditAnnotations: annotationsOf(webhook, response['auditAnnotations']),
    patch: hasPatch ? parsePatch(patch) : undefined,
  };
}

function annotationsOf({ name }: Webhook, annotations: unknown): Record<string, string> {
  if (!isObject(annotations)) return {};
  const texts = Object.entries(annotations).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return Object.fromEntries(texts.map(([key, value]) => [`${name}/${key}`, value]));
}

function parsePatch(encoded: string): unknown {
  try {
    return JSON.parse(Buffer.from(encoded, 'base64').toString('utf8'));
  } catch (error) {
    throw new Error('received invalid webhook response: the patch is not JSON', { cause: error });
  }
}

/** The refusal a client gets, with what the webhook says about it. */
export function denial(webhook: Webhook, { status = {} }: Verdict): StatusError {
  const subject = `admission webhook ${JSON.stringify(webhook.name)} denied the request`;
  const why = status.message ? `: ${status.message}` : status.reason ? `: ${status.reason}` : ' without explanation';
  const code = typeof status.code === 'number' && status.code >= 400 && status.code < 600 ? status.code : 400;
  return new StatusError({
    code,
    message: `${subject}${why}`,
    ...(status.reason && { reason: status.reason }),
    ...(isObject(status.details) && { details: status.details }),
  });
}
