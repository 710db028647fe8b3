import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { formatLabelSelector, type LabelSelectorObject, selectorOf } from '@slipway/apimachinery';
import { VmiCondition } from '@slipway/api';
import { hasCondition, isDeleting, isFinal, transition } from '../virtual-machine-instance/instance-state.ts';

type ReplicaSet = kubevirt.VirtualMachineInstanceReplicaSet;

/** Creations and deletions in one pass. */
const BURST = 250;

export interface ReplicaPlan {
  readonly create: number;
  readonly remove: readonly VirtualMachineInstance[];
}

/** What brings the set to its number of replicas. Ended instances are replaced; a paused set is left as it is. */
export function planReplicas(set: ReplicaSet, owned: readonly VirtualMachineInstance[]): ReplicaPlan {
  if (set.spec.paused === true || isDeleting(set)) return { create: 0, remove: [] };
  const present = owned.filter((vmi) => !isDeleting(vmi));
  const ended = present.filter(isFinal);
  const active = present.filter((vmi) => !isFinal(vmi));
  const surplus = active.length - (set.spec.replicas ?? 1);
  const removable = surplus > 0 ? [...active].sort(leastMissedFirst).slice(0, surplus) : [];
  return { create: Math.min(BURST, Math.max(0, -surplus)), remove: [...ended, ...removable].slice(0, BURST) };
}

const isReady = (vmi: VirtualMachineInstance): boolean => hasCondition(vmi, VmiCondition.ready);

/** Instances that are not ready go first, then the youngest. */
function leastMissedFirst(left: VirtualMachineInstance, right: VirtualMachineInstance): number {
  if (isReady(left) !== isReady(right)) return isReady(left) ? 1 : -1;
  return (right.metadata.creationTimestamp ?? '').localeCompare(left.metadata.creationTimestamp ?? '');
}

/** A new member of the set. */
export function memberOf(set: ReplicaSet): VirtualMachineInstance {
  const { metadata, spec } = set.spec.template;
  const { name = '', namespace = '', uid = '' } = set.metadata;
  // the published metadata type allows any JSON where the API allows text
  const labels = { ...metadata?.labels } as Record<string, string>;
  const annotations = { ...metadata?.annotations } as Record<string, string>;
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: {
      generateName: name,
      namespace,
      labels,
      annotations,
      ownerReferences: [
        {
          apiVersion: 'kubevirt.io/v1',
          kind: 'VirtualMachineInstanceReplicaSet',
          name,
          uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: structuredClone(spec ?? { domain: { devices: {} } }),
  };
}

export interface ReplicaFailure {
  readonly reason: string;
  readonly message: string;
}

/** `status` of the set; the selector is there for autoscalers. `now` is RFC 3339. */
export function replicaSetStatus(
  set: ReplicaSet,
  owned: readonly VirtualMachineInstance[],
  failure: ReplicaFailure | undefined,
  now: string,
): kubevirt.VirtualMachineInstanceReplicaSetStatus {
  const active = owned.filter((vmi) => !isFinal(vmi) && !isDeleting(vmi));
  const wanted = [
    ...(failure === undefined ? [] : [{ type: 'ReplicaFailure', status: 'True', ...failure }]),
    ...(set.spec.paused === true
      ? [{ type: 'ReplicaPaused', status: 'True', reason: 'Paused', message: 'Controller got paused' }]
      : []),
  ];
  const conditions = wanted.map((text) =>
    transition(
      set.status?.conditions?.find(({ type }) => type === text.type),
      text,
      now,
    ),
  );
  return {
    replicas: active.length,
    readyReplicas: active.filter(isReady).length,
    labelSelector: selectorText(set),
    ...(conditions.length > 0 && { conditions: [...conditions] }),
  };
}

function selectorText(set: ReplicaSet): string {
  const { matchLabels = {} } = set.spec.selector;
  const selector = selectorOf(set.spec.selector as LabelSelectorObject) ?? []; // published type differs in optionality only
  // matchLabels are written as equality, which is what autoscalers and people expect
  const isEquality = ({ key, operator, values }: (typeof selector)[number]): boolean =>
    operator === 'In' && values.length === 1 && matchLabels[key] === values[0];
  return formatLabelSelector(selector.map((term) => (isEquality(term) ? { ...term, operator: '=' } : term)));
}
