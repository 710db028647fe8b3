import { isNotFound, isObject, StatusError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type Compared, getLive } from '../compare/resources.ts';
import { healthOf } from '../health/health.ts';
import type { HealthCode, Operation, ResourceResult, SyncPolicy } from '../kinds.ts';
import { applyOne, type ApplyOptions, optionsOf } from './apply.ts';
import { planPrune, type Task } from './plan.ts';

export interface SyncInput {
  readonly groups: readonly (readonly Task[])[];
  /** Run when a sync has failed, before it counts as that. */
  readonly onFailure?: readonly (readonly Task[])[];
  readonly resources: readonly Compared[];
  readonly operation: Operation;
  readonly policy: SyncPolicy;
  /** What earlier steps of this operation did. */
  readonly done: readonly ResourceResult[];
  readonly keep: ApplyOptions['keep'];
}

export interface SyncStep {
  readonly results: readonly ResourceResult[];
  readonly state: 'waiting' | 'failed' | 'done';
  readonly message: string;
}

/** Performs as much of a sync as can be done now; later calls go on with what they are given as done. */
export async function runSync(client: Client, input: SyncInput, signal: AbortSignal): Promise<SyncStep> {
  const results = [...input.done];
  const options = applyOptions(input);
  const step = await runGroups({ client, options, results }, input.groups, signal);
  if (step === undefined) return runPrune(client, input, results, signal);
  if (step.state === 'waiting') return { results, ...step };
  if (!options.dryRun) {
    const after = await runGroups({ client, options, results }, input.onFailure ?? [], signal);
    // a hook of a failure that fails too changes nothing
    if (after?.state === 'waiting') return { results, ...after };
  }
  return { results, ...step };
}

interface Progress {
  readonly client: Client;
  readonly options: ApplyOptions;
  readonly results: ResourceResult[];
}

/** Applies groups in their order; undefined when all is done. */
async function runGroups(
  { client, options, results }: Progress,
  groups: readonly (readonly Task[])[],
  signal: AbortSignal,
): Promise<Pick<SyncStep, 'state' | 'message'> | undefined> {
  for (const [index, group] of groups.entries()) {
    const isLast = index === groups.length - 1;
    for (const task of group)
      if (!results.some((result) => isOf(result, task))) results.push(await performed(client, task, options, signal));
    const own = results.filter((result) => group.some((task) => isOf(result, task)));
    if (own.some(({ status, hookPhase }) => status === 'SyncFailed' || hookPhase === 'Failed'))
      return { state: 'failed', message: 'one or more objects failed to apply' };
    const waiting = await firstWaiting(client, group, isLast, results, options.dryRun, signal);
    if (waiting === 'failed') return { state: 'failed', message: 'one or more synchronization tasks completed unsuccessfully' };
    if (waiting !== undefined) return { state: 'waiting', message: waiting };
  }
  return undefined;
}

/** Hooks of a deletion, which belong to no sync; undefined when all are done. */
export async function runHooks(
  client: Client,
  groups: readonly (readonly Task[])[],
  signal: AbortSignal,
): Promise<Pick<SyncStep, 'state' | 'message'> | undefined> {
  const results: ResourceResult[] = [];
  const options: ApplyOptions = { options: new Set(), dryRun: false, force: false, keep: (object) => object };
  // nothing is remembered between two steps: what is there has been made by an earlier one, so it stays until the end
  const kept = groups.map((group) => group.map((task) => ({ ...task, deletePolicies: [] })));
  for (const task of kept.flat())
    if (task.compared.live) results.push({ ...resultOf(task.compared), syncPhase: task.phase, hookPhase: 'Running' });
  const state = await runGroups({ client, options, results }, kept, signal);
  const policy = state === undefined ? 'HookSucceeded' : 'HookFailed';
  if (state?.state !== 'waiting')
    for (const task of groups.flat()) if (task.deletePolicies.includes(policy)) await deleteOne(client, task.compared, signal);
  return state;
}

async function runPrune(client: Client, input: SyncInput, results: ResourceResult[], signal: AbortSignal): Promise<SyncStep> {
  const options = applyOptions(input);
  for (const compared of planPrune(input.resources))
    results.push(await pruned(client, compared, options, input.operation.sync?.prune === true, signal));
  if (results.some(({ status }) => status === 'SyncFailed'))
    return { results, state: 'failed', message: 'one or more objects failed to apply' };
  const message = options.dryRun ? 'successfully synced (no more tasks, dry run)' : 'successfully synced (all tasks run)';
  return { results, state: 'done', message };
}

function applyOptions({ operation: { sync }, policy, keep }: SyncInput): ApplyOptions {
  const strategy = sync?.syncStrategy?.['apply'];
  return {
    options: new Set([...(policy.syncOptions ?? []), ...(sync?.syncOptions ?? [])]),
    dryRun: sync?.dryRun === true,
    force: isObject(strategy) && strategy['force'] === true,
    keep,
  };
}

const isOf = (result: ResourceResult, { compared, phase }: Task): boolean =>
  result.kind === compared.kind.kind &&
  result.group === compared.kind.group &&
  result.name === compared.name &&
  result.namespace === compared.namespace &&
  result.syncPhase === phase;

function resultOf({ kind, namespace, name }: Compared): ResourceResult {
  return { group: kind.group, version: kind.version, kind: kind.kind, namespace: kind.namespaced ? namespace : '', name };
}

async function performed(
  client: Client,
  { compared, phase, isHook, deletePolicies }: Task,
  options: ApplyOptions,
  signal: AbortSignal,
): Promise<ResourceResult> {
  const base = { ...resultOf(compared), syncPhase: phase, ...(isHook && { hookType: phase }) };
  const isUnchanged = compared.live !== undefined && compared.patch === undefined;
  if (!isHook && isUnchanged && options.options.has('ApplyOutOfSyncOnly=true'))
    return { ...base, status: 'Synced', message: 'unchanged' };
  try {
    if (isHook && compared.live && deletePolicies.includes('BeforeHookCreation') && !options.dryRun) {
      await deleteOne(client, compared, signal);
      const { live: _old, ...fresh } = compared;
      return { ...base, hookPhase: 'Running', message: await applyOne(client, fresh, options, signal) };
    }
    const message = await applyOne(client, compared, options, signal);
    return isHook ? { ...base, hookPhase: 'Running', message } : { ...base, status: 'Synced', message };
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    return { ...base, status: 'SyncFailed', message: error.message, ...(isHook && { hookPhase: 'Failed' }) };
  }
}

async function deleteOne(client: Client, { kind, namespace, name }: Compared, signal: AbortSignal): Promise<void> {
  try {
    await client.delete(kind, { namespace: kind.namespaced ? namespace : '', name }, { signal, propagationPolicy: 'Background' });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** What is waited for before the next group; hooks are waited for in the last group too. */
async function firstWaiting(
  client: Client,
  group: readonly Task[],
  isLast: boolean,
  results: ResourceResult[],
  isDryRun: boolean,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (isDryRun) return undefined;
  for (const task of group) {
    if (!task.isHook && isLast) continue;
    const waiting = task.isHook ? await hookState(client, task, results, signal) : await resourceState(client, task, signal);
    if (waiting !== undefined) return waiting;
  }
  return undefined;
}

const statusOf = async (client: Client, { compared }: Task, signal: AbortSignal): Promise<HealthCode | undefined> => {
  const live = await getLive(client, compared.kind, compared.namespace, compared.name, signal);
  return live && healthOf(live)?.status;
};

const nameOf = ({ compared: { kind, name } }: Task): string => `${kind.group}/${kind.kind}/${name}`;

async function resourceState(client: Client, task: Task, signal: AbortSignal): Promise<string | undefined> {
  const status = await statusOf(client, task, signal);
  const isReady = status === undefined || status === 'Healthy' || status === 'Suspended';
  return isReady ? undefined : `waiting for healthy state of ${nameOf(task)}`;
}

/** Ends a hook that has come to its end; gives what is waited for, or `failed`. */
async function hookState(
  client: Client,
  task: Task,
  results: ResourceResult[],
  signal: AbortSignal,
): Promise<string | undefined> {
  const index = results.findIndex((result) => isOf(result, task));
  const result = results[index];
  if (result === undefined || result.hookPhase === 'Succeeded') return undefined;
  const status = await statusOf(client, task, signal);
  const isFailed = status === 'Degraded';
  if (!isFailed && status !== undefined && status !== 'Healthy') return `waiting for completion of hook ${nameOf(task)}`;
  results[index] = { ...result, hookPhase: isFailed ? 'Failed' : 'Succeeded' };
  if (task.deletePolicies.includes(isFailed ? 'HookFailed' : 'HookSucceeded')) await deleteOne(client, task.compared, signal);
  return isFailed ? 'failed' : undefined;
}

async function pruned(
  client: Client,
  compared: Compared,
  { options, dryRun }: ApplyOptions,
  isAsked: boolean,
  signal: AbortSignal,
): Promise<ResourceResult> {
  const base = resultOf(compared);
  const chosen = compared.live ? optionsOf(compared.live as unknown as Record<string, unknown>, options) : options;
  if (!isAsked) return { ...base, status: 'PruneSkipped', message: 'ignored (requires pruning)' };
  if (chosen.has('Prune=false')) return { ...base, status: 'PruneSkipped', message: 'ignored (no prune)' };
  if (dryRun) return { ...base, status: 'Pruned', message: 'pruned (dry run)' };
  try {
    const policy = /foreground|background|orphan/i
      .exec([...chosen].find((option) => option.startsWith('PrunePropagationPolicy=')) ?? '')?.[0]
      .toLowerCase();
    const propagationPolicy = policy === 'orphan' ? 'Orphan' : policy === 'background' ? 'Background' : 'Foreground';
    const { kind, namespace, name } = compared;
    await client.delete(kind, { namespace: kind.namespaced ? namespace : '', name }, { signal, propagationPolicy });
    return { ...base, status: 'Pruned', message: 'pruned' };
  } catch (error) {
    if (isNotFound(error)) return { ...base, status: 'Pruned', message: 'pruned' };
    if (!(error instanceof StatusError)) throw error;
    return { ...base, status: 'SyncFailed', message: error.message };
  }
}
