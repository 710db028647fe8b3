// Reads timelines in the recorded form (one JSON document per case) and compares a replay with one.
import type { VirtualMachine } from '@slipway/api';
import type { PodFate } from '@slipway/testkit';
import type { Outcome, Step, Timeline } from './timeline.ts';

/** A recorded case, as far as it is used. */
export interface RecordedCase {
  readonly name: string;
  /** The field of the VM that says when it runs. */
  readonly runStrategy: { readonly runStrategy?: string; readonly running?: boolean };
  readonly scenario: string;
  readonly expect: {
    readonly actions: readonly { readonly do: string; readonly code?: number }[];
    readonly printableStatusAfterLastAction: readonly string[];
    readonly stateChangeRequests: readonly (readonly { readonly action: string; readonly uid?: string }[])[];
    readonly final: {
      readonly vm?: { readonly printableStatus?: string; readonly runStrategy?: string; readonly deleted?: boolean };
      readonly vmDeleted?: boolean;
      readonly vmiExists: boolean;
      readonly vmiInstances: number;
    };
  };
  readonly events: readonly { readonly reason: string }[];
  readonly timeline: readonly {
    readonly t: number;
    readonly action?: { readonly do: string; readonly request?: { readonly body?: unknown }; readonly response?: unknown };
  }[];
}

const FATES: Readonly<Record<string, PodFate>> = {
  'pod-failure': 'fails',
  'image-pull': 'image-pull',
  'stop-before-running': 'stays-pending',
  'delete-scheduling': 'stays-pending',
};

function stepOf(text: string): Pick<Step, 'act' | 'phase'> {
  if (text.includes('launcher pod')) return { act: 'deletePod' };
  if (text.startsWith('virt-handler')) return { act: 'guestEnds', phase: text.includes('Succeeded') ? 'Succeeded' : 'Failed' };
  if (text === 'patch-spec') return { act: 'patch' };
  if (text === 'delete-vmi') return { act: 'deleteInstance' };
  return { act: text as Step['act'] }; // the remaining verbs are the same
}

export function timelineOf(recorded: RecordedCase): Timeline {
  const actions = recorded.timeline.flatMap(({ t, action }) => (action === undefined ? [] : [{ t, action }]));
  const [created, ...rest] = actions;
  const vm: unknown = JSON.parse(
    JSON.stringify(created?.action.request?.body).replaceAll('NAME', 'web').replaceAll('NS', 'default'),
  );
  return {
    vm: vm as VirtualMachine, // what was posted
    fate: FATES[recorded.scenario] ?? 'runs',
    endMs: Math.ceil(recorded.timeline.at(-1)?.t ?? 0) * 1_000 + 1_000,
    steps: rest.map(({ t, action }) => {
      const body = action.request?.body;
      return { atMs: t * 1_000, ...stepOf(action.do), ...(typeof body === 'object' && body !== null && { body }) };
    }),
  };
}

type Expectation = RecordedCase['expect'];

/** A stop is queued for the instance; the strategy is the author's and stays. */
const queuesStop = (expect: Expectation): Expectation => ({
  ...expect,
  stateChangeRequests: [[{ action: 'Stop', uid: 'vmi#1' }]],
  final: { ...expect.final, vm: { ...expect.final.vm, runStrategy: 'RerunOnFailure' } },
});

/** An instance that has ended well is deleted, and the VM stays stopped. */
const deletesInstance = (expect: Expectation): Expectation => ({ ...expect, final: { ...expect.final, vmiExists: false } });

/** An instance that has failed is deleted, and a start is queued for the next one. */
const queuesStart = (expect: Expectation): Expectation => ({ ...expect, stateChangeRequests: [[{ action: 'Start' }]] });

/**
 * KubeVirt 1.9 gives RerunOnFailure a queue of requests where recordings of 1.1 show none (run strategies in
 * docs/dev/kubevirt-differences.md): by scenario, what is expected instead. Everything else is expected as recorded.
 */
const SETTLED: Readonly<Record<string, (expect: Expectation) => Expectation>> = {
  stop: queuesStop,
  'stop-force': queuesStop,
  'stop-before-running': queuesStop,
  'guest-shutdown': deletesInstance,
  'pod-deleted': deletesInstance,
  'guest-crash': queuesStart,
};

/** The case as the API level of this product has it. */
export function atApiLevel(recorded: RecordedCase): RecordedCase {
  const change = recorded.runStrategy.runStrategy === 'RerunOnFailure' ? SETTLED[recorded.scenario] : undefined;
  return change === undefined ? recorded : { ...recorded, expect: change(recorded.expect) };
}

/** States that a watcher may miss: they do not count. */
const BRIEF = new Set(['Stopping', 'Terminating']);

/** The statuses without the brief ones, changes only; a leading `Stopped` before a start may be missed too. */
function essential(statuses: readonly string[]): string {
  const lasting = statuses.filter((status) => !BRIEF.has(status));
  const changes = lasting.filter((status, index) => status !== lasting[index - 1]);
  const kept = changes.filter((status, index) => !(status === 'Stopped' && changes[index + 1] === 'Starting'));
  return kept.filter((status, index) => status !== kept[index - 1]).join(' ');
}

type Fact = string | number | boolean | undefined;

/** What differs in ways that matter. */
export function differences({ expect, events }: RecordedCase, outcome: Outcome): readonly string[] {
  const codes = expect.actions.flatMap(({ code }) => code ?? []);
  const requests = expect.stateChangeRequests.map((queue) =>
    queue.map(({ action, uid }) => (uid ? `${action} ${uid.replace('vmi#', '')}` : action)).join(', '),
  );
  const { vm, vmiExists, vmiInstances } = expect.final;
  const before = outcome.statuses[0] ?? '';
  const facts: readonly (readonly [name: string, wanted: Fact, found: Fact])[] = [
    ['codes', codes.join(), outcome.codes.join()],
    ['statuses', essential([before, ...expect.printableStatusAfterLastAction]), essential([before, ...outcome.statuses])],
    ['requests', [...new Set(requests)].join(' | '), [...new Set(outcome.requests)].join(' | ')],
    ['instances', vmiInstances, outcome.instances],
    ['instance at the end', vmiExists, outcome.vmi !== undefined],
    ['status at the end', vm?.printableStatus, outcome.vm?.status?.printableStatus],
    ['run strategy at the end', vm?.runStrategy, outcome.vm?.spec.runStrategy],
    ['events', [...new Set(events.map(({ reason }) => reason))].filter((reason) => !outcome.reasons.has(reason)).join(), ''],
  ];
  return facts
    .filter(([, wanted, found]) => wanted !== found)
    .map(([name, wanted, found]) => `${name}: ${String(wanted)} / ${String(found)}`);
}
