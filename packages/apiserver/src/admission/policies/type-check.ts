import { type StructuralSchema, apiVersionOf } from '@slipway/apimachinery';
import { typeComplaint } from '@slipway/schema';
import type { Registry } from '../../registry/registry.ts';
import type { ResourceDefinition } from '../../registry/resource-definition.ts';
import { type ParamKind, type PolicySpec, policyVariables } from './policy-types.ts';

/** Kinds that one policy is checked against; it may apply to more. */
const MAX_KINDS = 10;

export interface ExpressionWarning {
  readonly fieldRef: string;
  readonly warning: string;
}

/** Fields that the expressions of a policy read but its kinds do not have. Rules with wildcards name no kinds. */
export function checkTypes(registry: Registry, spec: PolicySpec): ExpressionWarning[] {
  const kinds = kindsOf(registry, spec);
  if (kinds.length === 0) return [];
  const params = paramSchema(registry, spec.paramKind);
  const names = policyVariables(spec);
  const expressions = (spec.validations ?? []).flatMap(({ expression, messageExpression }, index): [string, string][] => [
    [`spec.validations[${index}].expression`, expression],
    ...(messageExpression === undefined
      ? []
      : [[`spec.validations[${index}].messageExpression`, messageExpression] as [string, string]]),
  ]);
  return expressions.flatMap(([fieldRef, expression]) => {
    const complaints = kinds.flatMap((definition) => {
      const { schema } = definition;
      if (schema === undefined) return [];
      const schemas = { object: schema, oldObject: schema, ...(params && { params }) };
      const complaint = typeComplaint(expression, names, schemas);
      return complaint === undefined ? [] : [`${apiVersionOf(definition)}, Kind=${definition.kind}: ${complaint}\n`];
    });
    return complaints.length === 0 ? [] : [{ fieldRef, warning: complaints.join('') }];
  });
}

function kindsOf(registry: Registry, { matchConstraints }: PolicySpec): ResourceDefinition[] {
  const found = new Set<ResourceDefinition>();
  for (const { apiGroups = [], apiVersions = [], resources = [] } of matchConstraints?.resourceRules ?? []) {
    for (const group of apiGroups) {
      for (const version of apiVersions) {
        for (const plural of resources) {
          const definition = registry.find(group, version, plural); // nothing is called `*`
          if (definition !== undefined) found.add(definition);
        }
      }
    }
  }
  return [...found].slice(0, MAX_KINDS);
}

function paramSchema(registry: Registry, kind: ParamKind | undefined): StructuralSchema | undefined {
  if (kind === undefined) return undefined;
  const [version = '', group = ''] = (kind.apiVersion ?? '').split('/').reverse();
  return registry.findByKind(group, version, kind.kind ?? '')?.schema;
}
