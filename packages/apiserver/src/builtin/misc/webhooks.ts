import { type FieldError, invalidValue, requiredValue } from '@slipway/apimachinery';
import type { NamedExpression, NamedRule } from '../../admission/policies/policy-types.ts';
import { oneOf } from '../core/pod-validation.ts';
import { validateMatchConditions } from './match-conditions.ts';
import { validateRule } from './match-resources.ts';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';

const GROUP = 'admissionregistration.k8s.io';
const VERSIONS = ['v1', 'v1beta1'];
/** Names that match conditions of webhooks may use. */
const CONDITION_VARIABLES = ['object', 'oldObject', 'request', 'authorizer'];

interface Webhook {
  name?: string;
  clientConfig?: { url?: string; service?: { name?: string; namespace?: string; port?: number } };
  rules?: NamedRule[];
  matchConditions?: NamedExpression[];
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
  errors.push(...validateMatchConditions(webhook.matchConditions ?? [], `${path}.matchConditions`, CONDITION_VARIABLES));
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
