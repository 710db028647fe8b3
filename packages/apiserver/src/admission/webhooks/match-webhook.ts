import { type LabelSelector, type UnstructuredObject, matchesLabels } from '@slipway/apimachinery';
import type { AdmissionRequest } from '@slipway/runtime';
import type { Registry } from '../../registry/registry.ts';
import { storageOf } from '../../registry/registry.ts';
import type { ResourceDefinition } from '../../registry/resource-definition.ts';
import type { WebhookRule } from './webhook-config.ts';

export interface Selectors {
  readonly namespaceSelector: LabelSelector;
  readonly objectSelector: LabelSelector;
}

export interface RuleSet {
  readonly rules: readonly WebhookRule[];
  readonly matchPolicy: 'Equivalent' | 'Exact';
}

/** What asking would need another version for: the definition whose form the rules want. */
export interface Matched {
  readonly definition: ResourceDefinition | undefined;
}

/** Configurations of admission itself are never subject to admission: a broken one could not be repaired. */
export const isExempt = ({ group, resource }: AdmissionRequest): boolean =>
  group === 'admissionregistration.k8s.io' && /^(mutating|validating)(webhookconfigurations|admissionpolic)/.test(resource);

/** The form of the object that the rules want, or undefined when they want none. */
export function matchRules(registry: Registry, { rules, matchPolicy }: RuleSet, request: AdmissionRequest): Matched | undefined {
  const own = registry.find(request.group, request.version, request.resource);
  if (rules.some((rule) => matchesRule(rule, request, request.group, request.version, request.resource)))
    return { definition: own };
  if (matchPolicy === 'Exact' || own === undefined) return undefined;
  for (const other of equivalents(registry, own)) {
    if (rules.some((rule) => matchesRule(rule, request, other.group, other.version, other.plural))) return { definition: other };
  }
  return undefined;
}

/** Other definitions that show the same stored objects. */
function equivalents(registry: Registry, own: ResourceDefinition): ResourceDefinition[] {
  const storage = storageOf(own);
  return registry.all().filter((other) => {
    const { group, plural } = storageOf(other);
    return other !== own && group === storage.group && plural === storage.plural;
  });
}

const includes = (list: readonly string[], value: string): boolean => list.includes('*') || list.includes(value);

function matchesRule(rule: WebhookRule, request: AdmissionRequest, group: string, version: string, plural: string): boolean {
  const isCluster = request.namespace === '' || (request.group === '' && request.resource === 'namespaces');
  if (rule.scope === 'Namespaced' && isCluster) return false;
  if (rule.scope === 'Cluster' && !isCluster) return false;
  return (
    includes(rule.operations, request.operation) &&
    includes(rule.apiGroups, group) &&
    includes(rule.apiVersions, version) &&
    fitsName(rule.resourceNames, request.name) &&
    rule.resources.some((pattern) => matchesResource(pattern, plural, request.subresource))
  );
}

const fitsName = (names: readonly string[] | undefined, name: string): boolean =>
  names === undefined || names.length === 0 || names.includes(name);

function matchesResource(pattern: string, plural: string, subresource: string): boolean {
  const [resource = '', sub = ''] = pattern.split('/');
  return (resource === '*' || resource === plural) && (sub === '*' || sub === subresource);
}

/** Both the labels of the object's namespace and those of the object (new or old) must fit. */
export function matchesSelectors(registry: Registry, selectors: Selectors, request: AdmissionRequest): boolean {
  return matchesNamespace(registry, selectors.namespaceSelector, request) && matchesObject(selectors.objectSelector, request);
}

function matchesNamespace(registry: Registry, selector: LabelSelector, request: AdmissionRequest): boolean {
  if (selector.length === 0) return true;
  if (request.group === '' && request.resource === 'namespaces' && request.subresource === '') {
    return matchesLabels(selector, (request.object ?? request.oldObject)?.metadata.labels);
  }
  if (request.namespace === '') return true;
  return matchesLabels(selector, registry.lookup('', 'namespaces', '', request.namespace)?.metadata.labels);
}

function matchesObject(selector: LabelSelector, { object, oldObject }: AdmissionRequest): boolean {
  if (selector.length === 0) return true;
  return [object, oldObject].some(
    (one: UnstructuredObject | undefined) => one !== undefined && matchesLabels(selector, one.metadata.labels),
  );
}
