import { deepEqual, type LabelSelectorObject, keyOf, matchesLabels, selectorOf } from '@slipway/apimachinery';
import { type ClusterRole, ClusterRoleKind } from '@slipway/api';
import { allow, type ControllerRegistration, done, watchOf } from '@slipway/runtime';

type Rules = NonNullable<ClusterRole['rules']>;

/** Gives every ClusterRole with an `aggregationRule` the rules of the roles that it selects. */
export const clusterRoleAggregationController: ControllerRegistration = {
  name: 'clusterrole-aggregation-controller',
  rules: [...allow('update escalate', ClusterRoleKind)],
  create({ client, informers }) {
    const roles = informers.lister(ClusterRoleKind);
    const collectors = (changed: ClusterRole) =>
      roles
        .list()
        .filter((role) => selects(role, changed))
        .map(keyOf);
    return {
      kind: ClusterRoleKind,
      predicate: ({ object }) => isAggregated(object as ClusterRole), // the kind's own objects
      watches: [watchOf(ClusterRoleKind, collectors)],
      concurrency: 1,
      reconciler: {
        async reconcile(key, signal) {
          const role = roles.get(key);
          if (role === undefined || !isAggregated(role) || role.metadata.deletionTimestamp) return done;
          const rules = aggregatedRules(role, roles.list());
          if (!deepEqual(rules, role.rules ?? []))
            await client.update(ClusterRoleKind, { ...role, rules: [...rules] }, { signal });
          return done;
        },
      },
    };
  },
};

const isAggregated = (role: ClusterRole): boolean => role.aggregationRule !== undefined;

const selectorsOf = ({ aggregationRule }: ClusterRole) =>
  // published and own type of a label selector differ in optionality only
  (aggregationRule?.clusterRoleSelectors ?? []).map((selector) => selectorOf(selector as LabelSelectorObject));

function selects(role: ClusterRole, other: ClusterRole): boolean {
  return selectorsOf(role).some((selector) => selector !== undefined && matchesLabels(selector, other.metadata.labels));
}

/** The rules of the selected roles, selector by selector and by name, each once. */
export function aggregatedRules(role: ClusterRole, roles: readonly ClusterRole[]): Rules {
  const byName = roles.filter(({ metadata }) => metadata.name !== role.metadata.name).sort(compareNames);
  const rules: Rules = [];
  for (const selector of selectorsOf(role)) {
    if (selector === undefined) continue;
    for (const part of byName.filter(({ metadata }) => matchesLabels(selector, metadata.labels))) {
      for (const rule of part.rules ?? []) if (!rules.some((known) => deepEqual(known, rule))) rules.push(rule);
    }
  }
  return rules;
}

function compareNames(a: ClusterRole, b: ClusterRole): number {
  const [left = '', right = ''] = [a.metadata.name, b.metadata.name];
  return left < right ? -1 : left > right ? 1 : 0;
}
