import { UserError } from '../report-failure.ts';

/** One of what `--resource` chooses; without a namespace it is in any. */
export interface SelectedResource {
  readonly group?: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
}

const EXIT_USAGE = 2;

/** `GROUP:KIND:[NAMESPACE/]NAME`; the group may be empty. */
export function selectedResourceOf(text: string): SelectedResource {
  const [, group = '', kind = '', namespace, name = ''] = /^([^:]*):([^:]+):(?:([^/:]+)\/)?([^/:]+)$/.exec(text) ?? [];
  if (kind === '') throw new UserError(`--resource wants GROUP:KIND:NAME or GROUP:KIND:NAMESPACE/NAME, not ${text}`, EXIT_USAGE);
  return { group, kind, name, ...(namespace !== undefined && { namespace }) };
}

const textOf = ({ group = '', kind, namespace, name }: SelectedResource): string =>
  `${group}:${kind}:${namespace ? `${namespace}/` : ''}${name}`;

/** Those that the application does not have: a sync would pass them over. Pure. */
export function missingOf(
  selected: readonly SelectedResource[],
  known: readonly SelectedResource[],
): readonly SelectedResource[] {
  return selected.filter(
    ({ group = '', kind, namespace, name }) =>
      !known.some(
        (one) =>
          (one.group ?? '') === group &&
          one.kind === kind &&
          one.name === name &&
          (namespace === undefined || namespace === (one.namespace ?? '')),
      ),
  );
}

/** Throws UserError for what the application does not have, with what it has. */
export function requireSelected(app: string, selected: readonly SelectedResource[], known: readonly SelectedResource[]): void {
  const missing = missingOf(selected, known);
  if (missing.length === 0) return;
  const have = known.length === 0 ? 'it has no objects' : `it has ${known.map(textOf).join(', ')}`;
  throw new UserError(`--resource: ${app} has no ${missing.map(textOf).join(', ')}; ${have}`, EXIT_USAGE);
}

const YES_OR_NO = ['true', 'false'];
const OR_CONFIRM = [...YES_OR_NO, 'confirm'];

/** What Argo CD knows, with the values it takes. */
const SYNC_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  Prune: OR_CONFIRM,
  Delete: OR_CONFIRM,
  Validate: YES_OR_NO,
  SkipDryRunOnMissingResource: YES_OR_NO,
  ApplyOutOfSyncOnly: YES_OR_NO,
  PrunePropagationPolicy: ['foreground', 'background', 'orphan'],
  PruneLast: YES_OR_NO,
  Replace: YES_OR_NO,
  Force: YES_OR_NO,
  ServerSideApply: YES_OR_NO,
  ClientSideApplyMigration: YES_OR_NO,
  FailOnSharedResource: YES_OR_NO,
  RespectIgnoreDifferences: YES_OR_NO,
  CreateNamespace: YES_OR_NO,
};

/** The option when there is one like that: others would be passed over. Throws UserError. */
export function syncOptionOf(text: string): string {
  const [, name = '', value = ''] = /^([^=]*)=(.*)$/.exec(text) ?? [];
  if (Object.hasOwn(SYNC_OPTIONS, name) && SYNC_OPTIONS[name]?.includes(value)) return text;
  const options = Object.entries(SYNC_OPTIONS).map(([option, values]) => `${option}=${values.join('|')}`);
  throw new UserError(`--sync-option: there is no ${text}; there are ${options.join(', ')}`, EXIT_USAGE);
}
