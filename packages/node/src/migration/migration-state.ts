import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { Label } from '@slipway/api';
import { formatTime } from '@slipway/apimachinery';

type State = kubevirt.VirtualMachineInstanceMigrationState;

/** The instance with its migration's state changed, while it is still that migration's. Pure. */
export function withMigrationState(
  vmi: VirtualMachineInstance,
  migration: string,
  change: (state: State) => State,
): VirtualMachineInstance {
  const state = vmi.status?.migrationState;
  if (state?.migrationUid !== migration || state.completed) return vmi;
  const next = change(state);
  return next === state ? vmi : { ...vmi, status: { ...vmi.status, migrationState: next } };
}

/** A migration that goes on, and on which side of it this pod is. */
export interface Role {
  readonly migration: string;
  readonly side: 'source' | 'target';
  readonly state: State;
}

/** What the migration of an instance means for one pod of it on one node; undefined when nothing (any more). Pure. */
export function roleOf(vmi: VirtualMachineInstance, pod: string, node: string): Role | undefined {
  const state = vmi.status?.migrationState;
  const migration = state?.migrationUid;
  if (state === undefined || migration === undefined || state.completed || state.failed) return undefined;
  if (state.sourcePod === pod && state.sourceNode === node) return { migration, side: 'source', state };
  if (state.targetPod === pod && state.targetNode === node) return { migration, side: 'target', state };
  return undefined;
}

/** The target has published where it listens. */
export function publishedPort({ targetNodeAddress, targetDirectMigrationNodePorts }: State): number | undefined {
  const port = Number(Object.keys(targetDirectMigrationNodePorts ?? {})[0]);
  return targetNodeAddress !== undefined && Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
}

/** The instance when its migration has failed: the guest goes on where it is. Pure. */
export function failedMigration(
  vmi: VirtualMachineInstance,
  migration: string,
  { reason, isAborted, nowMs }: { readonly reason: string; readonly isAborted: boolean; readonly nowMs: number },
): VirtualMachineInstance {
  return withMigrationState(vmi, migration, (state) => ({
    ...state,
    ...{ completed: true, failed: true, failureReason: reason, endTimestamp: formatTime(nowMs) },
    ...(isAborted && { abortStatus: 'Succeeded' }),
  }));
}

/** The instance on its new node, in one step. Pure; the same object when it is there already. */
export function movedInstance(
  vmi: VirtualMachineInstance,
  migration: string,
  { node, nowMs }: { readonly node: string; readonly nowMs: number },
): VirtualMachineInstance {
  const now = formatTime(nowMs);
  const moved = withMigrationState(vmi, migration, (state) => ({
    ...state,
    ...{ targetNodeDomainDetected: true, targetNodeDomainReadyTimestamp: now, completed: true, endTimestamp: now },
  }));
  if (moved === vmi) return vmi;
  const { [Label.migrationTargetNodeName]: _, ...labels } = vmi.metadata.labels ?? {};
  return {
    ...moved,
    metadata: { ...vmi.metadata, labels: { ...labels, [Label.nodeName]: node } },
    status: { ...moved.status, nodeName: node },
  };
}
