import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { type ObjectKey, type ObjectMeta, keyString } from '@slipway/apimachinery';
import { Histogram, type MetricFamily } from '@slipway/runtime';
import { secondsOf } from './families.ts';

type Transition = kubevirt.VirtualMachineInstancePhaseTransitionTimestamp;

/** Seconds; as KubeVirt groups the times of phases. */
export const PHASE_BOUNDS = [0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 90, 120, 180, 300, 600, 1200, 1800, 3600] as const;
const histogram = (name: string, help: string): Histogram => new Histogram({ name, help, bounds: PHASE_BOUNDS });

/** How long instances take from phase to phase; counts what has happened since the server started. */
export class PhaseTimes {
  /** Transitions of each instance that have been counted. */
  private readonly counted = new Map<string, { readonly uid: string; count: number }>();
  private readonly between = histogram(
    'kubevirt_vmi_phase_transition_time_seconds',
    'Histogram of VM phase transitions duration between different phases in seconds.',
  );
  private readonly fromCreation = histogram(
    'kubevirt_vmi_phase_transition_time_from_creation_seconds',
    'Histogram of VM phase transitions duration from creation time in seconds.',
  );
  private readonly fromDeletion = histogram(
    'kubevirt_vmi_phase_transition_time_from_deletion_seconds',
    'Histogram of VM phase transitions duration from deletion time in seconds.',
  );

  note(key: ObjectKey, vmi: VirtualMachineInstance | undefined): void {
    const id = keyString(key);
    if (vmi === undefined) {
      this.counted.delete(id);
      return;
    }
    const { uid = '' } = vmi.metadata;
    const transitions = vmi.status?.phaseTransitionTimestamps ?? [];
    const last = this.counted.get(id);
    const start = last?.uid === uid ? last.count : 0;
    this.counted.set(id, { uid, count: transitions.length });
    for (const [index, transition] of transitions.entries())
      if (index >= start) this.count(vmi.metadata, transition, transitions[index - 1]);
  }

  private count(
    { creationTimestamp, deletionTimestamp }: ObjectMeta,
    transition: Transition,
    before: Transition | undefined,
  ): void {
    const at = secondsOf(transition.phaseTransitionTimestamp);
    if (at === undefined) return;
    const [created, deleted] = [secondsOf(creationTimestamp), secondsOf(deletionTimestamp)];
    const previous = secondsOf(before?.phaseTransitionTimestamp);
    const phase = transition.phase ?? '';
    if (created !== undefined) this.fromCreation.observe({ phase }, Math.max(0, at - created));
    if (previous !== undefined) this.between.observe({ phase, last_phase: before?.phase ?? '' }, Math.max(0, at - previous));
    if (deleted !== undefined && at >= deleted) this.fromDeletion.observe({ phase }, at - deleted);
  }

  families(): MetricFamily[] {
    return [this.between.family(), this.fromCreation.family(), this.fromDeletion.family()];
  }
}
