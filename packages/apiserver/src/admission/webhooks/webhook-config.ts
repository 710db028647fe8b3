import { type LabelSelector, type LabelSelectorObject, selectorOf } from '@slipway/apimachinery';
import type { Registry } from '../../registry/registry.ts';
import type { StoredObject } from '../../watch-cache/stored-object.ts';
import type { WebhookClientConfig } from './call-webhook.ts';

export interface WebhookRule {
  readonly operations: readonly string[];
  readonly apiGroups: readonly string[];
  readonly apiVersions: readonly string[];
  readonly resources: readonly string[];
  /** Empty or absent: any name. Policies have it, webhooks have not. */
  readonly resourceNames?: readonly string[];
  readonly scope: string;
}

export interface MatchCondition {
  readonly name: string;
  readonly expression: string;
}

/** One entry of a webhook configuration, ready to use. */
export interface Webhook {
  readonly name: string;
  readonly configuration: string;
  readonly clientConfig: WebhookClientConfig;
  readonly rules: readonly WebhookRule[];
  readonly failurePolicy: 'Fail' | 'Ignore';
  readonly matchPolicy: 'Equivalent' | 'Exact';
  readonly namespaceSelector: LabelSelector;
  readonly objectSelector: LabelSelector;
  readonly sideEffects: string;
  readonly timeoutSeconds: number;
  readonly reinvocationPolicy: 'Never' | 'IfNeeded';
  readonly matchConditions: readonly MatchCondition[];
  readonly reviewVersion: 'v1' | 'v1beta1';
}

/** The stored form; validation and defaults have filled every field that is read without a fallback. */
interface StoredWebhook {
  name: string;
  clientConfig: WebhookClientConfig;
  rules?: WebhookRule[];
  failurePolicy?: Webhook['failurePolicy'];
  matchPolicy?: Webhook['matchPolicy'];
  namespaceSelector?: LabelSelectorObject;
  objectSelector?: LabelSelectorObject;
  sideEffects?: string;
  timeoutSeconds?: number;
  reinvocationPolicy?: Webhook['reinvocationPolicy'];
  matchConditions?: MatchCondition[];
  admissionReviewVersions: string[];
}

const GROUP = 'admissionregistration.k8s.io';
const parsed = new WeakMap<StoredObject, readonly Webhook[]>();

/** All webhooks of a kind of configuration in the order they are called: by name of the configuration, then as listed. */
export function webhooksOf(registry: Registry, plural: 'mutatingwebhookconfigurations' | 'validatingwebhookconfigurations') {
  return registry.cache.collection({ group: GROUP, plural }).list().flatMap(parse);
}

function parse(stored: StoredObject): readonly Webhook[] {
  const known = parsed.get(stored);
  if (known !== undefined) return known;
  const list = Array.isArray(stored.object['webhooks']) ? (stored.object['webhooks'] as StoredWebhook[]) : []; // validated on write
  const webhooks = list.map((webhook) => webhookOf(webhook, stored.name));
  parsed.set(stored, webhooks);
  return webhooks;
}

function webhookOf(webhook: StoredWebhook, configuration: string): Webhook {
  return {
    name: webhook.name,
    configuration,
    clientConfig: webhook.clientConfig,
    rules: webhook.rules ?? [],
    failurePolicy: webhook.failurePolicy ?? 'Fail',
    matchPolicy: webhook.matchPolicy ?? 'Equivalent',
    namespaceSelector: selectorOf(webhook.namespaceSelector ?? {}) ?? [],
    objectSelector: selectorOf(webhook.objectSelector ?? {}) ?? [],
    sideEffects: webhook.sideEffects ?? 'None',
    timeoutSeconds: webhook.timeoutSeconds ?? 10,
    reinvocationPolicy: webhook.reinvocationPolicy ?? 'Never',
    matchConditions: webhook.matchConditions ?? [],
    reviewVersion: webhook.admissionReviewVersions.find((version) => version === 'v1') ? 'v1' : 'v1beta1',
  };
}
