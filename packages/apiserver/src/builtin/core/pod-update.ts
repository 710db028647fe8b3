import type { core } from '@slipway/api';
import { type FieldError, cloneJson, deepEqual, forbiddenField, invalidValue } from '@slipway/apimachinery';
import type { PodSpec } from './pod-defaults.ts';

const IMMUTABLE_TEXT =
  'pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to existing tolerations) or `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';

/** What may change in a Pod: images, a shorter deadline, more tolerations, fewer scheduling gates. */
export function validatePodUpdate(next: PodSpec, old: PodSpec): FieldError[] {
  const errors: FieldError[] = [];
  if ((next.containers ?? []).length !== (old.containers ?? []).length) {
    return [forbiddenField('spec.containers', 'pod updates may not add or remove containers')];
  }
  if ((next.initContainers ?? []).length !== (old.initContainers ?? []).length) {
    return [forbiddenField('spec.initContainers', 'pod updates may not add or remove containers')];
  }
  errors.push(...validateDeadline(next.activeDeadlineSeconds, old.activeDeadlineSeconds));
  errors.push(...validateTolerations(next.tolerations ?? [], old.tolerations ?? []));
  errors.push(...validateGates(next.schedulingGates ?? [], old.schedulingGates ?? []));
  if (!deepEqual(withMutablePartsOf(next, old), old)) errors.push(forbiddenField('spec', IMMUTABLE_TEXT));
  return errors;
}

function validateDeadline(next: number | undefined, old: number | undefined): FieldError[] {
  const path = 'spec.activeDeadlineSeconds';
  if (old !== undefined && next === undefined)
    return [invalidValue(path, null, 'must not update from a positive integer to nil value')];
  if (old !== undefined && next !== undefined && next > old)
    return [invalidValue(path, next, `must be less than or equal to previous value`)];
  return [];
}

function validateTolerations(next: readonly core.Toleration[], old: readonly core.Toleration[]): FieldError[] {
  const kept = old.every((toleration) => next.some((candidate) => sameToleration(candidate, toleration)));
  return kept ? [] : [forbiddenField('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds')];
}

function validateGates(next: readonly core.PodSchedulingGate[], old: readonly core.PodSchedulingGate[]): FieldError[] {
  const added = next.find(({ name }) => !old.some((gate) => gate.name === name));
  if (added === undefined) return [];
  return [forbiddenField('spec.schedulingGates', `only deletion is allowed, but found new scheduling gate '${added.name}'`)];
}

function sameToleration(a: core.Toleration, b: core.Toleration): boolean {
  return deepEqual({ ...a, tolerationSeconds: undefined }, { ...b, tolerationSeconds: undefined });
}

function withMutablePartsOf(next: PodSpec, old: PodSpec): PodSpec {
  const copy = cloneJson(next);
  copy.containers?.forEach((container, index) => (container.image = old.containers?.[index]?.image ?? ''));
  copy.initContainers?.forEach((container, index) => (container.image = old.initContainers?.[index]?.image ?? ''));
  keep(copy, old, 'activeDeadlineSeconds');
  keep(copy, old, 'tolerations');
  keep(copy, old, 'schedulingGates');
  if ((old.terminationGracePeriodSeconds ?? 0) < 0) keep(copy, old, 'terminationGracePeriodSeconds');
  return copy;
}

function keep<K extends keyof PodSpec>(copy: PodSpec, old: PodSpec, field: K): void {
  if (old[field] === undefined) delete copy[field];
  else copy[field] = old[field];
}
