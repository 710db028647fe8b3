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

const clusterOf = ({ spec: { destination } }: Application): string => destination.server || destination.name || IN_CLUSTER;
const projectOf = ({ spec }: Application): string => spec.project || 'default';

/** Pure. */
export function formatList(apps: readonly Application[]): string {
  const rows = apps.map((app) => [
    ...[appName(app), clusterOf(app), app.spec.destination.namespace ?? '', projectOf(app)],
    ...[...statesOf(app), policyOf(app), conditionTypes(app), ...sourceOf(app)],
  ]);
  const header = 'NAME CLUSTER NAMESPACE PROJECT STATUS HEALTH SYNCPOLICY CONDITIONS REPO PATH TARGET'.split(' ');
  return table(header, rows);
}

const statesOf = ({ status }: Application): string[] => [status?.sync?.status ?? 'Unknown', status?.health?.status ?? 'Unknown'];

const conditionTypes = ({ status }: Application): string =>
  [...new Set((status?.conditions ?? []).map(({ type }) => type))].join(',') || '<none>';

/** The first one, when there are several. */
function sourceOf({ spec }: Application): string[] {
  const [source] = sourcesOf(spec);
  return [source?.repoURL ?? '', source?.path ?? '', source?.targetRevision ?? 'HEAD'];
}

/** Pure. */
export function formatApp(app: Application): string {
  const fields = [...subjectFields(app), ...stateFields(app)];
  const conditions = app.status?.conditions ?? [];
  const rows = conditions.map(({ type, message, lastTransitionTime = '' }) => [type, message, lastTransitionTime]);
  return [
    fields.map(([name, value]) => `${`${name}:`.padEnd(20)}${value}`.trimEnd()).join('\n'),
    ...(rows.length > 0 ? [table(['CONDITION', 'MESSAGE', 'LAST TRANSITION'], rows)] : []),
    formatResources(app),
  ].join('\n\n');
}

type Field = readonly [name: string, value: string];

const subjectFields = (app: Application): Field[] => [
  ['Name', appName(app)],
  ['Project', projectOf(app)],
  ['Server', clusterOf(app)],
  ['Namespace', app.spec.destination.namespace ?? ''],
  ...sourcesOf(app.spec).flatMap((source): Field[] => [
    ['Repo', source.repoURL],
    ['Target', source.targetRevision ?? 'HEAD'],
    ['Path', source.path ?? '.'],
  ]),
];

function stateFields(app: Application): Field[] {
  const { health, operationState: state } = app.status ?? {};
  const fields: Field[] = [
    ['Sync Policy', policyOf(app)],
    ['Sync Status', syncText(app)],
    ['Health Status', [health?.status ?? 'Unknown', health?.message].filter(Boolean).join(': ')],
  ];
  if (state === undefined) return fields;
  return [
    ...fields,
    ...([
      ['Operation', 'Sync'],
      ['Phase', state.phase],
      ['Start', state.startedAt],
      ['Finished', state.finishedAt ?? ''],
      ['Message', state.message ?? ''],
    ] as const),
  ];
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
