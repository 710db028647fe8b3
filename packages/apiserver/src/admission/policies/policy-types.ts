import type { LabelSelectorObject, UnstructuredObject } from '@slipway/apimachinery';

/** The stored forms of policies and bindings; validation has checked them, defaults are filled. */
export interface NamedRule {
  operations?: string[];
  apiGroups?: string[];
  apiVersions?: string[];
  resources?: string[];
  resourceNames?: string[];
  scope?: string;
}

export interface MatchResources {
  resourceRules?: NamedRule[];
  excludeResourceRules?: NamedRule[];
  matchPolicy?: 'Equivalent' | 'Exact';
  namespaceSelector?: LabelSelectorObject;
  objectSelector?: LabelSelectorObject;
}

export interface NamedExpression {
  name: string;
  expression: string;
}

/** As clients send it, before validation has looked. */
export type Draft<T> = { readonly [K in keyof T]?: T[K] };

export interface Validation {
  expression: string;
  message?: string;
  messageExpression?: string;
  reason?: string;
}

export interface AuditAnnotation {
  key: string;
  valueExpression: string;
}

export interface ParamKind {
  apiVersion?: string;
  kind?: string;
}

export interface PolicySpec {
  failurePolicy?: 'Fail' | 'Ignore';
  paramKind?: ParamKind;
  matchConstraints?: MatchResources;
  matchConditions?: NamedExpression[];
  variables?: NamedExpression[];
  validations?: Validation[];
  auditAnnotations?: AuditAnnotation[];
}

export type Policy = UnstructuredObject & { spec?: PolicySpec };

export interface ParamRef {
  name?: string;
  namespace?: string;
  selector?: LabelSelectorObject;
  parameterNotFoundAction?: 'Allow' | 'Deny';
}

export interface BindingSpec {
  policyName?: string;
  paramRef?: ParamRef;
  matchResources?: MatchResources;
  validationActions?: ('Deny' | 'Warn' | 'Audit')[];
}

export type Binding = UnstructuredObject & { spec?: BindingSpec };

export const POLICY_GROUP = 'admissionregistration.k8s.io';
export const POLICIES = 'validatingadmissionpolicies';
export const BINDINGS = 'validatingadmissionpolicybindings';

/** Names that the expressions of a policy may use. */
export const policyVariables = ({ paramKind }: PolicySpec, withVariables = true): string[] => [
  ...['object', 'oldObject', 'request', 'namespaceObject', 'authorizer'],
  ...(withVariables ? ['variables'] : []),
  ...(paramKind === undefined ? [] : ['params']),
];
