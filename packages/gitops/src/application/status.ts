import type { JsonObject } from '@slipway/apimachinery';
import { type Compared, isTrackedBy, waveOf } from '../compare/resources.ts';
import { mergePatch } from '../compare/three-way.ts';
import { annotationsOf } from '@slipway/helm';
import { healthOf, worstOf } from '../health/health.ts';
import {
  Annotation,
  type Application,
  type ApplicationCondition,
  type ApplicationStatus,
  type Health,
  type ResourceStatus,
  sourcesOf,
} from '../kinds.ts';
import type { Desired } from './desired.ts';

/** What the status says of one resource. */
function resourceStatus({ kind, namespace, name, target, live, patch }: Compared): ResourceStatus {
  const isSynced = target !== undefined && live !== undefined && patch === undefined;
  const isIgnored =
    target === undefined && live !== undefined && ignoresExtra(live as unknown as Readonly<Record<string, unknown>>);
  const wave = waveOf(target ?? live ?? { metadata: {} });
  const health: Health | undefined = live ? healthOf(live) : { status: 'Missing' };
  return {
    ...(kind.group && { group: kind.group }),
    version: kind.version,
    kind: kind.kind,
    ...(kind.namespaced && { namespace }),
    name,
    status: isSynced || isIgnored ? 'Synced' : 'OutOfSync',
    ...(health && { health }),
    ...(target === undefined && { requiresPruning: true }),
    ...(wave !== 0 && { syncWave: wave }),
  };
}

const ignoresExtra = (live: Readonly<Record<string, unknown>>): boolean =>
  (annotationsOf(live)[Annotation.compareOptions] ?? '').includes('IgnoreExtraneous');

export const resourceStatuses = (resources: readonly Compared[]): ResourceStatus[] =>
  resources.filter(({ target, live }) => target !== undefined || live !== undefined).map(resourceStatus);

/** The worst of all resources that count. */
export function applicationHealth(resources: readonly Compared[]): Health {
  const lives = resources.flatMap(({ live, target }) => (live ? [{ live, target }] : []));
  if (lives.length === 0) return { status: resources.length > 0 ? 'Missing' : 'Healthy' };
  const counted = lives.filter(({ live }) => live.metadata.annotations?.[Annotation.ignoreHealth] !== 'true');
  return { status: worstOf(counted.flatMap(({ live }) => healthOf(live)?.status ?? [])) };
}

/** Tracked objects that another application claims as well. */
export function sharedWarnings(app: Application, resources: readonly Compared[]): ApplicationCondition[] {
  return resources.flatMap(({ live, target, kind }) => {
    const other = live?.metadata.annotations?.[Annotation.tracking]?.split(':')[0];
    if (!live || !target || other === undefined || other === app.metadata.name || isTrackedBy(app, live, kind)) return [];
    const message = `${kind.kind}/${live.metadata.name} is part of applications ${app.metadata.namespace}/${app.metadata.name} and ${other}`;
    return [{ type: 'SharedResourceWarning', message }];
  });
}

/** The status after a comparison. */
export function comparedStatus(
  app: Application,
  desired: Desired,
  resources: readonly Compared[],
  conditions: readonly ApplicationCondition[],
): ApplicationStatus {
  const statuses = resourceStatuses(resources);
  const isSynced = statuses.every(({ status }) => status === 'Synced');
  const isMulti = app.spec.sources !== undefined && app.spec.sources.length > 0;
  const [revision] = desired.revisions;
  const { destination, ignoreDifferences } = app.spec;
  const compared = isMulti ? { sources: sourcesOf(app.spec) } : { source: app.spec.source };
  return {
    sync: {
      status: isSynced ? 'Synced' : 'OutOfSync',
      ...(isMulti ? { revisions: desired.revisions } : { revision: revision ?? '' }),
      comparedTo: { ...compared, destination, ...(ignoreDifferences && { ignoreDifferences }) },
    },
    health: applicationHealth(resources),
    resources: statuses,
    conditions,
    ...(isMulti ? { sourceTypes: desired.types } : { sourceType: desired.types[0] ?? 'Directory' }),
    summary: {},
    ...(app.metadata.namespace !== undefined && { controllerNamespace: app.metadata.namespace }),
  };
}

/** What is to be written when the status becomes this one, `extra` with it when an operation was asked for. Pure. */
export function statusPatch(app: Application, status: ApplicationStatus, extra: JsonObject, now: string): JsonObject | undefined {
  const old = app.status ?? {};
  const dated = withTimes(status, old, now);
  // a status is a JSON object
  const changes = mergePatch(old as unknown as JsonObject, JSON.parse(JSON.stringify(dated)) as JsonObject);
  const isAsked = app.metadata.annotations?.[Annotation.refresh] !== undefined;
  const hasOperation = app.operation !== undefined && 'operation' in extra;
  if (changes === undefined && !isAsked && !hasOperation) return undefined;
  return {
    status: { ...changes, reconciledAt: now },
    ...(hasOperation && extra),
    ...(isAsked && { metadata: { annotations: { [Annotation.refresh]: null } } }),
  };
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
