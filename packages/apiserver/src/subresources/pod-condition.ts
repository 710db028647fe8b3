import { type UnstructuredObject, isObject } from '@slipway/apimachinery';

/** `status.conditions[]` of a pod. */
export interface PodCondition {
  readonly type: string;
  readonly status: string;
  readonly [field: string]: unknown;
}

/** Puts the condition into the pod in place of an older one of its type. */
export function withCondition(pod: UnstructuredObject, condition: PodCondition): void {
  const status = (isObject(pod['status']) ? pod['status'] : {}) as { conditions?: PodCondition[] }; // validated on write
  const others = (status.conditions ?? []).filter(({ type }) => type !== condition.type);
  pod['status'] = { ...status, conditions: [...others, condition] };
}
