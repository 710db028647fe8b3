import { type UnstructuredObject, isObject } from '@slipway/apimachinery';
import type { PolicyRule, UserInfo } from '@slipway/runtime';
import { type Authorizer, NO_OPINION } from './authorizer.ts';
import type { Grant, RbacIndex } from './rbac-index.ts';

/** Where roles and bindings are read from; answers come from the watch cache. */
export interface RbacSource {
  lookup(group: string, plural: string, namespace: string, name: string): UnstructuredObject | undefined;
  lookupAll(group: string, plural: string, namespace?: string): readonly UnstructuredObject[];
}

export const RBAC_GROUP = 'rbac.authorization.k8s.io';

/** Whom a binding speaks of. */
export interface Subject {
  readonly kind?: string;
  readonly name?: string;
  readonly namespace?: string;
}

/** Calls back with each rule that applies to the user in `namespace` (cluster-wide ones always) until it says true. */
export function visitRules(index: RbacIndex, user: UserInfo, namespace: string, visit: (rule: PolicyRule) => boolean): boolean {
  return index.grantsOf(user, namespace).some((grant) => index.roleOf(grant).rules.some(visit));
}

/** Why a grant allows, in the API server's words. */
function reasonOf({ binding, subject, namespace }: Grant): string {
  const { name } = binding.metadata;
  const what =
    namespace === '' ? `ClusterRoleBinding ${JSON.stringify(name)}` : `RoleBinding ${JSON.stringify(`${name}/${namespace}`)}`;
  return `RBAC: allowed by ${what} of ${roleText(binding)} to ${subjectText(subject, namespace)}`;
}

function subjectText({ kind, name, namespace }: Subject, bindingNamespace: string): string {
  const shown = kind === 'ServiceAccount' ? `${name}/${namespace ?? bindingNamespace}` : name;
  return `${kind} ${JSON.stringify(shown)}`;
}

function roleText(binding: UnstructuredObject): string {
  const roleRef = isObject(binding['roleRef']) ? binding['roleRef'] : {};
  return `${String(roleRef['kind'])} ${JSON.stringify(roleRef['name'])}`;
}

/** Role-based access control over the stored roles and bindings. */
export function rbacAuthorizer(index: RbacIndex): Authorizer {
  return (request) => {
    for (const grant of index.grantsOf(request.user, request.namespace)) {
      if (index.roleOf(grant).allows(request)) return { verdict: 'allow', reason: reasonOf(grant) };
    }
    return NO_OPINION;
  };
}
