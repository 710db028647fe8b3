import { type UnstructuredObject, isObject } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import { type AuthorizationRequest, type Authorizer, NO_OPINION } from './authorizer.ts';

/** `rbac.authorization.k8s.io` PolicyRule. */
export interface PolicyRule {
  readonly verbs: readonly string[];
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
}

/** Where roles and bindings are read from; answers come from the watch cache. */
export interface RbacSource {
  lookup(group: string, plural: string, namespace: string, name: string): UnstructuredObject | undefined;
  lookupAll(group: string, plural: string, namespace?: string): readonly UnstructuredObject[];
}

export const RBAC_GROUP = 'rbac.authorization.k8s.io';

interface Subject {
  readonly kind?: string;
  readonly name?: string;
  readonly namespace?: string;
}

/** True when the binding speaks of the user. Service accounts without namespace mean the binding's. */
export function subjectMatches(subject: Subject, user: UserInfo, bindingNamespace: string): boolean {
  switch (subject.kind) {
    case 'User':
      return subject.name === user.username;
    case 'Group':
      return user.groups.includes(subject.name ?? '');
    case 'ServiceAccount': {
      const namespace = subject.namespace ?? bindingNamespace;
      return user.username === `system:serviceaccount:${namespace}:${subject.name}`;
    }
    default:
      return false;
  }
}

/** Calls back with each rule that applies to the user in `namespace` (cluster-wide ones always) until it says true. */
export function visitRules(
  source: RbacSource,
  user: UserInfo,
  namespace: string,
  visit: (rule: PolicyRule, binding: string) => boolean,
): boolean {
  for (const binding of source.lookupAll(RBAC_GROUP, 'clusterrolebindings')) {
    const subject = subjectOf(binding, user, '');
    if (subject === undefined) continue;
    const because = `ClusterRoleBinding ${JSON.stringify(binding.metadata.name)} of ${roleText(binding)} to ${subject}`;
    if (rulesOf(source, binding, '').some((rule) => visit(rule, because))) return true;
  }
  if (namespace === '') return false;
  for (const binding of source.lookupAll(RBAC_GROUP, 'rolebindings', namespace)) {
    const subject = subjectOf(binding, user, namespace);
    if (subject === undefined) continue;
    const because = `RoleBinding ${JSON.stringify(`${binding.metadata.name}/${namespace}`)} of ${roleText(binding)} to ${subject}`;
    if (rulesOf(source, binding, namespace).some((rule) => visit(rule, because))) return true;
  }
  return false;
}

/** How the binding names the user; undefined when it does not. */
function subjectOf(binding: UnstructuredObject, user: UserInfo, namespace: string): string | undefined {
  const subjects = Array.isArray(binding['subjects']) ? (binding['subjects'] as Subject[]) : []; // validated on write
  const subject = subjects.find((candidate) => subjectMatches(candidate, user, namespace));
  if (subject === undefined) return undefined;
  const name = subject.kind === 'ServiceAccount' ? `${subject.name}/${subject.namespace ?? namespace}` : subject.name;
  return `${subject.kind} ${JSON.stringify(name)}`;
}

function roleText(binding: UnstructuredObject): string {
  const roleRef = isObject(binding['roleRef']) ? binding['roleRef'] : {};
  return `${String(roleRef['kind'])} ${JSON.stringify(roleRef['name'])}`;
}

/** Rules of the role a binding refers to; none when the role does not exist (yet). */
export function rulesOf(source: RbacSource, binding: UnstructuredObject, namespace: string): readonly PolicyRule[] {
  const roleRef = binding['roleRef'];
  if (!isObject(roleRef)) return [];
  const isClusterRole = roleRef['kind'] === 'ClusterRole';
  const role = source.lookup(
    RBAC_GROUP,
    isClusterRole ? 'clusterroles' : 'roles',
    isClusterRole ? '' : namespace,
    String(roleRef['name']),
  );
  return Array.isArray(role?.['rules']) ? (role['rules'] as PolicyRule[]) : []; // validated on write
}

const hasOrAll = (list: readonly string[] | undefined, value: string): boolean =>
  list !== undefined && (list.includes(value) || list.includes('*'));

function resourceMatches(resources: readonly string[] | undefined, resource: string, subresource: string): boolean {
  if (resources === undefined) return false;
  const wanted = subresource === '' ? resource : `${resource}/${subresource}`;
  if (resources.includes(wanted) || resources.includes('*')) return true;
  return subresource !== '' && resources.includes(`*/${subresource}`);
}

function pathMatches(urls: readonly string[] | undefined, path: string): boolean {
  return (urls ?? []).some((url) => url === '*' || url === path || (url.endsWith('*') && path.startsWith(url.slice(0, -1))));
}

/** True when the rule permits the request. */
export function ruleAllows(rule: PolicyRule, request: AuthorizationRequest): boolean {
  if (!hasOrAll(rule.verbs, request.verb)) return false;
  if (!request.isResource) return pathMatches(rule.nonResourceURLs, request.path);
  const names = rule.resourceNames ?? [];
  return (
    hasOrAll(rule.apiGroups, request.group) &&
    resourceMatches(rule.resources, request.resource, request.subresource) &&
    (names.length === 0 || names.includes(request.name))
  );
}

/** Role-based access control over the stored roles and bindings. */
export function rbacAuthorizer(source: RbacSource): Authorizer {
  return (request) => {
    let reason = '';
    const isAllowed = visitRules(source, request.user, request.namespace, (rule, binding) => {
      if (!ruleAllows(rule, request)) return false;
      reason = `RBAC: allowed by ${binding}`;
      return true;
    });
    return isAllowed ? { verdict: 'allow', reason } : NO_OPINION;
  };
}
