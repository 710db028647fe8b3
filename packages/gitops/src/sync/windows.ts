import { parseDuration } from '@slipway/apimachinery';
import { globTest } from '@slipway/helm';
import { parseSchedule } from '@slipway/runtime';
import type { Application, AppProject, SyncWindow } from '../kinds.ts';

/** Whether the windows of a project let an application be synced now: by itself, or because somebody asks. */
export function maySync(project: AppProject, app: Application, isManual: boolean, nowMs: number): boolean {
  const windows = (project.spec?.syncWindows ?? []).filter((window) => concerns(window, app));
  const active = windows.filter((window) => isActive(window, nowMs));
  const denies = active.filter(({ kind }) => kind === 'deny');
  if (denies.length > 0) return isManual && denies.every(({ manualSync }) => manualSync === true);
  const allows = windows.filter(({ kind }) => kind === 'allow');
  if (allows.length === 0 || active.some(({ kind }) => kind === 'allow')) return true;
  return isManual && allows.every(({ manualSync }) => manualSync === true);
}

function concerns({ applications, namespaces, clusters, andOperator }: SyncWindow, { metadata, spec }: Application): boolean {
  const { server, name, namespace = '' } = spec.destination;
  const lists: [readonly string[] | undefined, readonly string[]][] = [
    [applications, [metadata.name ?? '']],
    [namespaces, [namespace]],
    [clusters, [server || 'https://kubernetes.default.svc', name || 'in-cluster']],
  ];
  const given = lists.filter(([patterns]) => (patterns?.length ?? 0) > 0);
  const fits = ([patterns, values]: (typeof lists)[number]): boolean =>
    (patterns ?? []).some((pattern) => values.some((value) => pattern === '*' || (globTest(pattern)?.(value) ?? false)));
  return given.length > 0 && (andOperator === true ? given.every(fits) : given.some(fits));
}

/** A window that is not understood is never open: an allowing one then forbids, which is the safe side of a mistake. */
function isActive({ kind, schedule = '', duration = '', timeZone }: SyncWindow, nowMs: number): boolean {
  const durationMs = parseDuration(duration);
  try {
    if (durationMs === undefined) throw new Error('no duration');
    const start = parseSchedule(schedule, timeZone).next(nowMs - durationMs);
    return start !== undefined && start <= nowMs;
  } catch {
    return kind === 'deny';
  }
}
