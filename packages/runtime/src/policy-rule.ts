import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import { serviceAccountUser } from './access-review.ts';

/** `rbac.authorization.k8s.io` PolicyRule. */
export interface PolicyRule {
  readonly verbs: readonly string[];
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
}

/** A kind, or a subresource of it. */
export type RuleTarget = ResourceKind<KubeObject> | readonly [ResourceKind<KubeObject>, subresource: string];

/** Permits verbs (separated by spaces) on kinds and subresources, one rule per API group. */
export function allow(verbs: string, ...targets: readonly RuleTarget[]): readonly PolicyRule[] {
  const byGroup = new Map<string, string[]>();
  for (const target of targets) {
    // told apart by shape: a pair is a list
    const [kind, subresource] = Array.isArray(target)
      ? (target as [ResourceKind<KubeObject>, string])
      : [target as ResourceKind<KubeObject>, ''];
    const resources = byGroup.get(kind.group) ?? [];
    byGroup.set(kind.group, [...resources, subresource === '' ? kind.plural : `${kind.plural}/${subresource}`]);
  }
  return [...byGroup].map(([group, resources]) => ({ apiGroups: [group], resources, verbs: verbs.split(' ') }));
}

/** What every component may do: report events. Reading goes through the caches they share. */
export const COMPONENT_RULES: readonly PolicyRule[] = [
  { apiGroups: ['', 'events.k8s.io'], resources: ['events'], verbs: ['create', 'patch', 'update'] },
];

/** Rights of the identity that fills the caches: reading, and nothing else. */
export const INFORMER_RULES: readonly PolicyRule[] = [{ apiGroups: ['*'], resources: ['*'], verbs: ['get', 'list', 'watch'] }];

/** A part of the platform and what it may do. */
export interface ComponentRights {
  readonly name: string;
  readonly rules: readonly PolicyRule[];
}

/** The rights of some controllers and of the caches that they share. */
export function componentRights(
  registrations: readonly { readonly name: string; readonly rules?: readonly PolicyRule[] }[],
): readonly ComponentRights[] {
  return [
    { name: 'informers', rules: INFORMER_RULES },
    ...registrations.map(({ name, rules = [] }) => ({ name, rules: [...COMPONENT_RULES, ...rules] })),
  ];
}

/** The user as which a component acts: a service account of the platform's namespace. */
export const componentUser = serviceAccountUser;
