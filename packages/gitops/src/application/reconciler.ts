import {
  isConflict,
  isNotFound,
  type JsonObject,
  type KubeObject,
  type ObjectKey,
  type ResourceKind,
  StatusError,
} from '@slipway/apimachinery';
import { NamespaceKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { ChartError } from '@slipway/helm';
import { after, type Clock, done, type EventRecorder, type Logger, type Reconciler, type Result } from '@slipway/runtime';
import {
  type Compared,
  compareOne,
  getLive,
  isTrackedBy,
  kindFinder,
  prepareTarget,
  resourceKey,
  UnknownKind,
} from '../compare/resources.ts';
import { mergePatch } from '../compare/three-way.ts';
import {
  Annotation,
  type Application,
  type ApplicationCondition,
  ApplicationKind,
  type ApplicationStatus,
  type AppProject,
  AppProjectKind,
  CASCADE_FINALIZERS,
  GITOPS_NAMESPACES,
  type ResourceStatus,
} from '../kinds.ts';
import { SourceError } from '../sources/git.ts';
import { TreeError } from '../sources/read-tree.ts';
import { hasOwnHooks, hookPhases, type Phase } from '../sync/plan.ts';
import { clusterVersions, type Desired, type DesiredDeps, desiredState, hasArgoCd } from './desired.ts';
import { advanceOperation, wantedOperation } from './operation.ts';
import { isPermitted, specComplaints } from './project.ts';
import { comparedStatus, sharedWarnings } from './status.ts';

export interface ApplicationDeps extends DesiredDeps {
  readonly client: Client;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventRecorder;
  readonly random: () => number;
  readonly kinds: () => Promise<readonly ResourceKind<KubeObject>[]>;
}

const POLL_MS = 120_000;
const JITTER_MS = 60_000;
const BUSY_MS = 2_000;
const ARGO_CHECK_MS = 60_000;
const MAX_RESOLVED = 1000;

/** A comparison with what it was made from. */
export interface Comparison {
  readonly desired: Desired;
  readonly resources: readonly Compared[];
  readonly hooks: readonly { readonly compared: Compared; readonly phases: readonly Phase[] }[];
}

/** Keeps the objects of an Application as its sources say, in the way of Argo CD. */
export class ApplicationReconciler implements Reconciler {
  private argo: { readonly at: number; readonly found: boolean } | undefined;
  private readonly resolved = new Map<string, { readonly at: number; readonly commit: string }>();
  private readonly find: ReturnType<typeof kindFinder>;
  private readonly deps: ApplicationDeps;

  constructor(deps: ApplicationDeps) {
    this.deps = deps;
    this.find = kindFinder(deps.client, () => deps.clock.now());
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const app = await this.read(key, signal);
    if (app === undefined || !GITOPS_NAMESPACES.has(key.namespace)) return done;
    if (app.metadata.annotations?.[Annotation.skipReconcile] === 'true') return done;
    if (await this.isElsewhere(signal)) return after(ARGO_CHECK_MS);
    if (app.metadata.deletionTimestamp !== undefined) return this.remove(app, signal);
    const project = await this.project(app, signal);
    const complaints = specComplaints(app.spec, project);
    if (complaints.length > 0) return this.invalid(app, complaints, signal);
    try {
      return await this.compareAndSync(app, project, signal);
    } catch (error) {
      if (
        !(
          error instanceof SourceError ||
          error instanceof ChartError ||
          error instanceof TreeError ||
          error instanceof UnknownKind
        )
      )
        throw error;
      return this.uncomparable(app, error.message, signal);
    }
  }

  private async read(key: ObjectKey, signal: AbortSignal): Promise<Application | undefined> {
    // read anew: the cache may be older than what the last reconcile wrote
    return this.deps.client.get(ApplicationKind, key, { signal }).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
  }

  private async isElsewhere(signal: AbortSignal): Promise<boolean> {
    const now = this.deps.clock.now();
    if (this.argo === undefined || now - this.argo.at > ARGO_CHECK_MS)
      this.argo = { at: now, found: await hasArgoCd(this.deps.client, signal) };
    return this.argo.found;
  }

  private async project(app: Application, signal: AbortSignal): Promise<AppProject | undefined> {
    const key = { namespace: app.metadata.namespace ?? '', name: app.spec.project || 'default' };
    return this.deps.client.get(AppProjectKind, key, { signal }).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
  }

  /** Asks for the revision again when somebody wants that or when the last answer is old. */
  private resolverFor(app: Application): ApplicationDeps['git']['resolve'] {
    const isFresh = app.operation !== undefined || app.metadata.annotations?.[Annotation.refresh] !== undefined;
    return async (url, revision, credentials, signal) => {
      const key = `${url}\0${revision}`;
      const now = this.deps.clock.now();
      const known = this.resolved.get(key);
      if (!isFresh && known && now - known.at < POLL_MS) return known.commit;
      const commit = await this.deps.git.resolve(url, revision, credentials, signal);
      if (this.resolved.size > MAX_RESOLVED) this.resolved.clear();
      this.resolved.set(key, { at: now, commit });
      return commit;
    };
  }

  private timestamp(): string {
    return new Date(this.deps.clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
  }

  private async invalid(app: Application, complaints: readonly string[], signal: AbortSignal): Promise<Result> {
    const conditions = complaints.map((message) => ({ type: 'InvalidSpecError', message }));
    await this.write(app, { ...app.status, sync: { status: 'Unknown' }, health: { status: 'Unknown' }, conditions }, {}, signal);
    return done;
  }

  private async uncomparable(app: Application, message: string, signal: AbortSignal): Promise<Result> {
    const text = `Failed to load target state: failed to generate manifest for source 1 of ${app.spec.sources?.length ?? 1}: ${message}`;
    const sync = { ...app.status?.sync, status: 'Unknown' as const };
    const extra: JsonObject = app.operation === undefined ? {} : { operation: null };
    const now = this.timestamp();
    const operationState = app.operation && {
      phase: 'Error' as const,
      message: text,
      startedAt: now,
      finishedAt: now,
      operation: app.operation,
    };
    const status = {
      ...app.status,
      sync,
      health: app.status?.health ?? { status: 'Unknown' as const },
      conditions: [{ type: 'ComparisonError', message: text }],
    };
    await this.write(app, { ...status, ...(operationState && { operationState }) }, extra, signal);
    return after(this.pollDelay());
  }

  private pollDelay(): number {
    return POLL_MS + Math.floor(this.deps.random() * JITTER_MS);
  }

  /** Compares, and goes a step further with an operation when there is or should be one. */
  private async compareAndSync(app: Application, project: AppProject | undefined, signal: AbortSignal): Promise<Result> {
    const first = await this.compare(app, project, [], signal);
    const operation = wantedOperation(app, first, this.deps.clock.now());
    if (operation === undefined) {
      const status = { ...comparedStatus(app, first.desired, first.resources, sharedWarnings(app, first.resources)) };
      await this.write(app, { ...app.status, ...status }, {}, signal);
      return after(this.pollDelay());
    }
    const asked = operation.operation.sync;
    const pinned = asked?.revisions ?? [asked?.revision];
    const subject = asked?.source || asked?.sources ? withSources(app, asked) : app;
    const needsOther =
      subject !== app || pinned.some((revision, index) => revision !== undefined && revision !== first.desired.revisions[index]);
    const target = needsOther ? await this.compare(subject, project, pinned, signal) : first;
    await this.makeNamespace(app, target, signal);
    const step = await advanceOperation(this.deps.client, subject, target, operation, this.timestamp(), signal);
    const second = await this.compare(app, project, [], signal);
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

  private async compare(
    app: Application,
    project: AppProject | undefined,
    pinned: readonly (string | undefined)[],
    signal: AbortSignal,
  ): Promise<Comparison> {
    const versions = await clusterVersions(this.deps.client, await this.deps.kinds(), signal);
    const desired = await desiredState(this.deps, app, versions, pinned, this.resolverFor(app), signal);
    const resources: Compared[] = [];
    const hooks: { compared: Compared; phases: readonly Phase[] }[] = [];
    const ignoresHelm = hasOwnHooks(desired.objects);
    const rules = app.spec.ignoreDifferences ?? [];
    for (const object of desired.objects) {
      const kind = await this.find(object.apiVersion ?? '', object.kind ?? '', signal);
      const namespace = kind.namespaced ? (object.metadata.namespace ?? (app.spec.destination.namespace || 'default')) : '';
      if (!isPermitted(project, kind, namespace))
        throw new SourceError(
          `resource ${kind.group}:${kind.kind} in namespace '${namespace}' is not permitted in project ${project?.metadata.name ?? ''}`,
        );
      const target = prepareTarget(app, kind, object, namespace);
      const compared = await compareOne(this.deps.client, { kind, namespace, target }, rules, signal);
      const phases = hookPhases(object, ignoresHelm);
      if (phases) hooks.push({ compared, phases });
      else resources.push(compared);
    }
    return {
      desired,
      hooks,
      resources: [
        ...resources,
        ...(await this.extraneous(app, [...resources, ...hooks.map(({ compared }) => compared)], signal)),
      ],
    };
  }

  /** What the application had before and its sources do not have any more. */
  private async extraneous(app: Application, wanted: readonly Compared[], signal: AbortSignal): Promise<Compared[]> {
    const seen = new Set(
      wanted.map(({ kind, namespace, name }) => resourceKey({ group: kind.group, kind: kind.kind, namespace, name })),
    );
    const extra: Compared[] = [];
    for (const entry of remembered(app)) {
      const key = resourceKey(entry);
      if (seen.has(key)) continue;
      seen.add(key);
      const kind = await this.find(entry.group ? `${entry.group}/${entry.version}` : entry.version, entry.kind, signal).catch(
        () => undefined,
      );
      if (kind === undefined) continue;
      const live = await getLive(this.deps.client, kind, entry.namespace ?? '', entry.name, signal);
      // only what still carries the application's mark is its own
      if (live && isTrackedBy(app, live, kind)) extra.push({ kind, namespace: entry.namespace ?? '', name: entry.name, live });
    }
    return extra;
  }

  /** Deletes what the application has made, when its finalizer asks for that. */
  private async remove(app: Application, signal: AbortSignal): Promise<Result> {
    const finalizers = app.metadata.finalizers ?? [];
    if (!finalizers.some((name) => CASCADE_FINALIZERS.has(name))) return done;
    const left = await this.extraneous(app, [], signal);
    for (const { kind, namespace, name, live } of left) {
      if (live?.metadata.deletionTimestamp !== undefined) continue;
      const policy = finalizers.some((entry) => entry.endsWith('/background')) ? 'Background' : 'Foreground';
      await this.deps.client.delete(kind, { namespace, name }, { signal, propagationPolicy: policy }).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
    }
    if ((await this.extraneous(app, [], signal)).length > 0) return after(BUSY_MS);
    const rest = finalizers.filter((name) => !CASCADE_FINALIZERS.has(name));
    const key = { namespace: app.metadata.namespace ?? '', name: app.metadata.name ?? '' };
    await this.deps.client.patch(ApplicationKind, key, { metadata: { finalizers: rest } }, { type: 'merge', signal });
    return done;
  }

  /** Writes what changed; a request to refresh is answered by taking it away. */
  private async write(app: Application, status: ApplicationStatus, extra: JsonObject, signal: AbortSignal): Promise<void> {
    const old = app.status ?? {};
    const now = this.timestamp();
    const dated = withTimes(status, old, now);
    // a status is a JSON object
    const changes = mergePatch(old as unknown as JsonObject, JSON.parse(JSON.stringify(dated)) as JsonObject);
    const isAsked = app.metadata.annotations?.[Annotation.refresh] !== undefined;
    const hasOperation = app.operation !== undefined && 'operation' in extra;
    if (changes === undefined && !isAsked && !hasOperation) return;
    const patch = {
      status: { ...changes, reconciledAt: now },
      ...(hasOperation && extra),
      ...(isAsked && { metadata: { annotations: { [Annotation.refresh]: null } } }),
    };
    const key = { namespace: app.metadata.namespace ?? '', name: app.metadata.name ?? '' };
    await this.deps.client.patch(ApplicationKind, key, patch, { type: 'merge', signal });
  }
}

/** Everything that the status says the application had. */
function remembered({
  status,
}: Application): readonly Pick<ResourceStatus, 'group' | 'version' | 'kind' | 'namespace' | 'name'>[] {
  const applied = status?.operationState?.syncResult?.resources ?? [];
  return [...(status?.resources ?? []), ...applied.filter((result) => !result.hookType && result.status !== 'Pruned')];
}

/** The status with the times of what is new in it. */
function withTimes(status: ApplicationStatus, old: ApplicationStatus, now: string): ApplicationStatus {
  const sameHealth = old.health?.status === status.health?.status ? old.health?.lastTransitionTime : undefined;
  return {
    ...status,
    ...(status.health && { health: { ...status.health, lastTransitionTime: sameHealth ?? now } }),
    conditions: (status.conditions ?? []).map((condition) => {
      const same = old.conditions?.find(({ type, message }) => type === condition.type && message === condition.message);
      return { ...condition, lastTransitionTime: same?.lastTransitionTime ?? now };
    }),
  };
}

/** The application as an operation wants it: a rollback names the sources of then. */
function withSources(
  app: Application,
  { source, sources }: Pick<NonNullable<NonNullable<Application['operation']>['sync']>, 'source' | 'sources'>,
): Application {
  const { source: _source, sources: _sources, ...spec } = app.spec;
  return { ...app, spec: { ...spec, ...(sources ? { sources } : source ? { source } : {}) } };
}
