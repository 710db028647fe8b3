import type { CompactDefinitions, CompactNode } from './crds/compact-schemas.ts';

const V1 = 'admissionregistration.v1';
type Tree = Exclude<CompactNode, string>;
type Fields = Readonly<Record<string, CompactNode>>;

const list = (of: string, more: Tree = {}): Tree => ({ t: 'array', i: of, ...more });
const object = (f: Fields, required: readonly string[] = []): Tree => ({
  t: 'object',
  ...(required.length > 0 && { required }),
  f,
});
const ATOMIC = { listType: 'atomic' };
const byKey = (key: string): Tree => ({
  listType: 'map',
  listMapKeys: [key],
  patchMergeKey: key,
  patchStrategy: 'merge',
});
const root = (fields: Fields): Tree =>
  object({ apiVersion: 'string', kind: 'string', metadata: '#meta.v1.ObjectMeta', ...fields });

/** Field trees of the policies that came to Kubernetes after the release the generated table is made from. */
export const admissionPolicyDefinitions: CompactDefinitions = {
  [`${V1}.ValidatingAdmissionPolicy`]: root({
    spec: `#${V1}.ValidatingAdmissionPolicySpec`,
    status: `#${V1}.ValidatingAdmissionPolicyStatus`,
  }),
  [`${V1}.ValidatingAdmissionPolicySpec`]: object({
    auditAnnotations: list(`#${V1}.AuditAnnotation`, ATOMIC),
    failurePolicy: 'string',
    matchConditions: list(`#${V1}.MatchCondition`, byKey('name')),
    matchConstraints: `#${V1}.MatchResources`,
    paramKind: { ...object({ apiVersion: 'string', kind: 'string' }), mapType: 'atomic' },
    validations: list(`#${V1}.Validation`, ATOMIC),
    variables: list(`#${V1}.Variable`, byKey('name')),
  }),
  [`${V1}.ValidatingAdmissionPolicyStatus`]: object({
    conditions: list('#meta.v1.Condition', { listType: 'map', listMapKeys: ['type'] }),
    observedGeneration: { t: 'integer', format: 'int64' },
    typeChecking: object({
      expressionWarnings: list(`#${V1}.ExpressionWarning`, ATOMIC),
    }),
  }),
  [`${V1}.ExpressionWarning`]: object({ fieldRef: 'string', warning: 'string' }, ['fieldRef', 'warning']),
  [`${V1}.AuditAnnotation`]: object({ key: 'string', valueExpression: 'string' }, ['key', 'valueExpression']),
  [`${V1}.Validation`]: object({ expression: 'string', message: 'string', messageExpression: 'string', reason: 'string' }, [
    'expression',
  ]),
  [`${V1}.Variable`]: { ...object({ expression: 'string', name: 'string' }, ['name', 'expression']), mapType: 'atomic' },
  [`${V1}.NamedRuleWithOperations`]: {
    ...object({
      apiGroups: list('string', ATOMIC),
      apiVersions: list('string', ATOMIC),
      operations: list('string', ATOMIC),
      resourceNames: list('string', ATOMIC),
      resources: list('string', ATOMIC),
      scope: 'string',
    }),
    mapType: 'atomic',
  },
  [`${V1}.MatchResources`]: {
    ...object({
      excludeResourceRules: list(`#${V1}.NamedRuleWithOperations`, ATOMIC),
      matchPolicy: 'string',
      namespaceSelector: '#meta.v1.LabelSelector',
      objectSelector: '#meta.v1.LabelSelector',
      resourceRules: list(`#${V1}.NamedRuleWithOperations`, ATOMIC),
    }),
    mapType: 'atomic',
  },
  [`${V1}.ValidatingAdmissionPolicyBinding`]: root({ spec: `#${V1}.ValidatingAdmissionPolicyBindingSpec` }),
  [`${V1}.ValidatingAdmissionPolicyBindingSpec`]: object({
    matchResources: `#${V1}.MatchResources`,
    paramRef: {
      ...object({
        name: 'string',
        namespace: 'string',
        parameterNotFoundAction: 'string',
        selector: '#meta.v1.LabelSelector',
      }),
      mapType: 'atomic',
    },
    policyName: 'string',
    validationActions: list('string', { listType: 'set' }),
  }),
};
