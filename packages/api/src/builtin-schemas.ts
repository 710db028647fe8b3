import type { StructuralSchema } from '@slipway/apimachinery';
import table from '../schemas/builtin.json' with { type: 'json' };
import { admissionPolicyDefinitions } from './admission-policy-schemas.ts';
import { type CompactDefinitions, compactExpander } from './crds/compact-schemas.ts';

/** Defaults that the keys of list maps depend on. */
const KEY_DEFAULTS: readonly (readonly [definition: string, field: string, value: string])[] = [
  ['core.v1.ContainerPort', 'protocol', 'TCP'],
  ['core.v1.ServicePort', 'protocol', 'TCP'],
];

/**
 * Schemas of the kinds that Kubernetes itself brings, by definition name (`core.v1.Pod`, `apps.v1.Deployment`). They
 * carry types, list semantics and merge keys; rules beyond that are code. Expanded on first use, nodes are shared.
 */
export function builtinSchemas(): (definition: string) => StructuralSchema {
  // the generated table in the compact notation
  const definitions: CompactDefinitions = {
    ...(table.definitions as unknown as CompactDefinitions),
    ...admissionPolicyDefinitions,
  };
  const expand = compactExpander(definitions);
  for (const [definition, field, value] of KEY_DEFAULTS) {
    const properties = expand(`#${definition}`).properties;
    if (properties?.[field] !== undefined) properties[field] = { ...properties[field], default: value };
  }
  return (definition) => {
    const { required, ...schema } = expand(`#${definition}`);
    const rest = required?.filter((field) => field !== 'apiVersion' && field !== 'kind') ?? [];
    return rest.length > 0 ? { ...schema, required: rest } : schema;
  };
}
