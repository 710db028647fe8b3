import type { ClusterRole, ClusterRoleBinding, rbac } from '@slipway/api';
import {
  type FieldError,
  checkPathSegment,
  deepEqual,
  invalidValue,
  requiredValue,
  unsupportedValue,
  validateLabelSelector,
} from '@slipway/apimachinery';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';

const GROUP = 'rbac.authorization.k8s.io';
const SUBJECT_KINDS = ['ServiceAccount', 'User', 'Group'];

function validateRule(rule: rbac.PolicyRule, path: string, namespaced: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const { verbs, nonResourceURLs = [], apiGroups = [], resources = [], resourceNames = [] } = rule;
  if (((verbs as string[] | undefined) ?? []).length === 0)
    errors.push(requiredValue(`${path}.verbs`, 'verbs must contain at least one value'));
  if (nonResourceURLs.length > 0) {
    if (namespaced) {
      errors.push(invalidValue(`${path}.nonResourceURLs`, nonResourceURLs, 'namespaced rules cannot apply to non-resource URLs'));
    }
    if (apiGroups.length + resources.length + resourceNames.length > 0) {
      errors.push(
        invalidValue(
          `${path}.nonResourceURLs`,
          nonResourceURLs,
          'rules cannot apply to both regular resources and non-resource URLs',
        ),
      );
    }
    return errors;
  }
  if (apiGroups.length === 0)
    errors.push(requiredValue(`${path}.apiGroups`, 'resource rules must supply at least one api group'));
  if (resources.length === 0) errors.push(requiredValue(`${path}.resources`, 'resource rules must supply at least one resource'));
  return errors;
}

const rulesOf = (role: ClusterRole): readonly rbac.PolicyRule[] => role.rules ?? [];

function roleKind(kind: 'Role' | 'ClusterRole'): BuiltinKind {
  const cluster = kind === 'ClusterRole';
  return {
    group: GROUP,
    kind,
    plural: `${kind.toLowerCase()}s`,
    definition: `rbac.v1.${kind}`,
    cluster,
    strategy: {
      allowCreateOnUpdate: true,
      validateName: checkPathSegment,
      default(object) {
        const role = typed<ClusterRole>(object);
        // the API server writes null for a role without rules
        (role as { rules?: unknown }).rules ??= null;
      },
      validate(object) {
        const role = typed<ClusterRole>(object);
        const errors = rulesOf(role).flatMap((rule, index) => validateRule(rule, `rules[${index}]`, !cluster));
        (role.aggregationRule?.clusterRoleSelectors ?? []).forEach((selector, index) =>
          errors.push(...validateLabelSelector(selector, `aggregationRule.clusterRoleSelectors[${index}]`)),
        );
        return errors;
      },
    },
    columns: [nameColumn, column('Created At', (object) => object.metadata.creationTimestamp ?? '', { type: 'date' })],
  };
}

function validateSubject(subject: rbac.Subject, path: string, namespaced: boolean): FieldError[] {
  const errors: FieldError[] = [];
  if (!subject.name) errors.push(requiredValue(`${path}.name`));
  if (!SUBJECT_KINDS.includes(subject.kind)) {
    errors.push(unsupportedValue(`${path}.kind`, subject.kind, SUBJECT_KINDS));
    return errors;
  }
  if (subject.kind === 'ServiceAccount') {
    if (subject.apiGroup) errors.push(unsupportedValue(`${path}.apiGroup`, subject.apiGroup, ['']));
    if (!namespaced && !subject.namespace) errors.push(requiredValue(`${path}.namespace`));
  } else if (subject.apiGroup !== GROUP) errors.push(unsupportedValue(`${path}.apiGroup`, subject.apiGroup, [GROUP]));
  return errors;
}

function validateBinding(binding: ClusterRoleBinding, namespaced: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const { apiGroup, kind, name } = binding.roleRef;
  const kinds = namespaced ? ['Role', 'ClusterRole'] : ['ClusterRole'];
  if (apiGroup !== GROUP) errors.push(unsupportedValue('roleRef.apiGroup', apiGroup, [GROUP]));
  if (!kinds.includes(kind)) errors.push(unsupportedValue('roleRef.kind', kind, kinds));
  if (!name) errors.push(requiredValue('roleRef.name'));
  else for (const text of checkPathSegment(name)) errors.push(invalidValue('roleRef.name', name, text));
  (binding.subjects ?? []).forEach((subject, index) =>
    errors.push(...validateSubject(subject, `subjects[${index}]`, namespaced)),
  );
  return errors;
}

const subjectsText = (binding: ClusterRoleBinding, kind: string): string =>
  (binding.subjects ?? [])
    .filter((subject) => subject.kind === kind)
    .map(({ name, namespace }) => (namespace ? `${namespace}/${name}` : name))
    .join(', ');

function bindingKind(kind: 'RoleBinding' | 'ClusterRoleBinding'): BuiltinKind {
  const cluster = kind === 'ClusterRoleBinding';
  return {
    group: GROUP,
    kind,
    plural: `${kind.toLowerCase()}s`,
    definition: `rbac.v1.${kind}`,
    cluster,
    strategy: {
      allowCreateOnUpdate: true,
      validateName: checkPathSegment,
      default(object) {
        const binding = typed<ClusterRoleBinding>(object);
        binding.roleRef ??= { apiGroup: GROUP, kind: '', name: '' };
        binding.roleRef.apiGroup ||= GROUP;
        for (const subject of binding.subjects ?? []) if (subject.kind !== 'ServiceAccount') subject.apiGroup ||= GROUP;
      },
      validate: (object) => validateBinding(typed<ClusterRoleBinding>(object), !cluster),
      validateUpdate(next, old) {
        const { roleRef } = typed<ClusterRoleBinding>(next);
        return deepEqual(roleRef, typed<ClusterRoleBinding>(old).roleRef)
          ? []
          : [invalidValue('roleRef', roleRef, 'cannot change roleRef')];
      },
    },
    columns: [
      nameColumn,
      column('Role', (object) => {
        const { roleRef } = typed<ClusterRoleBinding>(object);
        return `${roleRef.kind}/${roleRef.name}`;
      }),
      ageColumn,
      column('Users', (object) => subjectsText(typed<ClusterRoleBinding>(object), 'User'), { wide: true }),
      column('Groups', (object) => subjectsText(typed<ClusterRoleBinding>(object), 'Group'), { wide: true }),
      column('ServiceAccounts', (object) => subjectsText(typed<ClusterRoleBinding>(object), 'ServiceAccount'), { wide: true }),
    ],
  };
}

export const rbacKinds: readonly BuiltinKind[] = [
  roleKind('Role'),
  roleKind('ClusterRole'),
  bindingKind('RoleBinding'),
  bindingKind('ClusterRoleBinding'),
];
