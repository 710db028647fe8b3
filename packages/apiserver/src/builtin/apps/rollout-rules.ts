import { type FieldError, forbiddenField, invalidValue, requiredValue, unsupportedValue } from '@slipway/apimachinery';
import type { WorkloadSpec } from './workload.ts';

type Amount = number | string | undefined;
interface Strategy {
  readonly type?: string;
  readonly rollingUpdate?: { readonly maxUnavailable?: Amount; readonly maxSurge?: Amount; readonly partition?: number };
}

const PERCENT_TEXT =
  "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/** How a number or percentage reads in a finding. */
const shown = (amount: Amount): string =>
  typeof amount === 'string'
    ? `intstr.IntOrString{Type:1, IntVal:0, StrVal:${JSON.stringify(amount)}}`
    : `intstr.IntOrString{Type:0, IntVal:${amount ?? 0}, StrVal:""}`;
const invalidAmount = (path: string, amount: Amount, reason: string): FieldError => ({
  type: 'Invalid',
  path,
  detail: `Invalid value: ${shown(amount)}: ${reason}`,
});
const numberOf = (amount: Amount): number => (typeof amount === 'number' ? amount : Number.parseInt(amount ?? '0', 10) || 0);

/** A finding for a negative number; none when it is absent. */
export const nonNegative = (value: unknown, path: string): FieldError[] =>
  typeof value === 'number' && value < 0 ? [invalidValue(path, value, 'must be greater than or equal to 0')] : [];

function validateAmount(amount: Amount, path: string): FieldError[] {
  if (typeof amount !== 'string') return nonNegative(amount, path);
  return /^[0-9]+%$/.test(amount) ? [] : [invalidAmount(path, amount, PERCENT_TEXT)];
}

const validateShare = (amount: Amount, path: string): FieldError[] =>
  typeof amount === 'string' && /^[0-9]+%$/.test(amount) && numberOf(amount) > 100
    ? [invalidAmount(path, amount, 'must not be greater than 100%')]
    : [];

/** Findings in how a Deployment rolls out. */
export function validateDeploymentRollout(spec: WorkloadSpec): FieldError[] {
  const errors = validateDeploymentStrategy(spec['strategy'] as Strategy | undefined); // an object by schema
  errors.push(...nonNegative(spec['revisionHistoryLimit'], 'spec.revisionHistoryLimit'));
  const deadline = spec['progressDeadlineSeconds'];
  const minReady = spec['minReadySeconds'] ?? 0;
  errors.push(...nonNegative(deadline, 'spec.progressDeadlineSeconds'));
  if (typeof deadline === 'number' && deadline <= Number(minReady)) {
    errors.push(invalidValue('spec.progressDeadlineSeconds', deadline, 'must be greater than minReadySeconds'));
  }
  return errors;
}

function validateDeploymentStrategy(strategy: Strategy = {}): FieldError[] {
  const path = 'spec.strategy';
  const { type, rollingUpdate } = strategy;
  if (type === 'Recreate') {
    if (rollingUpdate === undefined) return [];
    return [forbiddenField(`${path}.rollingUpdate`, "may not be specified when strategy `type` is 'Recreate'")];
  }
  if (type !== 'RollingUpdate') return [unsupportedValue(path, strategy, ['Recreate', 'RollingUpdate'])];
  const { maxUnavailable, maxSurge } = rollingUpdate ?? {};
  const place = `${path}.rollingUpdate.maxUnavailable`;
  const errors = [...validateAmount(maxUnavailable, place), ...validateAmount(maxSurge, `${path}.rollingUpdate.maxSurge`)];
  if (numberOf(maxUnavailable) === 0 && numberOf(maxSurge) === 0) {
    errors.push(invalidAmount(place, maxUnavailable, 'may not be 0 when `maxSurge` is 0'));
  }
  return [...errors, ...validateShare(maxUnavailable, place)];
}

/** Findings in how a DaemonSet updates its pods. */
export function validateDaemonSetRollout(spec: WorkloadSpec): FieldError[] {
  const errors = nonNegative(spec['revisionHistoryLimit'], 'spec.revisionHistoryLimit');
  const strategy = (spec['updateStrategy'] ?? {}) as Strategy; // an object by schema
  if (strategy.type === 'OnDelete') return errors;
  if (strategy.type !== 'RollingUpdate') {
    return [...errors, unsupportedValue('spec.updateStrategy', strategy, ['RollingUpdate', 'OnDelete'])];
  }
  const { maxUnavailable, maxSurge } = strategy.rollingUpdate ?? {};
  const path = 'spec.updateStrategy.rollingUpdate';
  errors.push(...validateAmount(maxUnavailable, `${path}.maxUnavailable`), ...validateAmount(maxSurge, `${path}.maxSurge`));
  errors.push(...validateShare(maxUnavailable, `${path}.maxUnavailable`), ...validateShare(maxSurge, `${path}.maxSurge`));
  const [hasUnavailable, hasSurge] = [numberOf(maxUnavailable) !== 0, numberOf(maxSurge) !== 0];
  if (hasUnavailable && hasSurge) {
    errors.push(invalidAmount(`${path}.maxSurge`, maxSurge, 'may not be set when maxUnavailable is non-zero'));
  }
  if (!hasUnavailable && !hasSurge) errors.push(requiredValue(`${path}.maxUnavailable`, 'cannot be 0 when maxSurge is 0'));
  return errors;
}

/** Findings in how a StatefulSet updates its pods. */
export function validateStatefulSetRollout(spec: WorkloadSpec): FieldError[] {
  const errors = nonNegative(spec['revisionHistoryLimit'], 'spec.revisionHistoryLimit');
  const strategy = (spec['updateStrategy'] ?? {}) as Strategy; // an object by schema
  const path = 'spec.updateStrategy';
  if (strategy.type === 'RollingUpdate') {
    return [...errors, ...nonNegative(strategy.rollingUpdate?.partition, `${path}.rollingUpdate.partition`)];
  }
  if (strategy.type !== 'OnDelete') return [...errors, invalidValue(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")];
  if (strategy.rollingUpdate === undefined) return errors;
  const reason = "only allowed for updateStrategy 'RollingUpdate'";
  return [...errors, invalidValue(`${path}.rollingUpdate`, strategy.rollingUpdate, reason)];
}
