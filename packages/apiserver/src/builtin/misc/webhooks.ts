import { type FieldError, invalidValue, requiredValue, unsupportedValue } from '@slipway/apimachinery';
import { oneOf } from '../core/pod-validation.ts';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';

const GROUP = 'admissionregistration.k8s.io';
const VERSIONS = ['v1', 'v1beta1'];

interface Rule {
  operations?: string[];
  apiGroups?: string[];
  apiVersions?: string[];
  resources?: string[];
  scope?: string;
}
interface Webhook {
  name?: string;
  clientConfig?: { url?: string; service?: { name?: string; namespace?: string; port?: number } };
  rules?: Rule[];
  failurePolicy?: string;
  matchPolicy?: string;
  namespaceSelector?: Record<string, unknown>;
  objectSelector?: Record<string, unknown>;
  sideEffects?: string;
  timeoutSeconds?: number;
  admissionReviewVersions?: string[];
  reinvocationPolicy?: string;
}
interface Configuration {
  webhooks?: Webhook[];
}

function defaultWebhook(webhook: Webhook, isMutating: boolean): void {
  webhook.failurePolicy ??= 'Fail';
  webhook.matchPolicy ??= 'Equivalent';
  webhook.namespaceSelector ??= {};
  webhook.objectSelector ??= {};
  webhook.timeoutSeconds ??= 10;
  if (isMutating) webhook.reinvocationPolicy ??= 'Never';
  if (webhook.clientConfig?.service !== undefined) webhook.clientConfig.service.port ??= 443;
  for (const rule of webhook.rules ?? []) rule.scope ??= '*';
}

function validateWebhook(webhook: Webhook, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const { name = '', admissionReviewVersions: versions = [], sideEffects, timeoutSeconds } = webhook;
  if (name.split('.').length < 3) {
    errors.push(invalidValue(`${path}.name`, name, 'should be a domain with at least three segments separated by dots'));
  }
  if (versions.length === 0) {
    errors.push(requiredValue(`${path}.admissionReviewVersions`, 'must specify one of v1, v1beta1'));
  } else if (!versions.some((version) => VERSIONS.includes(version))) {
    errors.push(invalidValue(`${path}.admissionReviewVersions`, versions, 'must include at least one of v1, v1beta1'));
  }
  if (sideEffects === undefined) errors.push(requiredValue(`${path}.sideEffects`, 'must specify one of None, NoneOnDryRun'));
  else oneOf(sideEffects, ['None', 'NoneOnDryRun'], `${path}.sideEffects`, errors);
  oneOf(webhook.failurePolicy, ['Fail', 'Ignore'], `${path}.failurePolicy`, errors);
  oneOf(webhook.matchPolicy, ['Equivalent', 'Exact'], `${path}.matchPolicy`, errors);
  if (timeoutSeconds !== undefined && (timeoutSeconds < 1 || timeoutSeconds > 30)) {
    errors.push(invalidValue(`${path}.timeoutSeconds`, timeoutSeconds, 'the timeout value must be between 1 and 30 seconds'));
  }
  errors.push(...validateClientConfig(webhook.clientConfig, `${path}.clientConfig`));
  (webhook.rules ?? []).forEach((rule, index) => errors.push(...validateRule(rule, `${path}.rules[${index}]`)));
  return errors;
}

function validateClientConfig(config: Webhook['clientConfig'], path: string): FieldError[] {
  const { url, service } = config ?? {};
  if ((url === undefined) === (service === undefined)) return [requiredValue(path, 'exactly one of url or service is required')];
  if (service !== undefined) {
    return (['namespace', 'name'] as const)
      .filter((field) => !service[field])
      .map((field) => requiredValue(`${path}.service.${field}`, `service ${field} is required`));
  }
  const scheme = /^([a-z]+):/.exec(url ?? '')?.[1] ?? '';
  if (scheme === 'https') return [];
  return [invalidValue(`${path}.url`, scheme, "'https' is the only allowed URL scheme; desired format: https://host[/path]")];
}

function validateRule(rule: Rule, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const { operations = [], apiGroups = [], apiVersions = [], resources = [] } = rule;
  if (operations.length === 0) errors.push(requiredValue(`${path}.operations`));
  else if (operations.includes('*') && operations.length > 1) {
    const shown = `[]admissionregistration.OperationType{${operations.map((item) => JSON.stringify(item)).join(', ')}}`;
    errors.push({
      type: 'Invalid',
      path: `${path}.operations`,
      detail: `Invalid value: ${shown}: if '*' is present, must not specify other operations`,
    });
  }
  for (const operation of operations) {
    const supported = ['*', 'CONNECT', 'CREATE', 'DELETE', 'UPDATE'];
    if (!supported.includes(operation)) errors.push(unsupportedValue(`${path}.operations[0]`, operation, supported));
  }
  if (apiGroups.length === 0) errors.push(requiredValue(`${path}.apiGroups`));
  if (apiVersions.length === 0) errors.push(requiredValue(`${path}.apiVersions`));
  if (resources.length === 0) errors.push(requiredValue(`${path}.resources`));
  return errors;
}

function configurationKind(kind: 'MutatingWebhookConfiguration' | 'ValidatingWebhookConfiguration'): BuiltinKind {
  const isMutating = kind.startsWith('Mutating');
  return {
    group: GROUP,
    kind,
    plural: `${kind.toLowerCase()}s`,
    definition: `admissionregistration.v1.${kind}`,
    categories: ['api-extensions'],
    cluster: true,
    strategy: {
      allowUnconditionalUpdate: false,
      hasGeneration: true,
      default(object) {
        for (const webhook of typed<Configuration>(object).webhooks ?? []) defaultWebhook(webhook, isMutating);
      },
      validate: (object) =>
        (typed<Configuration>(object).webhooks ?? []).flatMap((webhook, index) => validateWebhook(webhook, `webhooks[${index}]`)),
    },
    columns: [
      nameColumn,
      column('Webhooks', (object) => typed<Configuration>(object).webhooks?.length ?? 0, { type: 'integer' }),
      ageColumn,
    ],
  };
}

export const webhookKinds: readonly BuiltinKind[] = [
  configurationKind('MutatingWebhookConfiguration'),
  configurationKind('ValidatingWebhookConfiguration'),
];
