import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import { ChartError } from '@slipway/helm';
import type { Clock } from '@slipway/runtime';
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
import type { Application, AppProject, ResourceStatus } from '../kinds.ts';
import { TreeError } from '../sources/read-tree.ts';
import { SourceError } from '../sources/source-error.ts';
import { hasOwnHooks, type Hook, hookPhases } from '../sync/plan.ts';
import { clusterVersions, type Desired, type DesiredDeps, desiredState } from './desired.ts';
import { isPermitted } from './project.ts';
import { ResolvedRevisions } from './resolved-revisions.ts';

/** Whether the application or its sources are to blame, and not the platform. */
export const isSourceFault = (error: unknown): error is Error =>
  error instanceof SourceError || error instanceof ChartError || error instanceof TreeError || error instanceof UnknownKind;

/** A comparison with what it was made from. */
export interface Comparison {
  readonly desired: Desired;
  readonly resources: readonly Compared[];
  readonly hooks: readonly Hook[];
}

export interface ComparerDeps extends DesiredDeps {
  readonly clock: Clock;
  readonly kinds: () => Promise<readonly ResourceKind<KubeObject>[]>;
}

/** Compares applications with the cluster; knows for a while what it has found out about kinds and revisions. */
export class Comparer {
  private readonly revisions: ResolvedRevisions;
  private readonly find: ReturnType<typeof kindFinder>;
  private readonly deps: ComparerDeps;

  constructor(deps: ComparerDeps) {
    this.deps = deps;
    this.revisions = new ResolvedRevisions(deps);
    this.find = kindFinder(deps.client, () => deps.clock.now());
  }

  /** The next comparison asks repositories what they say now. */
  forgetRevisions(): void {
    this.revisions.forget();
  }

  /** Compares what the sources make at these revisions, or at what they mean now, with what is there. */
  async compare(
    app: Application,
    project: AppProject,
    pinned: readonly (string | undefined)[],
    signal: AbortSignal,
  ): Promise<Comparison> {
    const versions = await clusterVersions(this.deps.client, await this.deps.kinds(), signal);
    const desired = await desiredState(this.deps, { app, project }, versions, pinned, this.revisions.resolverFor(app), signal);
    const resources: Compared[] = [];
    const hooks: Hook[] = [];
    const ignoresHelm = hasOwnHooks(desired.objects);
    const rules = app.spec.ignoreDifferences ?? [];
    for (const object of desired.objects) {
      const kind = await this.find(object.apiVersion ?? '', object.kind ?? '', signal);
      const namespace = kind.namespaced ? (object.metadata.namespace ?? (app.spec.destination.namespace || 'default')) : '';
      if (!isPermitted(project, { kind, namespace, name: object.metadata.name ?? '' }))
        throw new SourceError(
          `resource ${kind.group}:${kind.kind} in namespace '${namespace}' is not permitted in project ${project.metadata.name ?? ''}`,
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
        ...(await this.extraneous(app, project, [...resources, ...hooks.map(({ compared }) => compared)], signal)),
      ],
    };
  }

  /** What the application had before and its sources do not have any more. */
  async extraneous(app: Application, project: AppProject, wanted: readonly Compared[], signal: AbortSignal): Promise<Compared[]> {
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
      // whoever may write an application may write its status: that names nothing beyond the project
      if (kind === undefined || !isPermitted(project, { kind, namespace: entry.namespace ?? '', name: entry.name })) continue;
      const live = await getLive(this.deps.client, kind, entry.namespace ?? '', entry.name, signal);
      // only what still carries the application's mark is its own
      if (live && isTrackedBy(app, live, kind)) extra.push({ kind, namespace: entry.namespace ?? '', name: entry.name, live });
    }
    return extra;
  }
}

/** Everything that the status says the application had. */
function remembered({
  status,
}: Application): readonly Pick<ResourceStatus, 'group' | 'version' | 'kind' | 'namespace' | 'name'>[] {
  const applied = status?.operationState?.syncResult?.resources ?? [];
  return [...(status?.resources ?? []), ...applied.filter((result) => !result.hookType && result.status !== 'Pruned')];
}
