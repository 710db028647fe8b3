import { type UnstructuredObject, isObject } from '@slipway/apimachinery';
import type { PolicyRule, UserInfo } from '@slipway/runtime';
import type { Registry } from '../registry/registry.ts';
import { CompiledRole } from './compiled-role.ts';
import { RBAC_GROUP, type Subject } from './rbac.ts';

/** A binding as it concerns one subject. */
export interface Grant {
  /** Place among the bindings of its scope: the first one that allows is the reason that is given. */
  readonly order: number;
  readonly binding: UnstructuredObject;
  readonly subject: Subject;
  /** Empty for cluster-wide bindings. */
  readonly namespace: string;
}

/** The bindings of one scope by subject. */
type Scope = ReadonlyMap<string, readonly Grant[]>;

const NO_RULES = new CompiledRole([]);
const CLUSTER = '';
/** Subjects whose grants are remembered at a time. */
const MAX_REMEMBERED = 10_000;

/**
 * Roles and bindings as authorization asks for them: by who asks. Kept current by the watch cache: a change drops what was
 * worked out of its scope before anybody can ask again.
 */
export class RbacIndex {
  private readonly registry: Registry;
  private readonly scopes = new Map<string, Scope>();
  private remembered = new Map<string, readonly Grant[]>();
  /** By role object, which is never changed, only replaced. */
  private readonly compiled = new WeakMap<UnstructuredObject, CompiledRole>();
  private readonly unsubscribe: readonly (() => void)[];

  constructor(registry: Registry) {
    this.registry = registry;
    const bindings = (plural: string) => registry.cache.collection({ group: RBAC_GROUP, plural });
    this.unsubscribe = [
      bindings('clusterrolebindings').subscribe(() => this.forget(CLUSTER)),
      bindings('rolebindings').subscribe(({ current, previous }) => {
        this.forget((current ?? previous)?.object.metadata.namespace ?? CLUSTER);
      }),
    ];
  }

  /** The grants of a user: cluster-wide ones, then those of `namespace` unless it is empty, each in order of name. */
  grantsOf(user: UserInfo, namespace: string): readonly Grant[] {
    const key = `${namespace}\0${user.username}\0${user.groups.join('\0')}`;
    const known = this.remembered.get(key);
    if (known !== undefined) return known;
    const grants = [...this.grantsIn(CLUSTER, user), ...(namespace === CLUSTER ? [] : this.grantsIn(namespace, user))];
    if (this.remembered.size >= MAX_REMEMBERED) this.remembered = new Map();
    this.remembered.set(key, grants);
    return grants;
  }

  /** The role a binding refers to; an empty one when it does not exist (yet). */
  roleOf({ binding, namespace }: Pick<Grant, 'binding' | 'namespace'>): CompiledRole {
    const { roleRef } = binding;
    if (!isObject(roleRef)) return NO_RULES;
    const isClusterRole = roleRef['kind'] === 'ClusterRole';
    const plural = isClusterRole ? 'clusterroles' : 'roles';
    const role = this.registry.lookup(RBAC_GROUP, plural, isClusterRole ? '' : namespace, String(roleRef['name']));
    if (role === undefined) return NO_RULES;
    let compiled = this.compiled.get(role);
    if (compiled === undefined) {
      compiled = new CompiledRole(Array.isArray(role['rules']) ? (role['rules'] as PolicyRule[]) : []); // validated on write
      this.compiled.set(role, compiled);
    }
    return compiled;
  }

  close(): void {
    for (const stop of this.unsubscribe) stop();
  }

  private forget(scope: string): void {
    this.scopes.delete(scope);
    this.remembered = new Map();
  }

  private grantsIn(namespace: string, { username, groups }: UserInfo): Grant[] {
    const scope = this.scopeOf(namespace);
    const found = new Map<UnstructuredObject, Grant>();
    for (const key of [userKey(username), ...groups.map(groupKey)]) {
      for (const grant of scope.get(key) ?? []) {
        // of two subjects of one binding that mean the user, the first one is the reason
        const known = found.get(grant.binding);
        if (
          known === undefined ||
          subjectsOf(grant.binding).indexOf(grant.subject) < subjectsOf(grant.binding).indexOf(known.subject)
        )
          found.set(grant.binding, grant);
      }
    }
    return [...found.values()].sort((a, b) => a.order - b.order);
  }

  private scopeOf(namespace: string): Scope {
    const known = this.scopes.get(namespace);
    if (known !== undefined) return known;
    const scope = new Map<string, Grant[]>();
    const plural = namespace === CLUSTER ? 'clusterrolebindings' : 'rolebindings';
    const bindings = this.registry.cache.collection({ group: RBAC_GROUP, plural }).list(namespace);
    for (const [order, { object: binding }] of bindings.entries()) {
      for (const subject of subjectsOf(binding)) {
        const key = keyOfSubject(subject, namespace);
        if (key === undefined) continue;
        const list = scope.get(key);
        const grant: Grant = { order, binding, subject, namespace };
        if (list === undefined) scope.set(key, [grant]);
        else list.push(grant);
      }
    }
    this.scopes.set(namespace, scope);
    return scope;
  }
}

const subjectsOf = (binding: UnstructuredObject): readonly Subject[] =>
  Array.isArray(binding['subjects']) ? (binding['subjects'] as Subject[]) : []; // validated on write

const userKey = (name: string): string => `u\0${name}`;
const groupKey = (name: string): string => `g\0${name}`;

/** Service accounts without namespace mean the binding's. */
function keyOfSubject({ kind, name = '', namespace }: Subject, bindingNamespace: string): string | undefined {
  switch (kind) {
    case 'User':
      return userKey(name);
    case 'Group':
      return groupKey(name);
    case 'ServiceAccount':
      return userKey(`system:serviceaccount:${namespace ?? bindingNamespace}:${name}`);
    default:
      return undefined;
  }
}
