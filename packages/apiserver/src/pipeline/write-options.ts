import { type FieldError, StatusError, badRequest, forbiddenField, invalid, isObject } from '@slipway/apimachinery';
import type { DeleteRequestOptions } from '../registry/delete-object.ts';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import type { FieldValidation, WriteContext } from '../registry/write-context.ts';
import { duplicateFields } from './duplicate-fields.ts';
import { bodyText } from './request.ts';
import type { Call } from './server-context.ts';

const FIELD_VALIDATION: readonly string[] = ['Ignore', 'Warn', 'Strict'];

/** The context of a write from the parameters of the request. Throws 422 for options that do not exist. */
export function writeContext(
  call: Call,
  definition: ResourceDefinition,
  overrides: { readonly dryRun?: boolean; readonly subresource?: string } = {},
): WriteContext {
  const { server, request, info, user, warnings, annotations } = call;
  const { query } = request;
  checkOptions(query, request.method, (request.headers['content-type'] ?? '').startsWith('application/apply-patch+yaml'));
  return {
    registry: server.registry,
    admission: server.admission,
    definition,
    namespace: definition.namespaced ? info.namespace : '',
    user,
    dryRun: overrides.dryRun ?? query.getAll('dryRun').some((value) => value !== ''),
    fieldManager: query.get('fieldManager') || managerOf(request.headers['user-agent']),
    fieldValidation: (query.get('fieldValidation') || 'Warn') as FieldValidation, // checkOptions refused others
    textFindings: query.get('fieldValidation') === 'Ignore' ? [] : textFindings(request),
    options: optionsObject(query, request.method),
    subresource: overrides.subresource ?? info.subresource,
    nowMs: server.nowMs,
    uid: server.uid,
    random: server.random,
    warn: (text) => {
      if (!warnings.includes(text)) warnings.push(text);
    },
    annotate: (key, value) => {
      annotations[key] = value;
    },
    get signal() {
      return request.signal;
    },
  };
}

/** Fields that a JSON body gives more than once: parsing keeps the last of them. */
function textFindings({ body, headers }: Call['request']): string[] {
  if (body.type !== 'bytes' || body.bytes.length === 0 || !/json/.test(headers['content-type'] ?? 'json')) return [];
  return duplicateFields(bodyText(body)).map((path) => `duplicate field ${JSON.stringify(path)}`);
}

const WEBHOOK_OPTIONS: Readonly<Record<string, string>> = { POST: 'CreateOptions', DELETE: 'DeleteOptions' };

/** The options as webhooks are shown them. */
function optionsObject(query: URLSearchParams, method: string): Record<string, unknown> {
  const dryRun = query.getAll('dryRun').filter((value) => value !== '');
  const fieldManager = query.get('fieldManager');
  const fieldValidation = query.get('fieldValidation');
  return {
    kind: WEBHOOK_OPTIONS[method] ?? 'UpdateOptions',
    apiVersion: 'meta.k8s.io/v1',
    ...(dryRun.length > 0 && { dryRun }),
    ...(fieldManager && { fieldManager }),
    ...(fieldValidation && { fieldValidation }),
  };
}

/** Without a field manager the user agent up to its first slash stands in. */
function managerOf(userAgent: string | undefined): string {
  const name = (userAgent ?? '').split('/')[0] ?? '';
  return name.slice(0, 128) || 'unknown';
}

const OPTION_KINDS: Readonly<Record<string, string>> = { POST: 'CreateOptions', PUT: 'UpdateOptions', PATCH: 'PatchOptions' };

function checkOptions(query: URLSearchParams, method: string, isApply: boolean): void {
  const errors: FieldError[] = [];
  const dryRun = query.getAll('dryRun').filter((value) => value !== '');
  if (dryRun.some((value) => value !== 'All')) errors.push(unsupportedDryRun(dryRun));
  const validation = query.get('fieldValidation') ?? '';
  if (validation !== '' && !FIELD_VALIDATION.includes(validation)) {
    errors.push(unsupported('fieldValidation', validation, ['', 'Ignore', 'Strict', 'Warn']));
  }
  const manager = query.get('fieldManager') ?? '';
  if (manager.length > 128)
    errors.push({ type: 'TooLong', path: 'fieldManager', detail: 'Too long: must have at most 128 bytes' });
  if (method === 'PATCH' && !isApply && query.get('force')) {
    errors.push(forbiddenField('force', 'may not be specified for non-apply patch'));
  }
  if (errors.length > 0) throw invalid({ group: 'meta.k8s.io', kind: OPTION_KINDS[method] ?? 'DeleteOptions' }, '', errors);
}

function unsupportedDryRun(values: readonly string[]): FieldError {
  const shown = values.map((value) => JSON.stringify(value)).join(', ');
  return { type: 'NotSupported', path: 'dryRun', detail: `Unsupported value: []string{${shown}}: supported values: "All"` };
}

function unsupported(path: string, value: string, supported: readonly string[]): FieldError {
  const list = supported.map((item) => JSON.stringify(item)).join(', ');
  return { type: 'NotSupported', path, detail: `Unsupported value: ${JSON.stringify(value)}: supported values: ${list}` };
}

export interface DecodedDeleteOptions {
  readonly options: DeleteRequestOptions;
  readonly dryRun: boolean;
}

/** DeleteOptions from the body, else from the query. Throws 400 and 422. */
export function deleteOptions(body: unknown, query: URLSearchParams): DecodedDeleteOptions {
  if (body !== undefined && body !== null && !isObject(body)) throw badRequest("couldn't get version/kind; json parse error");
  const fields = isObject(body) && Object.keys(body).length > 0 ? body : fieldsOfQuery(query);
  const { gracePeriodSeconds, propagationPolicy, orphanDependents, preconditions } = fields;
  const dryRuns = Array.isArray(fields['dryRun']) ? fields['dryRun'].map(String) : [];
  checkDeleteOptions(fields, dryRuns);
  const uid = isObject(preconditions) ? preconditions['uid'] : undefined;
  const resourceVersion = isObject(preconditions) ? preconditions['resourceVersion'] : undefined;
  return {
    dryRun: dryRuns.length > 0,
    options: {
      ...(typeof gracePeriodSeconds === 'number' && { gracePeriodSeconds }),
      ...(propagationPolicy ? { propagationPolicy: propagationPolicy as 'Background' } : {}), // checked above
      ...(typeof orphanDependents === 'boolean' && { orphanDependents }),
      preconditions: {
        ...(typeof uid === 'string' && { uid }),
        ...(typeof resourceVersion === 'string' && { resourceVersion }),
      },
    },
  };
}

/** Throws 400 for another kind of body, 422 for values that do not exist. */
function checkDeleteOptions(fields: Record<string, unknown>, dryRuns: readonly string[]): void {
  const { kind, propagationPolicy, orphanDependents } = fields;
  const errors: FieldError[] = [];
  if (kind !== undefined && kind !== 'DeleteOptions') {
    throw badRequest(`no kind ${JSON.stringify(kind)} is registered for version "meta.k8s.io/v1"`);
  }
  if (dryRuns.some((value) => value !== 'All')) errors.push(unsupportedDryRun(dryRuns));
  const policy = typeof propagationPolicy === 'string' ? propagationPolicy : '';
  if (!['Background', 'Foreground', 'Orphan', ''].includes(policy)) {
    errors.push(unsupported('propagationPolicy', policy, ['Foreground', 'Background', 'Orphan', 'nil']));
  }
  if (propagationPolicy !== undefined && orphanDependents !== undefined) {
    const detail = `Invalid value: ${JSON.stringify(propagationPolicy)}: orphanDependents and deletionPropagation cannot be both set`;
    errors.push({ type: 'Invalid', path: 'propagationPolicy', detail });
  }
  if (errors.length > 0) throw invalid({ group: 'meta.k8s.io', kind: 'DeleteOptions' }, '', errors);
}

function fieldsOfQuery(query: URLSearchParams): Record<string, unknown> {
  const grace = query.get('gracePeriodSeconds');
  if (grace !== null && grace !== '' && !/^-?[0-9]+$/.test(grace)) {
    throw new StatusError({
      code: 400,
      reason: 'BadRequest',
      message: `strconv.ParseInt: parsing ${JSON.stringify(grace)}: invalid syntax`,
    });
  }
  const orphan = query.get('orphanDependents');
  return {
    ...(grace && { gracePeriodSeconds: Number(grace) }),
    ...(query.get('propagationPolicy') && { propagationPolicy: query.get('propagationPolicy') }),
    ...(orphan && { orphanDependents: orphan === 'true' || orphan === '1' }),
    dryRun: query.getAll('dryRun').filter((value) => value !== ''),
  };
}
