import type { kubevirt, Node, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { type LabelSelectorObject, matchesLabels, selectorOf } from '@slipway/apimachinery';
import { matchesNodeSelector } from '../scheduler/node-selection.ts';
import { isDeleting, isFinal } from '../virtual-machine-instance/instance-state.ts';
import { scaledValue } from '../workload/int-or-percent.ts';
import { memberIndex, REVISION_LABEL } from './pool-member.ts';

type Pool = kubevirt.VirtualMachinePool;
type SelectionPolicy = kubevirt.VirtualMachinePoolSelectionPolicy;

/** Creations and deletions in one pass. */
const BURST = 250;
const DEFAULT_FAILURES = 3;
const DEFAULT_FAILING_MS = 5 * 60_000;

export interface Member {
  readonly vm: VirtualMachine;
  readonly vmi: VirtualMachineInstance | undefined;
  readonly node: Node | undefined;
}

export interface PoolInput {
  readonly pool: Pool;
  /** VMs that the pool owns. */
  readonly members: readonly Member[];
  /** Name of the revision that holds the present template. */
  readonly revision: string;
  /** Whether a revision's guest would differ from the present template's. */
  readonly isGuestOutdated: (revision: string | undefined) => boolean;
  readonly nowMs: number;
  /** In [0, 1). */
  readonly random: () => number;
}

export interface PoolPlan {
  readonly create: number;
  readonly remove: readonly VirtualMachine[];
  /** VMs whose spec is written anew from the template. */
  readonly update: readonly VirtualMachine[];
  /** Running VMs that must start again to follow the template. */
  readonly restart: readonly Member[];
  /** VMs that do not come up, to be replaced. */
  readonly heal: readonly VirtualMachine[];
  /** When a failing VM will have failed for long enough. */
  readonly retryInMs: number | undefined;
}

const IDLE: PoolPlan = { create: 0, remove: [], update: [], restart: [], heal: [], retryInMs: undefined };

const isRunning = ({ vmi }: Member): boolean => vmi !== undefined && !isFinal(vmi);

/** What brings the pool to what it asks for. A paused or leaving pool is left as it is. */
export function planPool(input: PoolInput): PoolPlan {
  const { pool, members } = input;
  if (pool.spec.paused === true || isDeleting(pool)) return IDLE;
  const present = members.filter(({ vm }) => !isDeleting(vm));
  const { heal, retryInMs } = planHealing(input, present);
  const healthy = present.filter(({ vm }) => !heal.includes(vm));
  const surplus = present.length - (pool.spec.replicas ?? 1);
  const remove = surplus > 0 ? planScaleIn(input, healthy, surplus) : [];
  const staying = healthy.filter(({ vm }) => !remove.includes(vm));
  return {
    create: Math.min(BURST, Math.max(0, -surplus)),
    remove,
    heal,
    ...planUpdate(input, staying, present.length),
    retryInMs,
  };
}

function planScaleIn({ pool, random }: PoolInput, members: readonly Member[], surplus: number): readonly VirtualMachine[] {
  const { unmanaged, opportunistic, proactive } = pool.spec.scaleInStrategy ?? {};
  if (unmanaged) return [];
  // an opportunistic pool waits until somebody stops a VM
  const candidates = opportunistic ? members.filter((member) => !isRunning(member)) : members;
  const ordered = inOrder(pool, candidates, proactive?.selectionPolicy, random);
  return ordered.slice(0, Math.min(surplus, BURST)).map(({ vm }) => vm);
}

function planUpdate(
  { pool, revision, isGuestOutdated, random }: PoolInput,
  members: readonly Member[],
  total: number,
): Pick<PoolPlan, 'update' | 'restart'> {
  const { unmanaged, opportunistic, proactive } = pool.spec.updateStrategy ?? {};
  if (unmanaged) return { update: [], restart: [] };
  const update = members.filter(({ vm }) => vm.metadata.labels?.[REVISION_LABEL] !== revision).map(({ vm }) => vm);
  if (opportunistic) return { update, restart: [] };
  const outdated = members.filter(
    ({ vm, vmi }) =>
      vmi !== undefined &&
      !isFinal(vmi) &&
      !isDeleting(vmi) &&
      !update.includes(vm) && // it is restarted once its new spec is there
      (vm.status?.stateChangeRequests ?? []).length === 0 &&
      isGuestOutdated(vmi.metadata.labels?.[REVISION_LABEL]),
  );
  const unavailable = members.filter(({ vm }) => vm.status?.ready !== true).length;
  const allowed = Math.max(1, scaledValue(pool.spec.maxUnavailable ?? '100%', total, true) ?? total) - unavailable;
  const ordered = inOrder(pool, outdated, proactive?.selectionPolicy, random);
  // a guest that is not available anyway costs nothing
  const [free, costly] = [ordered.filter(({ vm }) => !vm.status?.ready), ordered.filter(({ vm }) => vm.status?.ready)];
  return { update, restart: [...free, ...costly.slice(0, Math.max(0, allowed))] };
}

function planHealing({ pool, nowMs }: PoolInput, members: readonly Member[]): Pick<PoolPlan, 'heal' | 'retryInMs'> {
  const { autohealing } = pool.spec;
  if (!autohealing) return { heal: [], retryInMs: undefined };
  const failures = autohealing.startUpFailureThreshold ?? DEFAULT_FAILURES;
  const leastMs = durationMs(autohealing.minFailingToStartDuration) ?? DEFAULT_FAILING_MS;
  const heal: VirtualMachine[] = [];
  let retryInMs: number | undefined;
  for (const { vm } of members) {
    if ((vm.status?.startFailure?.consecutiveFailCount ?? 0) < failures) continue;
    const leftMs = leastMs - (nowMs - failingSince(vm));
    if (leftMs <= 0) heal.push(vm);
    else retryInMs = Math.min(retryInMs ?? leftMs, leftMs);
  }
  return { heal, retryInMs };
}

/** Since when the VM is not ready. */
function failingSince({ status, metadata }: VirtualMachine): number {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  return Date.parse(ready?.lastTransitionTime ?? metadata.creationTimestamp ?? '') || 0;
}

/** `1h30m`, `5m`, `90s`; undefined when it is none. */
export function durationMs(text: string | undefined): number | undefined {
  const [, hours, minutes, seconds] = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?$/.exec(text ?? '') ?? [];
  if ((hours ?? minutes ?? seconds) === undefined) return undefined;
  return (Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0)) * 1000;
}

/** Those that the policy's selectors name come first, each group in the order of the policy. */
function inOrder(
  pool: Pool,
  members: readonly Member[],
  policy: SelectionPolicy | undefined,
  random: () => number,
): readonly Member[] {
  const sorted = SORTS[policy?.sortPolicy ?? 'Random']?.(pool, members, random) ?? shuffled(members, random);
  const isNamed = selectorsOf(policy);
  return [...sorted.filter(isNamed), ...sorted.filter((member) => !isNamed(member))];
}

function selectorsOf({ selectors }: SelectionPolicy = {}): (member: Member) => boolean {
  const labels = selectorOf(selectors?.labelSelector as LabelSelectorObject | undefined); // differs in optionality only
  const nodes = selectors?.nodeSelectorRequirementMatcher;
  return ({ vm, node }) =>
    (labels === undefined || matchesLabels(labels, vm.metadata.labels ?? {})) &&
    (!nodes?.length || (node !== undefined && matchesNodeSelector([{ matchExpressions: nodes }], node)));
}

type Sort = (pool: Pool, members: readonly Member[], random: () => number) => readonly Member[];

const indexOf = (pool: Pool, { vm }: Member): number => memberIndex(pool, vm.metadata.name) ?? 0;
const age = ({ vm }: Member): number => Date.parse(vm.metadata.creationTimestamp ?? '') || 0;

const SORTS: Readonly<Record<string, Sort>> = {
  AscendingOrder: (pool, members) => [...members].sort((a, b) => indexOf(pool, a) - indexOf(pool, b)),
  DescendingOrder: (pool, members) => [...members].sort((a, b) => indexOf(pool, b) - indexOf(pool, a)),
  Newest: (pool, members) => [...members].sort((a, b) => age(b) - age(a) || indexOf(pool, b) - indexOf(pool, a)),
  Oldest: (pool, members) => [...members].sort((a, b) => age(a) - age(b) || indexOf(pool, a) - indexOf(pool, b)),
};

function shuffled(members: readonly Member[], random: () => number): readonly Member[] {
  return members
    .map((member) => ({ member, weight: random() }))
    .sort((a, b) => a.weight - b.weight)
    .map(({ member }) => member);
}
