import type { ResourceDefinition, ResourceVerb } from './resource-definition.ts';

/** What may be done with objects of a kind unless it says otherwise. */
export const BUILT_IN_VERBS: readonly ResourceVerb[] = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
];

/** A definition without schema, columns or rules: enough to store objects of a kind. */
export function simpleDefinition(
  kind: Pick<ResourceDefinition, 'group' | 'version' | 'kind' | 'plural' | 'namespaced'>,
  overrides: Partial<ResourceDefinition> = {},
): ResourceDefinition {
  const { group, version, kind: name, plural, namespaced } = kind;
  return {
    group,
    version,
    kind: name,
    plural,
    namespaced,
    singular: '',
    listKind: `${name}List`,
    shortNames: [],
    categories: [],
    verbs: BUILT_IN_VERBS,
    subresources: { status: true },
    custom: false,
    strategy: { allowUnconditionalUpdate: true },
    ...overrides,
  };
}
