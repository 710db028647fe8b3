import type { kubevirt, Pod, VirtualMachineInstance } from '@slipway/api';
import { PodKind, VirtualMachineInstanceKind } from '@slipway/api';
import { ignoreNotFound, isConflict, isNotFound, keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';

type State = kubevirt.VirtualMachineInstanceMigrationState;

/** How far the agents of both nodes bring a migration. */
export type MigrationFate =
  /** Everything at once. */
  | 'moves'
  /** The target's agent never answers. */
  | 'target-is-silent'
  /** Memory is copied until the test changes this. */
  | 'copies'
  /** The source's agent gives up. */
  | 'fails'
  /** The source has given the guest away and the target does not take it. */
  | 'given-away';

const TIME = '2026-05-01T12:00:00Z';

const STEPS = { silent: 0, listens: 1, copies: 2 } as const;

/** Next word of the agents in the migration's state; undefined: they have nothing to say. */
function nextState(state: State, fate: MigrationFate): State | undefined {
  if (state.completed || !state.migrationUid) return undefined;
  const failed = (failureReason: string): State => ({
    ...state,
    completed: true,
    failed: true,
    failureReason,
    endTimestamp: TIME,
  });
  if (state.abortRequested && state.targetNodeAddress)
    return { ...failed('Live migration was aborted'), abortStatus: 'Succeeded' };
  const reached = state.startTimestamp ? STEPS.copies : state.targetNodeAddress ? STEPS.listens : STEPS.silent;
  if (reached === STEPS.silent)
    return fate === 'target-is-silent'
      ? undefined
      : { ...state, targetNodeAddress: '192.0.2.2', targetDirectMigrationNodePorts: { '40000': 0 } };
  if (reached === STEPS.listens) return { ...state, startTimestamp: TIME };
  if (fate === 'fails') return failed('Live migration failed: the link broke');
  return fate === 'moves' ? { ...state, completed: true, targetNodeDomainReadyTimestamp: TIME, endTimestamp: TIME } : undefined;
}

/** Plays both agents of a migration by one step. */
export async function playMigration(
  client: Client,
  vmi: VirtualMachineInstance,
  pods: readonly Pod[],
  fate: MigrationFate,
): Promise<void> {
  const state = vmi.status?.migrationState ?? {};
  if (fate === 'given-away' && state.startTimestamp && !state.completed) return endSource(client, state, pods);
  const next = nextState(state, fate);
  if (next === undefined) return;
  const hasMoved = next.completed === true && next.failed !== true;
  try {
    await client.update(VirtualMachineInstanceKind, hasMoved ? moved(vmi, next) : withState(vmi, next));
  } catch (error) {
    // somebody else was faster: the next event brings the next try
    if (isConflict(error) || isNotFound(error)) return;
    throw error;
  }
  if (hasMoved) await endSource(client, state, pods);
}

const withState = (vmi: VirtualMachineInstance, migrationState: State): VirtualMachineInstance => ({
  ...vmi,
  status: { ...vmi.status, migrationState },
});

function moved(vmi: VirtualMachineInstance, state: State): VirtualMachineInstance {
  const { 'kubevirt.io/migrationTargetNodeName': _, ...labels } = vmi.metadata.labels ?? {};
  const nodeName = state.targetNode ?? '';
  return {
    ...withState({ ...vmi, metadata: { ...vmi.metadata, labels: { ...labels, 'kubevirt.io/nodeName': nodeName } } }, state),
    status: { ...vmi.status, nodeName, migrationState: state },
  };
}

async function endSource(client: Client, { sourcePod }: State, pods: readonly Pod[]): Promise<void> {
  const pod = pods.find(({ metadata }) => metadata.name === sourcePod);
  if (pod === undefined || pod.status?.phase === 'Succeeded') return;
  const status = { phase: 'Succeeded', conditions: [{ type: 'Ready', status: 'False' }] };
  await client.patch(PodKind, keyOf(pod), { status }, { type: 'merge', subresource: 'status' }).catch(ignoreNotFound);
}
