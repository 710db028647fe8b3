import { ignoreNotFound, isConflict, type JsonObject, type ObjectKey, StatusError } from '@slipway/apimachinery';
import { NamespaceKind } from '@slipway/api';
import { after, done, type EventRecorder, type Logger, type Reconciler, type Result } from '@slipway/runtime';
import {
  Annotation,
  type Application,
  type ApplicationCondition,
  ApplicationKind,
  type ApplicationStatus,
  type AppProject,
  AppProjectKind,
  CASCADE_FINALIZERS,
  DeletionHookFinalizer,
  GITOPS_NAMESPACES,
  type Operation,
  type OperationState,
} from '../kinds.ts';
import { SourceError } from '../sources/source-error.ts';
import { maySync } from '../sync/windows.ts';
import { Comparer, type ComparerDeps, type Comparison, isSourceFault } from './comparison.ts';
import { type Deletion, DELETION_STEPS, deletionStep } from './deletion.ts';
import { hasArgoCd } from './desired.ts';
import { advanceOperation, type WantedOperation, wantedOperation } from './operation.ts';
import { specComplaints } from './project.ts';
import { POLL_MS } from './resolved-revisions.ts';
import { comparedStatus, sharedWarnings, statusPatch } from './status.ts';

export interface ApplicationDeps extends ComparerDeps {
  readonly log: Logger;
  readonly events: EventRecorder;
  readonly random: () => number;
}

const JITTER_MS = 60_000;
const BUSY_MS = 2_000;
const ARGO_CHECK_MS = 60_000;

/** A closed window is looked at again after this. */
const WINDOW_MS = 30_000;
/** Keeps the objects of an Application as its sources say, in the way of Argo CD. */
export class ApplicationReconciler implements Reconciler {
  private argo: { readonly at: number; readonly found: boolean } | undefined;
  private readonly comparer: Comparer;
  private readonly deps: ApplicationDeps;

  constructor(deps: ApplicationDeps) {
    this.deps = deps;
    this.comparer = new Comparer(deps);
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const app = await this.read(key, signal);
    if (app === undefined || !GITOPS_NAMESPACES.has(key.namespace)) return done;
    if (app.metadata.annotations?.[Annotation.skipReconcile] === 'true') return done;
    if (await this.isElsewhere(signal)) return after(ARGO_CHECK_MS);
    const project = await this.project(app, signal);
    if (app.metadata.deletionTimestamp !== undefined) return this.remove(app, project, signal);
    const complaints = specComplaints(app.spec, project);
    if (project === undefined || complaints.length > 0) return this.invalid(app, complaints, signal);
    try {
      return await this.compareAndSync(app, project, signal);
    } catch (error) {
      if (!isSourceFault(error)) throw error;
      return this.uncomparable(app, error.message, signal);
    }
  }

  private async read(key: ObjectKey, signal: AbortSignal): Promise<Application | undefined> {
    // read anew: the cache may be older than what the last reconcile wrote
    return this.deps.client.get(ApplicationKind, key, { signal }).catch(ignoreNotFound);
  }

  private async isElsewhere(signal: AbortSignal): Promise<boolean> {
    const now = this.deps.clock.now();
    if (this.argo === undefined || now - this.argo.at > ARGO_CHECK_MS)
      this.argo = { at: now, found: await hasArgoCd(this.deps.client, signal) };
    return this.argo.found;
  }

  private async project(app: Application, signal: AbortSignal): Promise<AppProject | undefined> {
    const key = { namespace: app.metadata.namespace ?? '', name: app.spec.project || 'default' };
    return this.deps.client.get(AppProjectKind, key, { signal }).catch(ignoreNotFound);
  }

  private timestamp(): string {
    return new Date(this.deps.clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
  }

  /** The project changes or the application does: both bring it here again. */
  private async invalid(app: Application, complaints: readonly string[], signal: AbortSignal): Promise<Result> {
    const conditions = complaints.map((message) => ({ type: 'InvalidSpecError', message }));
    const status = { ...app.status, sync: { status: 'Unknown' as const }, health: { status: 'Unknown' as const }, conditions };
    await this.refuse(app, status, complaints.join('; '), signal);
    return done;
  }

  private async uncomparable(app: Application, message: string, signal: AbortSignal): Promise<Result> {
    const text = `Failed to load target state: failed to generate manifest for source 1 of ${app.spec.sources?.length ?? 1}: ${message}`;
    const status = {
      ...app.status,
      sync: { ...app.status?.sync, status: 'Unknown' as const },
      health: app.status?.health ?? { status: 'Unknown' as const },
      conditions: [{ type: 'ComparisonError', message: text }],
    };
    await this.refuse(app, status, text, signal);
    return after(this.pollDelay());
  }

  /** An operation that cannot even begin ends here, and one that runs as well. */
  private async refuse(app: Application, status: ApplicationStatus, message: string, signal: AbortSignal): Promise<void> {
    const old = app.status?.operationState;
    const running = app.operation ?? (old?.phase === 'Running' ? old.operation : undefined);
    const now = this.timestamp();
    const operationState = running && {
      ...{ phase: 'Error' as const, message, operation: running, finishedAt: now },
      startedAt: app.operation === undefined ? (old?.startedAt ?? now) : now,
    };
    await this.write(app, { ...status, ...(operationState && { operationState }) }, { operation: null }, signal);
  }

  private pollDelay(): number {
    return POLL_MS + Math.floor(this.deps.random() * JITTER_MS);
  }

  /** Compares, and goes a step further with an operation when there is or should be one. */
  private async compareAndSync(app: Application, project: AppProject, signal: AbortSignal): Promise<Result> {
    const first = await this.comparer.compare(app, project, [], signal);
    await this.keepFinalizers(app, first, signal);
    const now = this.deps.clock.now();
    const operation = wantedOperation(app, first, now, maySync(project, app, false, now));
    if (operation === undefined) {
      const status = { ...comparedStatus(app, first.desired, first.resources, sharedWarnings(app, first.resources)) };
      await this.write(app, { ...app.status, ...status }, {}, signal);
      return after(this.pollDelay());
    }
    const waitMs = (operation.notBeforeMs ?? 0) - now;
    if (waitMs > 0) return after(waitMs);
    if (operation.operation.initiatedBy?.automated !== true && !maySync(project, app, true, now))
      return this.blocked(app, first, operation, signal);
    const { subject, target } = await this.subjectOf(app, project, first, operation.operation, signal);
    await this.makeNamespace(app, target, signal);
    const step = await advanceOperation(this.deps.client, subject, target, operation, this.timestamp(), signal);
    const second = await this.comparer.compare(app, project, [], signal);
    const conditions: ApplicationCondition[] = [...sharedWarnings(app, second.resources), ...step.conditions];
    const status = comparedStatus(app, second.desired, second.resources, conditions);
    await this.write(
      app,
      { ...app.status, ...status, operationState: step.state, ...(step.history && { history: step.history }) },
      { operation: null },
      signal,
    );
    this.report(app, step.state.phase, step.state.message ?? '');
    return after(step.state.phase === 'Running' ? (step.retryAfterMs ?? BUSY_MS) : this.pollDelay());
  }

  /** What an operation deploys: other revisions than those of now, or the sources of an earlier time. */
  private async subjectOf(
    app: Application,
    project: AppProject,
    first: Comparison,
    { sync: asked }: Operation,
    signal: AbortSignal,
  ): Promise<{ subject: Application; target: Comparison }> {
    const pinned = asked?.revisions ?? [asked?.revision];
    const subject = asked?.source || asked?.sources ? withSources(app, asked) : app;
    const complaints = subject === app ? [] : specComplaints(subject.spec, project);
    if (complaints.length > 0) throw new SourceError(complaints.join('; '));
    const needsOther =
      subject !== app || pinned.some((revision, index) => revision !== undefined && revision !== first.desired.revisions[index]);
    const target = needsOther ? await this.comparer.compare(subject, project, pinned, signal) : first;
    return { subject, target };
  }

  /** A window is closed: the operation waits for it. */
  private async blocked(
    app: Application,
    { desired, resources }: Comparison,
    operation: WantedOperation,
    signal: AbortSignal,
  ): Promise<Result> {
    const status = comparedStatus(app, desired, resources, sharedWarnings(app, resources));
    const operationState: OperationState = {
      ...operation.state,
      ...{ phase: 'Running', message: 'Sync operation blocked by sync window', operation: operation.operation },
      startedAt: operation.startedAt ?? this.timestamp(),
    };
    await this.write(app, { ...app.status, ...status, operationState }, { operation: null }, signal);
    return after(WINDOW_MS);
  }

  /** What its sources have to do at a deletion is waited for, where the deletion takes the objects along. */
  private async keepFinalizers(app: Application, { hooks }: Comparison, signal: AbortSignal): Promise<void> {
    const old = app.metadata.finalizers ?? [];
    if (!old.some((name) => CASCADE_FINALIZERS.has(name))) return;
    const wanted = new Set(old);
    for (const phase of ['PreDelete', 'PostDelete'] as const)
      if (hooks.some(({ phases }) => phases.includes(phase))) wanted.add(DeletionHookFinalizer[phase]);
      else wanted.delete(DeletionHookFinalizer[phase]);
    if (wanted.size === old.length) return;
    const key = { namespace: app.metadata.namespace ?? '', name: app.metadata.name ?? '' };
    const patch = { metadata: { finalizers: [...wanted], resourceVersion: app.metadata.resourceVersion ?? '' } };
    app.metadata = { ...(await this.deps.client.patch(ApplicationKind, key, patch, { type: 'merge', signal })).metadata };
  }

  private report(app: Application, phase: string, message: string): void {
    if (phase === 'Succeeded') this.deps.events.normal(app, 'OperationCompleted', `Sync operation succeeded: ${message}`);
    else if (phase === 'Failed' || phase === 'Error')
      this.deps.events.warning(app, 'OperationCompleted', `Sync operation failed: ${message}`);
  }

  private async makeNamespace(app: Application, { resources }: Comparison, signal: AbortSignal): Promise<void> {
    const { syncOptions = [], managedNamespaceMetadata } = app.spec.syncPolicy ?? {};
    const name = app.spec.destination.namespace;
    if (
      !syncOptions.includes('CreateNamespace=true') ||
      !name ||
      resources.some(({ kind, name: own }) => kind.kind === 'Namespace' && own === name)
    )
      return;
    const metadata = { name, ...managedNamespaceMetadata };
    await this.deps.client
      .create(NamespaceKind, { apiVersion: 'v1', kind: 'Namespace', metadata }, { signal })
      .catch((error: unknown) => {
        if (!isConflict(error) && !(error instanceof StatusError && error.code === 409)) throw error;
      });
  }

  /** Every object that the application should have or has, with what an apply would make of it. */
  async differences(app: Application, revisions: readonly (string | undefined)[], signal: AbortSignal): Promise<Comparison> {
    const project = await this.project(app, signal);
    const complaints = specComplaints(app.spec, project);
    if (project === undefined || complaints.length > 0) throw new SourceError(complaints.join('; '));
    // whoever asks wants what the repository says now
    this.comparer.forgetRevisions();
    return this.comparer.compare(app, project, revisions, signal);
  }

  /** Deletes what the application has made, when its finalizer asks for that, with the hooks before and after. */
  private async remove(app: Application, project: AppProject | undefined, signal: AbortSignal): Promise<Result> {
    const finalizers = app.metadata.finalizers ?? [];
    const next = DELETION_STEPS.find((step) => finalizers.some((name) => step.has(name)));
    if (next === undefined) return done;
    if (project === undefined) return this.undeletable(app, `project ${app.spec.project ?? ''} does not exist`, signal);
    try {
      if (!(await deletionStep(this.deletionOf(app, project), next, signal))) return after(BUSY_MS);
    } catch (error) {
      if (!isSourceFault(error)) throw error;
      return this.undeletable(app, error.message, signal);
    }
    const rest = finalizers.filter((name) => !next.has(name));
    const key = { namespace: app.metadata.namespace ?? '', name: app.metadata.name ?? '' };
    await this.deps.client.patch(ApplicationKind, key, { metadata: { finalizers: rest } }, { type: 'merge', signal });
    return rest.length > 0 ? after(0) : done;
  }

  private deletionOf(app: Application, project: AppProject): Deletion {
    return {
      client: this.deps.client,
      app,
      left: (signal) => this.comparer.extraneous(app, project, [], signal),
      hooks: async (signal) => (await this.comparer.compare(app, project, [], signal)).hooks,
    };
  }

  private async undeletable(app: Application, message: string, signal: AbortSignal): Promise<Result> {
    await this.write(app, { ...app.status, conditions: [{ type: 'DeletionError', message }] }, {}, signal);
    return after(this.pollDelay());
  }

  /** Writes what changed; a request to refresh is answered by taking it away. */
  private async write(app: Application, status: ApplicationStatus, extra: JsonObject, signal: AbortSignal): Promise<void> {
    const patch = statusPatch(app, status, extra, this.timestamp());
    if (patch === undefined) return;
    const key = { namespace: app.metadata.namespace ?? '', name: app.metadata.name ?? '' };
    await this.deps.client.patch(ApplicationKind, key, patch, { type: 'merge', signal });
  }
}

/** The application as an operation wants it: a rollback names the sources of then. */
function withSources(
  app: Application,
  { source, sources }: Pick<NonNullable<NonNullable<Application['operation']>['sync']>, 'source' | 'sources'>,
): Application {
  const { source: _source, sources: _sources, ...spec } = app.spec;
  return { ...app, spec: { ...spec, ...(sources ? { sources } : source ? { source } : {}) } };
}
