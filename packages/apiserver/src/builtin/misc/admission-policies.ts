import {
  type FieldError,
  type LabelSelectorObject,
  checkDns1123Subdomain,
  checkQualifiedName,
  forbiddenField,
  invalidValue,
  requiredValue,
  tooMany,
  unsupportedValue,
  validateLabelSelector,
} from '@slipway/apimachinery';
import { isDeclarableName } from '@slipway/schema';
import {
  type AuditAnnotation,
  BINDINGS,
  type BindingSpec,
  type Draft,
  type NamedExpression,
  POLICIES,
  POLICY_GROUP,
  type ParamKind,
  type ParamRef,
  type Policy,
  type PolicySpec,
  type Validation,
  type Binding,
  policyVariables,
} from '../../admission/policies/policy-types.ts';
import { oneOf } from '../core/pod-validation.ts';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';
import { compileErrors, validateMatchConditions } from './match-conditions.ts';
import { defaultMatchResources, validateMatchResources } from './match-resources.ts';

const REASONS = ['Forbidden', 'Invalid', 'RequestEntityTooLarge', 'Unauthorized'];
const MAX_AUDIT_ANNOTATIONS = 20;

const hasLineBreak = (text: string): boolean => /[\r\n]/.test(text);

function validatePolicy(policy: Policy): FieldError[] {
  const spec = policy.spec ?? {};
  const { validations = [], auditAnnotations = [], variables = [] } = spec;
  const errors: FieldError[] = [];
  oneOf(spec.failurePolicy, ['Fail', 'Ignore'], 'spec.failurePolicy', errors);
  if (spec.paramKind !== undefined) errors.push(...validateParamKind(spec.paramKind, 'spec.paramKind'));
  if (spec.matchConstraints === undefined) errors.push(requiredValue('spec.matchConstraints'));
  else {
    errors.push(...validateMatchResources(spec.matchConstraints, 'spec.matchConstraints'));
    if ((spec.matchConstraints.resourceRules ?? []).length === 0)
      errors.push(requiredValue('spec.matchConstraints.resourceRules'));
  }
  errors.push(...validateMatchConditions(spec.matchConditions ?? [], 'spec.matchConditions', policyVariables(spec, false)));
  errors.push(...validateVariables(spec));
  if (validations.length + auditAnnotations.length === 0) {
    const text = 'validations or auditAnnotations must be non-empty';
    errors.push(requiredValue('spec.validations', text), requiredValue('spec.auditAnnotations', text));
  }
  const known = variables.map(({ name }) => name);
  validations.forEach((validation, index) =>
    errors.push(...validateValidation(validation, `spec.validations[${index}]`, spec, known)),
  );
  errors.push(...validateAuditAnnotations(auditAnnotations, spec, policy.metadata.name ?? '', known));
  return errors;
}

function validateParamKind({ apiVersion = '', kind = '' }: ParamKind, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (apiVersion === '') errors.push(requiredValue(`${path}.apiVersion`));
  else if (apiVersion.split('/').length > 2) {
    errors.push(invalidValue(`${path}.apiVersion`, apiVersion, `unexpected GroupVersion string: ${apiVersion}`));
  }
  if (kind === '') errors.push(requiredValue(`${path}.kind`));
  return errors;
}

/** A variable may use those declared before it. */
function validateVariables(spec: PolicySpec): FieldError[] {
  const errors: FieldError[] = [];
  const known: string[] = [];
  (spec.variables ?? []).forEach(({ name = '', expression = '' }: Draft<NamedExpression>, index) => {
    const path = `spec.variables[${index}]`;
    if (name.trim() === '') errors.push(requiredValue(`${path}.name`, 'name is not specified'));
    else if (!isDeclarableName(name)) errors.push(invalidValue(`${path}.name`, name, 'name is not a valid CEL identifier'));
    else if (known.includes(name)) {
      errors.push({ type: 'Duplicate', path: `${path}.name`, detail: `Duplicate value: ${JSON.stringify(name)}` });
    }
    if (expression.trim() === '') errors.push(requiredValue(`${path}.expression`, 'expression is not specified'));
    else errors.push(...compileErrors(`${path}.expression`, expression, policyVariables(spec), 'any', [...known]));
    known.push(name);
  });
  return errors;
}

function validateValidation(
  validation: Draft<Validation>,
  path: string,
  spec: PolicySpec,
  known: readonly string[],
): FieldError[] {
  const { expression = '', message, messageExpression, reason } = validation;
  const errors: FieldError[] = [];
  if (expression.trim() === '') errors.push(requiredValue(`${path}.expression`, 'expression is not specified'));
  else errors.push(...compileErrors(`${path}.expression`, expression, policyVariables(spec), 'bool', known));
  if (messageExpression !== undefined && messageExpression.trim() === '') {
    errors.push(invalidValue(`${path}.messageExpression`, messageExpression, 'must be non-empty if specified'));
  } else if (messageExpression !== undefined) {
    const names = policyVariables(spec);
    errors.push(...compileErrors(`${path}.messageExpression`, messageExpression, names, 'string', known));
  }
  if (message !== undefined && message !== '') {
    if (message.trim() === '') errors.push(invalidValue(`${path}.message`, message, 'message must be non-empty if specified'));
    else if (hasLineBreak(message)) {
      errors.push(invalidValue(`${path}.message`, message, 'message must not contain line breaks'));
    }
  } else if (hasLineBreak(expression.trim()) && messageExpression === undefined) {
    errors.push(requiredValue(`${path}.message`, 'message must be specified if expression contains line breaks'));
  }
  if (reason !== undefined && reason !== '') oneOf(reason, REASONS, `${path}.reason`, errors);
  return errors;
}

function validateAuditAnnotations(
  annotations: readonly AuditAnnotation[],
  spec: PolicySpec,
  policyName: string,
  known: readonly string[],
): FieldError[] {
  const errors: FieldError[] = [];
  if (annotations.length > MAX_AUDIT_ANNOTATIONS) {
    errors.push(tooMany('spec.auditAnnotations', annotations.length, MAX_AUDIT_ANNOTATIONS));
  }
  annotations.forEach(({ key = '', valueExpression = '' }: Draft<AuditAnnotation>, index) => {
    const path = `spec.auditAnnotations[${index}]`;
    if (key === '') errors.push(requiredValue(`${path}.key`));
    else for (const text of checkQualifiedName(`${policyName}/${key}`)) errors.push(invalidValue(`${path}.key`, key, text));
    if (annotations.findIndex((other) => other.key === key) !== index) {
      errors.push({ type: 'Duplicate', path: `${path}.key`, detail: `Duplicate value: ${JSON.stringify(key)}` });
    }
    if (valueExpression.trim() === '') {
      errors.push(requiredValue(`${path}.valueExpression`, 'valueExpression is not specified'));
    } else {
      const names = policyVariables(spec);
      errors.push(...compileErrors(`${path}.valueExpression`, valueExpression, names, 'optional-string', known));
    }
  });
  return errors;
}

const ACTIONS = ['Audit', 'Deny', 'Warn'];

function validateBinding({ policyName = '', paramRef, matchResources, validationActions = [] }: BindingSpec): FieldError[] {
  const errors: FieldError[] = [];
  if (policyName === '') errors.push(requiredValue('spec.policyName'));
  else for (const text of checkDns1123Subdomain(policyName)) errors.push(invalidValue('spec.policyName', policyName, text));
  if (paramRef !== undefined) errors.push(...validateParamRef(paramRef, 'spec.paramRef'));
  if (matchResources !== undefined) errors.push(...validateMatchResources(matchResources, 'spec.matchResources'));
  return [...errors, ...validateActions(validationActions, 'spec.validationActions')];
}

function validateActions(actions: readonly string[], path: string): FieldError[] {
  if (actions.length === 0) return [requiredValue(path, 'at least one validation action is required')];
  const errors: FieldError[] = [];
  actions.forEach((action, index) => {
    if (!ACTIONS.includes(action)) errors.push(unsupportedValue(`${path}[${index}]`, action, ACTIONS));
    if (actions.indexOf(action) !== index) {
      errors.push({ type: 'Duplicate', path: `${path}[${index}]`, detail: `Duplicate value: ${JSON.stringify(action)}` });
    }
  });
  if (actions.includes('Deny') && actions.includes('Warn')) {
    const text =
      'must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)';
    errors.push(invalidValue(path, actions, text));
  }
  return errors;
}

function validateParamRef({ name = '', selector, parameterNotFoundAction }: ParamRef, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (name !== '' && selector !== undefined) {
    const text = 'name and selector are mutually exclusive';
    errors.push(forbiddenField(`${path}.name`, text), forbiddenField(`${path}.selector`, text));
  } else if (name !== '') {
    if (name === '.' || name === '..' || /[/%]/.test(name)) {
      errors.push(invalidValue(`${path}.name`, name, "may not be '.', '..' or contain '/' or '%'"));
    }
  } else if (selector === undefined) {
    errors.push(requiredValue(path, 'one of name or selector must be specified'));
  } else errors.push(...validateLabelSelector(selector as LabelSelectorObject, `${path}.selector`));
  if (parameterNotFoundAction === undefined) errors.push(requiredValue(`${path}.parameterNotFoundAction`));
  else oneOf(parameterNotFoundAction, ['Allow', 'Deny'], `${path}.parameterNotFoundAction`, errors);
  return errors;
}

const textOfParamKind = (kind: ParamKind | undefined): string =>
  kind === undefined ? '<unset>' : `${kind.apiVersion}/${kind.kind}`;

const shared = { group: POLICY_GROUP, cluster: true, categories: ['api-extensions'], storageVersion: 'v1' } as const;

function policyKind(version: string): BuiltinKind {
  return {
    ...shared,
    version,
    kind: 'ValidatingAdmissionPolicy',
    plural: POLICIES,
    definition: 'admissionregistration.v1.ValidatingAdmissionPolicy',
    status: true,
    strategy: {
      allowUnconditionalUpdate: false,
      hasGeneration: true,
      default(object) {
        const { spec } = typed<Policy>(object);
        if (spec === undefined) return;
        spec.failurePolicy ??= 'Fail';
        defaultMatchResources(spec.matchConstraints);
      },
      prepareForCreate(object) {
        delete object['status'];
      },
      validate: (object) => validatePolicy(typed<Policy>(object)),
    },
    columns: [
      nameColumn,
      column('Validations', (object) => typed<Policy>(object).spec?.validations?.length ?? 0, { type: 'integer' }),
      column('ParamKind', (object) => textOfParamKind(typed<Policy>(object).spec?.paramKind)),
      ageColumn,
    ],
  };
}

function bindingKind(version: string): BuiltinKind {
  return {
    ...shared,
    version,
    kind: 'ValidatingAdmissionPolicyBinding',
    plural: BINDINGS,
    definition: 'admissionregistration.v1.ValidatingAdmissionPolicyBinding',
    strategy: {
      allowUnconditionalUpdate: false,
      hasGeneration: true,
      default: (object) => defaultMatchResources(typed<Binding>(object).spec?.matchResources),
      validate: (object) => validateBinding(typed<Binding>(object).spec ?? {}),
    },
    columns: [
      nameColumn,
      column('PolicyName', (object) => typed<Binding>(object).spec?.policyName ?? ''),
      column('ParamRef', (object) => paramRefText(typed<Binding>(object).spec?.paramRef)),
      ageColumn,
    ],
  };
}

function paramRefText(ref: ParamRef | undefined): string {
  if (ref === undefined) return '<unset>';
  if (ref.name === undefined) return '*';
  return ref.namespace === undefined ? ref.name : `${ref.namespace}/${ref.name}`;
}

/** The beta version has been off by default since it exists. */
export const admissionPolicyKinds: readonly BuiltinKind[] = [policyKind('v1'), bindingKind('v1')];
