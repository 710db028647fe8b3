import type { Client } from '@slipway/client';
import type { JsonObject } from '@slipway/apimachinery';
import { withoutIgnored } from '../compare/normalize.ts';
import { type Compared, resourceKey } from '../compare/resources.ts';
import {
  type Application,
  type ApplicationCondition,
  type HistoryEntry,
  type Operation,
  type OperationState,
  type ResourceResult,
  sourcesOf,
} from '../kinds.ts';
import { planSync } from '../sync/plan.ts';
import { runSync } from '../sync/run.ts';
import type { Comparison } from './comparison.ts';

export interface WantedOperation {
  readonly operation: Operation;
  readonly startedAt?: string;
  readonly state?: OperationState;
  /** A retry waits until then. */
  readonly notBeforeMs?: number;
}

const SELF_HEAL_MS = 5_000;
const HISTORY_LIMIT = 10;

/** What is to be done: an operation that somebody asked for, one that runs, or one that the policy starts. */
export function wantedOperation(
  app: Application,
  { desired, resources }: Comparison,
  nowMs: number,
  /** Whether a sync may begin by itself now. */
  mayStart: boolean,
): WantedOperation | undefined {
  if (app.operation?.sync) return { operation: app.operation };
  const state = app.status?.operationState;
  if (state?.phase === 'Running')
    return { operation: state.operation, startedAt: state.startedAt, state, notBeforeMs: retryAtMs(state) };
  const { automated, retry } = app.spec.syncPolicy ?? {};
  if (automated === undefined || automated.enabled === false || !mayStart) return undefined;
  if (!hasAutomaticChange(automated, resources) || wasTried(automated, state, desired.revisions, nowMs)) return undefined;
  const [revision] = desired.revisions;
  const isMulti = desired.revisions.length > 1;
  const prune = automated.prune === true;
  const sync = { prune, ...(isMulti ? { revisions: desired.revisions } : revision !== undefined && { revision }) };
  return { operation: { sync, initiatedBy: { automated: true }, ...(retry && { retry }) } };
}

/** When an attempt that failed is made again; an attempt that goes on has no end. */
function retryAtMs({ finishedAt, retryCount = 0, operation }: OperationState): number {
  return finishedAt === undefined ? 0 : Date.parse(finishedAt) + backoffMs(operation, retryCount - 1);
}

function backoffMs({ retry }: Operation, retries: number): number {
  const { duration = '5s', factor = 2, maxDuration = '3m' } = retry?.backoff ?? {};
  return Math.min(durationMs(duration) * factor ** retries, durationMs(maxDuration));
}

type Automated = NonNullable<NonNullable<Application['spec']['syncPolicy']>['automated']>;

/** Whether there is something to do that nobody needs to ask for. */
function hasAutomaticChange(automated: Automated, resources: readonly Compared[]): boolean {
  const prune = automated.prune === true;
  const changed = resources.filter(({ target, live, patch }) =>
    target ? live === undefined || patch !== undefined : prune && live !== undefined,
  );
  if (changed.length === 0) return false;
  return !prune || automated.allowEmpty === true || resources.some(({ target }) => target !== undefined);
}

/** A revision is synced once by itself; live changes are taken back when the policy heals. */
function wasTried(automated: Automated, state: OperationState | undefined, revisions: readonly string[], nowMs: number): boolean {
  if (state === undefined) return false;
  const { syncResult } = state;
  const tried = syncResult?.revisions ?? (syncResult?.revision ? [syncResult.revision] : []);
  if (tried.join() !== revisions.join()) return false;
  const isAfterHeal = nowMs - Date.parse(state.finishedAt ?? state.startedAt) >= SELF_HEAL_MS;
  // a revision that failed is not tried again by itself
  return automated.selfHeal !== true || state.phase !== 'Succeeded' || !isAfterHeal;
}

export interface OperationStep {
  readonly state: OperationState;
  readonly history?: readonly HistoryEntry[];
  readonly conditions: readonly ApplicationCondition[];
  readonly retryAfterMs?: number;
}

/** Goes one step further with an operation. */
export async function advanceOperation(
  client: Client,
  app: Application,
  { desired, resources, hooks }: Comparison,
  wanted: WantedOperation,
  now: string,
  signal: AbortSignal,
): Promise<OperationStep> {
  const { operation, state } = wanted;
  const startedAt = wanted.startedAt ?? now;
  const selected = operation.sync?.resources;
  const chosen = resources.filter((resource) => selected === undefined || isSelected(resource, selected));
  const groups = planSync(chosen, selected === undefined ? hooks : []);
  const keep = keeper(app, operation);
  const step = await runSync(
    client,
    {
      groups,
      onFailure: selected === undefined ? planSync([], hooks, ['SyncFail']) : [],
      resources: chosen,
      operation,
      policy: app.spec.syncPolicy ?? {},
      done: doneOf(state),
      keep,
    },
    signal,
  );
  const revisions = revisionFields(app, desired.revisions);
  const base = {
    startedAt,
    operation,
    syncResult: { ...revisions, resources: step.results },
    ...retriesOf(state),
  };
  if (step.state === 'waiting') return { state: { ...base, phase: 'Running', message: step.message }, conditions: [] };
  if (step.state === 'failed') return failedStep(base, operation, state?.retryCount ?? 0, step.message, now);
  const finished: OperationState = { ...base, phase: 'Succeeded', message: step.message, finishedAt: now };
  if (operation.sync?.dryRun || selected !== undefined) return { state: finished, conditions: [] };
  return { state: finished, history: withHistory(app, { revisions, startedAt, operation }, now), conditions: [] };
}

/** What a retry need not do again: not what failed, nor what a failure has set off. */
const keptByRetry = (results: readonly ResourceResult[] = []): readonly ResourceResult[] =>
  results.filter(
    ({ status, hookPhase, syncPhase }) => status !== 'SyncFailed' && hookPhase !== 'Failed' && syncPhase !== 'SyncFail',
  );

/** With `RespectIgnoreDifferences` what is ignored is not changed either. */
function keeper({ spec }: Application, { sync }: Operation): (object: JsonObject) => JsonObject {
  const options = [...(spec.syncPolicy?.syncOptions ?? []), ...(sync?.syncOptions ?? [])];
  const rules = options.includes('RespectIgnoreDifferences=true') ? (spec.ignoreDifferences ?? []) : [];
  return (object) => withoutIgnored(object, rules);
}

const doneOf = (state: OperationState | undefined): readonly ResourceResult[] => state?.syncResult?.resources ?? [];

const retriesOf = (state: OperationState | undefined): Pick<OperationState, 'retryCount'> =>
  state?.retryCount === undefined ? {} : { retryCount: state.retryCount };

type RevisionFields = Pick<HistoryEntry, 'revision' | 'revisions' | 'source' | 'sources'>;

function revisionFields({ spec }: Application, revisions: readonly string[]): RevisionFields {
  if (spec.sources !== undefined && spec.sources.length > 0) return { revisions, sources: sourcesOf(spec) };
  return { revision: revisions[0] ?? '', ...(spec.source && { source: spec.source }) };
}

interface Deployed {
  readonly revisions: RevisionFields;
  readonly startedAt: string;
  readonly operation: Operation;
}

function withHistory(app: Application, { revisions, startedAt, operation }: Deployed, now: string): readonly HistoryEntry[] {
  const old = app.status?.history ?? [];
  const entry: HistoryEntry = {
    id: (old.at(-1)?.id ?? -1) + 1,
    ...revisions,
    deployedAt: now,
    deployStartedAt: startedAt,
    ...(operation.initiatedBy && { initiatedBy: { ...operation.initiatedBy } }),
  };
  return [...old, entry].slice(-(app.spec.revisionHistoryLimit ?? HISTORY_LIMIT));
}

function isSelected(
  { kind, namespace, name }: Compared,
  selected: NonNullable<NonNullable<Operation['sync']>['resources']>,
): boolean {
  const key = resourceKey({ group: kind.group, kind: kind.kind, namespace: kind.namespaced ? namespace : '', name });
  return selected.some(
    (entry) => resourceKey({ ...entry, namespace: entry.namespace ?? (kind.namespaced ? namespace : '') }) === key,
  );
}

function failedStep(
  base: Omit<OperationState, 'phase'>,
  operation: Operation,
  retries: number,
  message: string,
  now: string,
): OperationStep {
  const limit = operation.retry?.limit ?? 0;
  const details = base.syncResult?.resources?.find(({ status }) => status === 'SyncFailed')?.message;
  const text = details === undefined ? message : `${message}: ${details}`;
  if (limit < 0 || retries < limit) {
    const resources = keptByRetry(base.syncResult?.resources);
    return {
      state: {
        ...base,
        syncResult: { ...base.syncResult, resources },
        phase: 'Running',
        message: `${text}. Retrying attempt #${retries + 1}`,
        retryCount: retries + 1,
        finishedAt: now,
      },
      conditions: [],
      retryAfterMs: backoffMs(operation, retries),
    };
  }
  const condition = { type: 'SyncError', message: `Failed last sync attempt: ${text}` };
  return {
    state: { ...base, phase: 'Failed', message: text, finishedAt: now },
    conditions: [condition],
  };
}

function durationMs(text: string): number {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  let sum = 0;
  for (const [, amount = '0', unit = 's'] of text.matchAll(/([\d.]+)(ms|s|m|h)?/g)) sum += Number(amount) * (units[unit] ?? 0);
  return sum;
}
