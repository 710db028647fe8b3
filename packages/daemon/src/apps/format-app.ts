import { type Application, type HistoryEntry, type ResourceResult, sourcesOf } from '@slipway/gitops';

const IN_CLUSTER = 'https://kubernetes.default.svc';
const COMMIT = /^[0-9a-f]{40}$/;

/** Columns as wide as what stands in them. Pure. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows];
  const widths = header.map((_, index) => Math.max(...lines.map((line) => line[index]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, index) => (index === line.length - 1 ? cell : cell.padEnd(widths[index] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export const appName = ({ metadata }: Application): string => `${metadata.namespace}/${metadata.name}`;

const short = (revision: string): string => (COMMIT.test(revision) ? revision.slice(0, 7) : revision);

/** As in the list: what is synced without being asked. */
function policyOf({ spec }: Application): string {
  const { automated } = spec.syncPolicy ?? {};
  if (automated === undefined || automated.enabled === false) return 'Manual';
  return ['Auto', ...(automated.prune ? ['Prune'] : []), ...(automated.selfHeal ? ['SelfHeal'] : [])].join('-');
}

/** Pure. */
export function formatList(apps: readonly Application[]): string {
  const rows = apps.map((app) => {
    const { spec, status } = app;
    const [source] = sourcesOf(spec);
    return [
      ...[appName(app), spec.destination.server || spec.destination.name || IN_CLUSTER, spec.destination.namespace ?? ''],
      ...[spec.project || 'default', status?.sync?.status ?? 'Unknown', status?.health?.status ?? 'Unknown', policyOf(app)],
      [...new Set((status?.conditions ?? []).map(({ type }) => type))].join(',') || '<none>',
      ...[source?.repoURL ?? '', source?.path ?? '', source?.targetRevision ?? 'HEAD'],
    ];
  });
  const header = 'NAME CLUSTER NAMESPACE PROJECT STATUS HEALTH SYNCPOLICY CONDITIONS REPO PATH TARGET'.split(' ');
  return table(header, rows);
}

/** Pure. */
export function formatApp(app: Application): string {
  const { spec, status } = app;
  const fields: [string, string][] = [
    ['Name', appName(app)],
    ['Project', spec.project || 'default'],
    ['Server', spec.destination.server || spec.destination.name || IN_CLUSTER],
    ['Namespace', spec.destination.namespace ?? ''],
    ...sourcesOf(spec).flatMap((source): [string, string][] => [
      ['Repo', source.repoURL],
      ['Target', source.targetRevision ?? 'HEAD'],
      ['Path', source.path ?? '.'],
    ]),
    ['Sync Policy', policyOf(app)],
    ['Sync Status', syncText(app)],
    ['Health Status', [status?.health?.status ?? 'Unknown', status?.health?.message].filter(Boolean).join(': ')],
  ];
  const { operationState: state } = status ?? {};
  if (state !== undefined)
    fields.push(
      ['Operation', 'Sync'],
      ['Phase', state.phase],
      ['Start', state.startedAt],
      ['Finished', state.finishedAt ?? ''],
      ['Message', state.message ?? ''],
    );
  const conditions = status?.conditions ?? [];
  return [
    fields.map(([name, value]) => `${`${name}:`.padEnd(20)}${value}`.trimEnd()).join('\n'),
    ...(conditions.length > 0
      ? [
          table(
            ['CONDITION', 'MESSAGE', 'LAST TRANSITION'],
            conditions.map(({ type, message, lastTransitionTime = '' }) => [type, message, lastTransitionTime]),
          ),
        ]
      : []),
    formatResources(app),
  ].join('\n\n');
}

function syncText({ spec, status }: Application): string {
  const { sync } = status ?? {};
  const target = sourcesOf(spec)[0]?.targetRevision ?? 'HEAD';
  const revision = sync?.revision ?? sync?.revisions?.[0] ?? '';
  const where = sync?.status === 'Synced' ? 'to' : 'from';
  return sync === undefined || sync.status === 'Unknown' ? 'Unknown' : `${sync.status} ${where} ${target} (${short(revision)})`;
}

/** What the status says of each object, with what the last sync said. Pure. */
export function formatResources({ status }: Application): string {
  const results = status?.operationState?.syncResult?.resources ?? [];
  const resources = status?.resources ?? [];
  const idOf = (entry: { group?: string; kind: string; namespace?: string; name: string }): string =>
    `${entry.group ?? ''}/${entry.kind}/${entry.namespace ?? ''}/${entry.name}`;
  const messages = new Map(results.map((result) => [idOf(result), result.message ?? '']));
  const rows = resources.map((entry) => [
    ...[entry.group ?? '', entry.kind, entry.namespace ?? '', entry.name],
    `${entry.status ?? ''}${entry.requiresPruning ? ' (requires pruning)' : ''}`,
    ...[entry.health?.status ?? '', '', messages.get(idOf(entry)) ?? ''],
  ]);
  const known = new Set(resources.map(idOf));
  const others = results.filter((result) => result.hookType !== undefined || !known.has(idOf(result)));
  return table('GROUP KIND NAMESPACE NAME STATUS HEALTH HOOK MESSAGE'.split(' '), [...rows, ...others.map(resultRow)]);
}

const resultRow = (result: ResourceResult): string[] => [
  ...[result.group, result.kind, result.namespace, result.name, result.hookPhase ?? result.status ?? ''],
  ...['', result.hookType ?? '', result.message ?? ''],
];

/** Pure. */
export function formatHistory(history: readonly HistoryEntry[]): string {
  const rows = history.map(({ id, deployedAt, revision, revisions = [], initiatedBy, source }) => {
    const by =
      initiatedBy?.['automated'] === true ? 'automated' : String((initiatedBy?.['username'] as string | undefined) ?? '');
    return [
      String(id),
      deployedAt,
      `${source?.targetRevision ?? 'HEAD'} (${(revision ?? revisions.join(',')).slice(0, 40)})`,
      by,
    ];
  });
  return table(['ID', 'DATE', 'REVISION', 'BY'], rows);
}
