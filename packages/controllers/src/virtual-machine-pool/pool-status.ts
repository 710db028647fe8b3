import type { kubevirt, VirtualMachine } from '@slipway/api';
import { formatLabelSelector, type LabelSelectorObject, selectorOf } from '@slipway/apimachinery';
import { isDeleting, transition } from '../virtual-machine-instance/instance-state.ts';

type Pool = kubevirt.VirtualMachinePool;

export interface PoolFailure {
  readonly reason: string;
  readonly message: string;
}

/** `status` of the pool; the selector is there for autoscalers. `now` is RFC 3339. */
export function poolStatus(
  pool: Pool,
  vms: readonly VirtualMachine[],
  failure: PoolFailure | undefined,
  now: string,
): kubevirt.VirtualMachinePoolStatus {
  const present = vms.filter((vm) => !isDeleting(vm));
  const wanted = [
    ...(failure === undefined ? [] : [{ type: 'ReplicaFailure', status: 'True', ...failure }]),
    ...(pool.spec.paused === true
      ? [{ type: 'ReplicaPaused', status: 'True', reason: 'Paused', message: 'Controller got paused' }]
      : []),
  ];
  const conditions = wanted.map((text) =>
    transition(
      pool.status?.conditions?.find(({ type }) => type === text.type),
      text,
      now,
    ),
  );
  return {
    replicas: present.length,
    readyReplicas: present.filter(({ status }) => status?.ready === true).length,
    labelSelector: selectorText(pool),
    ...(conditions.length > 0 && { conditions: [...conditions] }),
  };
}

function selectorText({ spec }: Pool): string {
  const { matchLabels = {} } = spec.selector;
  const selector = selectorOf(spec.selector as LabelSelectorObject) ?? []; // published type differs in optionality only
  // matchLabels are written as equality, which is what autoscalers and people expect
  const isEquality = ({ key, operator, values }: (typeof selector)[number]): boolean =>
    operator === 'In' && values.length === 1 && matchLabels[key] === values[0];
  return formatLabelSelector(selector.map((term) => (isEquality(term) ? { ...term, operator: '=' } : term)));
}
