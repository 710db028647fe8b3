import type { core } from '@slipway/api';
import {
  type FieldError,
  type LabelSelectorObject,
  checkLabelValue,
  checkQualifiedName,
  forbiddenField,
  invalidValue,
  requiredValue,
  unsupportedValue,
  validateLabelSelector,
} from '@slipway/apimachinery';
import type { PodSpec } from './pod-defaults.ts';

const EFFECTS = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];

/** Findings in where a pod may run. */
export function validateScheduling(spec: Partial<PodSpec>, path: string): FieldError[] {
  const { affinity, nodeSelector = {}, tolerations = [], topologySpreadConstraints = [] } = spec;
  return [
    ...Object.entries(nodeSelector).flatMap(([key, value]) => validateLabel(key, value, `${path}.nodeSelector`)),
    ...tolerations.flatMap((toleration, index) => validateToleration(toleration, `${path}.tolerations[${index}]`)),
    ...(affinity === undefined ? [] : validateAffinity(affinity, `${path}.affinity`)),
    ...topologySpreadConstraints.flatMap((constraint, index) =>
      validateSpread(constraint, `${path}.topologySpreadConstraints[${index}]`),
    ),
  ];
}

const validateKey = (key: string, path: string): FieldError[] =>
  checkQualifiedName(key).map((text) => invalidValue(path, key, text));
const validateLabel = (key: string, value: string, path: string): FieldError[] => [
  ...validateKey(key, path),
  ...checkLabelValue(value).map((text) => invalidValue(path, value, text)),
];

function validateToleration(toleration: core.Toleration, path: string): FieldError[] {
  const { key = '', operator, effect } = toleration;
  const errors = key === '' ? [] : validateKey(key, `${path}.key`);
  if (key === '' && operator !== 'Exists') {
    const text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"';
    errors.push(invalidValue(`${path}.operator`, operator ?? '', text));
  }
  if (toleration.tolerationSeconds !== undefined && effect !== 'NoExecute') {
    errors.push(invalidValue(`${path}.effect`, effect ?? '', "effect must be 'NoExecute' when `tolerationSeconds` is set"));
  }
  errors.push(...validateOperator(toleration, `${path}.operator`));
  if (effect && !EFFECTS.includes(effect)) errors.push(unsupportedValue(`${path}.effect`, effect, EFFECTS));
  return errors;
}

function validateOperator({ operator = 'Equal', value = '', ...rest }: core.Toleration, path: string): FieldError[] {
  if (operator === 'Exists') {
    const text = "value must be empty when `operator` is 'Exists'";
    return value === '' ? [] : [invalidValue(path, { ...rest, operator, value }, text)];
  }
  if (operator !== 'Equal') return [unsupportedValue(path, operator, ['Equal', 'Exists'])];
  const complaint = checkLabelValue(value).join(';');
  return complaint === '' ? [] : [invalidValue(path, value, complaint)];
}

function validateAffinity({ nodeAffinity, podAffinity, podAntiAffinity }: core.Affinity, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const required = nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const place = `${path}.nodeAffinity`;
  if (required !== undefined) {
    const terms = required.nodeSelectorTerms ?? [];
    const there = `${place}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms`;
    if (terms.length === 0) errors.push(requiredValue(there, 'must have at least one node selector term'));
    terms.forEach((term, index) => errors.push(...validateNodeTerm(term, `${there}[${index}]`)));
  }
  (nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).forEach(({ weight, preference }, index) => {
    const there = `${place}.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
    errors.push(...validateWeight(weight, there), ...validateNodeTerm(preference ?? {}, `${there}.preference`));
  });
  if (podAffinity !== undefined) errors.push(...validatePodAffinity(podAffinity, `${path}.podAffinity`));
  if (podAntiAffinity !== undefined) errors.push(...validatePodAffinity(podAntiAffinity, `${path}.podAntiAffinity`));
  return errors;
}

const validateWeight = (weight: number, path: string): FieldError[] =>
  weight >= 1 && weight <= 100 ? [] : [invalidValue(`${path}.weight`, weight, 'must be in the range 1-100')];

function validateNodeTerm({ matchExpressions = [] }: core.NodeSelectorTerm, path: string): FieldError[] {
  return matchExpressions.flatMap((expression, index) =>
    validateNodeExpression(expression, `${path}.matchExpressions[${index}]`),
  );
}

function validateNodeExpression({ key, operator, values = [] }: core.NodeSelectorRequirement, path: string): FieldError[] {
  const errors: FieldError[] = [];
  switch (operator as string) {
    case 'In':
    case 'NotIn':
      if (values.length === 0)
        errors.push(requiredValue(`${path}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      break;
    case 'Exists':
    case 'DoesNotExist':
      if (values.length > 0)
        errors.push(forbiddenField(`${path}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
      break;
    case 'Gt':
    case 'Lt':
      if (values.length !== 1)
        errors.push(requiredValue(`${path}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
      break;
    default:
      errors.push(invalidValue(`${path}.operator`, operator, 'not a valid selector operator'));
  }
  return [...errors, ...validateKey(key ?? '', `${path}.key`)];
}

function validatePodAffinity(affinity: core.PodAffinity | core.PodAntiAffinity, path: string): FieldError[] {
  const required = affinity.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const preferred = affinity.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return [
    ...required.flatMap((term, index) =>
      validatePodTerm(term, `${path}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`),
    ),
    ...preferred.flatMap(({ weight, podAffinityTerm }, index) => {
      const place = `${path}.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
      return [...validateWeight(weight, place), ...validatePodTerm(podAffinityTerm, `${place}.podAffinityTerm`)];
    }),
  ];
}

function validatePodTerm(term: Partial<core.PodAffinityTerm> = {}, path: string): FieldError[] {
  const { labelSelector, namespaceSelector, topologyKey = '' } = term;
  const selector = (object: unknown, field: string): FieldError[] =>
    object === undefined ? [] : validateLabelSelector(object as LabelSelectorObject, `${path}.${field}`); // a selector by schema
  return [
    ...selector(labelSelector, 'labelSelector'),
    ...selector(namespaceSelector, 'namespaceSelector'),
    ...(topologyKey === '' ? [requiredValue(`${path}.topologyKey`, 'can not be empty')] : []),
    ...validateKey(topologyKey, `${path}.topologyKey`),
  ];
}

function validateSpread(constraint: core.TopologySpreadConstraint, path: string): FieldError[] {
  const { maxSkew, topologyKey, whenUnsatisfiable } = constraint;
  const errors: FieldError[] = [];
  if (maxSkew <= 0) errors.push(invalidValue(`${path}.maxSkew`, maxSkew, 'must be greater than zero'));
  if (!topologyKey) errors.push(requiredValue(`${path}.topologyKey`, 'can not be empty'));
  const actions = ['DoNotSchedule', 'ScheduleAnyway'];
  if (!actions.includes(whenUnsatisfiable))
    errors.push(unsupportedValue(`${path}.whenUnsatisfiable`, whenUnsatisfiable ?? '', actions));
  return errors;
}
