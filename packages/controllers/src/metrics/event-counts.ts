import type { VirtualMachine, VirtualMachineInstance, VirtualMachineInstanceMigration } from '@slipway/api';
import { keyOf, keyString } from '@slipway/apimachinery';
import { Histogram, type InformerEvent, type MetricFamily } from '@slipway/runtime';
import { PHASE_BOUNDS } from './phase-times.ts';
import { secondsOf } from './families.ts';

/** `status.reason` that the agent gives an instance whose guest has panicked. */
const PANICKED = 'GuestPanicked';

/** Counts what has happened to VMs, instances and migrations since the server started, from the events of the caches. */
export class EventCounts {
  private readonly created = new Map<string, number>();
  private readonly panics = new Map<string, { readonly namespace: string; readonly name: string; count: number }>();
  private readonly migrationPhases = new Histogram({
    name: 'kubevirt_vmi_migration_phase_transition_time_from_creation_seconds',
    help: 'Histogram of VM migration phase transitions duration from creation time in seconds.',
    bounds: PHASE_BOUNDS,
  });
  private readonly startSeconds: number;

  constructor(startMs: number) {
    this.startSeconds = Math.floor(startMs / 1000);
  }

  noteVm({ type, object }: InformerEvent<VirtualMachine>): void {
    if (type === 'deleted') this.panics.delete(keyString(keyOf(object)));
    // those that were there before are in the first list
    if (type !== 'added' || (secondsOf(object.metadata.creationTimestamp) ?? 0) < this.startSeconds) return;
    const { namespace = '' } = object.metadata;
    this.created.set(namespace, (this.created.get(namespace) ?? 0) + 1);
  }

  noteVmi({ type, object, old }: InformerEvent<VirtualMachineInstance>): void {
    if (type !== 'updated' || object.status?.reason !== PANICKED || old.status?.reason === PANICKED) return;
    const key = keyOf(object);
    const entry = this.panics.get(keyString(key)) ?? { namespace: key.namespace, name: key.name, count: 0 };
    entry.count += 1;
    this.panics.set(keyString(key), entry);
  }

  noteMigration({ type, object: { metadata, status }, old }: InformerEvent<VirtualMachineInstanceMigration>): void {
    const phase = status?.phase;
    if (type !== 'updated' || phase === undefined || phase === old.status?.phase) return;
    const transition = status?.phaseTransitionTimestamps?.findLast((each) => each.phase === phase);
    const [at, created] = [secondsOf(transition?.phaseTransitionTimestamp), secondsOf(metadata.creationTimestamp)];
    if (at !== undefined && created !== undefined) this.migrationPhases.observe({ phase }, Math.max(0, at - created));
  }

  families(): MetricFamily[] {
    return [
      {
        name: 'kubevirt_vm_created_by_pod_total',
        help: 'The total number of VMs created by namespace and virt-api pod, since install.',
        type: 'counter',
        samples: [...this.created].map(([namespace, value]) => ({ labels: { namespace }, value })),
      },
      {
        name: 'kubevirt_vmi_guest_os_panic_total',
        help: 'The number of times that the guest said by its panic device that its kernel has panicked.',
        type: 'counter',
        samples: [...this.panics.values()].map(({ namespace, name, count }) => ({
          labels: { namespace, name, type: 'pvpanic', bugcheck_code: '' },
          value: count,
        })),
      },
      this.migrationPhases.family(),
    ];
  }
}
