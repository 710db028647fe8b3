import { ignoreNotFound } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { Compared } from '../compare/resources.ts';
import { type Application, CASCADE_FINALIZERS, DeletionHookFinalizer } from '../kinds.ts';
import { SourceError } from '../sources/source-error.ts';
import { type Hook, planSync } from '../sync/plan.ts';
import { runHooks } from '../sync/run.ts';

/** Finalizers of an application that its deletion works off, in their order. */
export const DELETION_STEPS: readonly ReadonlySet<string>[] = [
  new Set([DeletionHookFinalizer.PreDelete]),
  CASCADE_FINALIZERS,
  new Set([DeletionHookFinalizer.PostDelete]),
];

export interface Deletion {
  readonly client: Client;
  readonly app: Application;
  /** What is still there of the application's objects. */
  readonly left: (signal: AbortSignal) => Promise<readonly Compared[]>;
  readonly hooks: (signal: AbortSignal) => Promise<readonly Hook[]>;
}

/** Goes on with one step; true when it is done. Throws SourceError when a hook failed. */
export async function deletionStep(deletion: Deletion, step: ReadonlySet<string>, signal: AbortSignal): Promise<boolean> {
  if (step === CASCADE_FINALIZERS) return cascade(deletion, signal);
  const phase = step.has(DeletionHookFinalizer.PreDelete) ? 'PreDelete' : 'PostDelete';
  const state = await runHooks(deletion.client, planSync([], await deletion.hooks(signal), [phase]), signal);
  if (state?.state === 'failed') throw new SourceError(`a hook of phase ${phase} failed: ${state.message}`);
  return state === undefined;
}

async function cascade({ client, app, left }: Deletion, signal: AbortSignal): Promise<boolean> {
  const isBackground = app.metadata.finalizers?.some((entry) => entry.endsWith('/background')) === true;
  for (const { kind, namespace, name, live } of await left(signal)) {
    if (live?.metadata.deletionTimestamp !== undefined) continue;
    const propagationPolicy = isBackground ? 'Background' : 'Foreground';
    await client.delete(kind, { namespace, name }, { signal, propagationPolicy }).catch(ignoreNotFound);
  }
  return (await left(signal)).length === 0;
}
