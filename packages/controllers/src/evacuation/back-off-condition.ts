import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { VmiCondition } from '@slipway/api';
import { conditionOf, transition } from '../virtual-machine-instance/instance-state.ts';

export const MIGRATION_BACK_OFF = 'MigrationBackoff';

/** The conditions of an instance that does, or does not, wait for its next evacuation; undefined when they are right. Pure. */
export function backOffConditions(
  vmi: VirtualMachineInstance,
  isWaiting: boolean,
  now: string,
): kubevirt.VirtualMachineInstanceCondition[] | undefined {
  const type = VmiCondition.synchronized;
  const known = conditionOf(vmi, type);
  const others = (vmi.status?.conditions ?? []).filter((condition) => condition.type !== type);
  const isOurs = known?.reason === MIGRATION_BACK_OFF;
  if (!isWaiting) return isOurs ? others : undefined;
  // another reason why it is not in order is more important
  if (known !== undefined) return undefined;
  const message = 'Evacuations have failed one after the other: the next one waits';
  return [
    ...others,
    transition<kubevirt.VirtualMachineInstanceCondition>(
      undefined,
      { type, status: 'False', reason: MIGRATION_BACK_OFF, message },
      now,
    ),
  ];
}
