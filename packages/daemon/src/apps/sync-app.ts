import { userInfo } from 'node:os';
import { StatusError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type Application, ApplicationKind, type Operation } from '@slipway/gitops';
import { UserError } from '../report-failure.ts';
import { timeoutOption } from '../timeout-option.ts';
import { type AppOptions, findApp, withClient } from './find-app.ts';
import { appName, formatResources } from './format-app.ts';
import { managedResources } from './managed-resources.ts';
import { missingOf, requireSelected, type SelectedResource, selectedResourceOf, syncOptionOf } from './selected-resources.ts';
import { REFRESH, refreshed, waitForApp } from './wait-for-app.ts';

export interface SyncOptions extends AppOptions {
  readonly revision?: string;
  readonly prune?: boolean;
  readonly dryRun?: boolean;
  readonly force?: boolean;
  readonly resource?: readonly string[];
  readonly syncOption?: readonly string[];
  readonly retryLimit?: number;
  readonly async?: boolean;
  readonly wait?: boolean;
  readonly timeout?: string;
}

/** `slipway app sync`: exit status 1 when the sync fails, 3 when it is not done in time. */
export function syncApp(name: string, options: SyncOptions): Promise<void> {
  const timeoutMs = timeoutOf(options.timeout);
  const operation = operationOf(options);
  return withClient(options, async (client) => {
    const app = await findApp(client, name, options);
    await requireResources(client, app, operation);
    await start(client, app, operation, timeoutMs);
    if (options.async) return console.log(`${appName(app)} is being synced`);
    await follow(client, app, timeoutMs, options.wait === true && !options.dryRun);
  });
}

/** `slipway app rollback`: back to a deployment of the history, the one before the last when none is named. */
export function rollbackApp(name: string, id: string | undefined, options: SyncOptions): Promise<void> {
  const timeoutMs = timeoutOf(options.timeout);
  return withClient(options, async (client) => {
    const app = await findApp(client, name, options);
    if (isAutomated(app))
      throw new UserError('rollback cannot be performed when auto-sync is enabled: the next automatic sync would undo it');
    const operation = backTo(app, id, options);
    await start(client, app, operation, timeoutMs);
    if (options.async) return console.log(`${appName(app)} goes back to ${operation.sync?.revision ?? 'an earlier deployment'}`);
    await follow(client, app, timeoutMs, options.wait === true);
  });
}

function isAutomated({ spec }: Application): boolean {
  const { automated } = spec.syncPolicy ?? {};
  return automated !== undefined && automated.enabled !== false;
}

function backTo(app: Application, id: string | undefined, options: SyncOptions): Operation {
  const history = app.status?.history ?? [];
  const entry = id === undefined ? history.at(-2) : history.find((one) => String(one.id) === id);
  if (entry === undefined) {
    const what = id === undefined ? 'no earlier deployment' : `no deployment ${id}`;
    throw new UserError(`${appName(app)} has ${what}; see \`slipway app history\``);
  }
  const { revision, revisions, source, sources } = entry;
  const { sync, ...rest } = operationOf(options);
  const revisionPart = revisions ? { revisions } : revision === undefined ? {} : { revision };
  return { ...rest, sync: { ...sync, ...revisionPart, ...(sources ? { sources } : source && { source }) } };
}

/** Pure, but for the user's name. */
export function operationOf({ revision, prune, dryRun, force, resource, syncOption, retryLimit }: SyncOptions): Operation {
  return {
    sync: {
      ...(revision !== undefined && { revision }),
      ...(prune && { prune }),
      ...(dryRun && { dryRun }),
      ...(force && { syncStrategy: { apply: { force } } }),
      ...(resource && { resources: resource.map(selectedResourceOf) }),
      ...(syncOption && { syncOptions: syncOption.map(syncOptionOf) }),
    },
    initiatedBy: { username: userInfo().username },
    ...(retryLimit !== undefined && { retry: { limit: retryLimit } }),
  };
}

/** Before anything begins: a sync passes over what it is asked for and the application does not have. */
async function requireResources(client: Client, app: Application, { sync }: Operation): Promise<void> {
  if (sync?.resources === undefined) return;
  const known = await knownResources(client, app, sync.resources, sync.revision);
  if (known !== undefined) requireSelected(appName(app), sync.resources, known);
}

/** Argo CD itself does not serve the comparison, and who may sync need not have the right to read it. */
const UNSAID: ReadonlySet<number> = new Set([403, 404]);

/** Undefined: nobody can say. */
async function knownResources(
  client: Client,
  app: Application,
  wanted: readonly SelectedResource[],
  revision: string | undefined,
): Promise<readonly SelectedResource[] | undefined> {
  if (revision !== undefined) {
    return managedResources(client, app, revision).catch((error: unknown) => {
      if (error instanceof StatusError && UNSAID.has(error.code)) return undefined;
      throw error;
    });
  }
  const last = app.status?.resources ?? [];
  if (missingOf(wanted, last).length === 0) return last;
  const { status } = await refreshed(client, app, REFRESH);
  return status?.sync?.status === 'Unknown' ? undefined : (status?.resources ?? []);
}

const say = (line: string): void => console.error(line);

/** One operation at a time: an earlier one is waited for. */
async function start(client: Client, app: Application, operation: Operation, timeoutMs: number | undefined): Promise<void> {
  const onEnd = 'another operation is in progress, and this one was not begun';
  const free = await waitForApp({ client, app, timeoutMs, say, onEnd }, runningText);
  const key = { namespace: app.metadata.namespace ?? '', name: app.metadata.name ?? '' };
  // a resourceVersion: nobody's operation is overwritten
  const metadata = { resourceVersion: free.metadata.resourceVersion ?? '' };
  await client.patch(ApplicationKind, key, { metadata, operation: JSON.parse(JSON.stringify(operation)) }, { type: 'merge' });
}

const runningText = ({ operation, status }: Application): string | undefined => {
  if (operation !== undefined) return 'waiting for the sync to begin';
  const { phase, message } = status?.operationState ?? {};
  return phase === 'Running' || phase === 'Terminating' ? `${phase}: ${message ?? ''}` : undefined;
};

async function follow(client: Client, app: Application, timeoutMs: number | undefined, untilHealthy: boolean): Promise<void> {
  const onEnd = `the platform goes on with it: \`slipway app get ${app.metadata.name}\` shows how far it is`;
  const waiting = { client, app, timeoutMs, say, onEnd };
  const ended = await waitForApp(waiting, runningText);
  const { phase, message } = ended.status?.operationState ?? {};
  console.log(formatResources(ended));
  if (phase !== 'Succeeded') throw new UserError(`Sync of ${appName(app)} ${phase ?? 'was not begun'}: ${message ?? ''}`);
  if (untilHealthy) await waitForApp(waiting, healthText);
  console.log(`\n${appName(app)} ${message}`);
}

/** Stopped machines are as they shall be. */
const healthText = ({ status }: Application): string | undefined => {
  const health = status?.health?.status ?? 'Unknown';
  if (health === 'Healthy' || health === 'Suspended') return undefined;
  const left = (status?.resources ?? []).filter(
    ({ health: own }) => own !== undefined && !['Healthy', 'Suspended'].includes(own.status),
  );
  const names = left.map(({ kind, name, health: own }) => `${kind}/${name} ${own?.message ?? own?.status ?? ''}`);
  return `${health}: ${names.join(', ')}`;
};

/** As argocd has it, a number alone is seconds. */
const timeoutOf = (text: string | undefined): number | undefined => timeoutOption(text?.replace(/^\d+$/, '$&s'));
