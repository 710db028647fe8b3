import { toYaml } from '@slipway/apiserver';
import { type Application, ApplicationKind, GITOPS_NAMESPACES, type ManagedResource } from '@slipway/gitops';
import { UserError } from '../report-failure.ts';
import { type AppOptions, findApp, withClient } from './find-app.ts';
import { formatApp, formatHistory, formatList } from './format-app.ts';
import { lineDiff } from './line-diff.ts';
import { managedResources } from './managed-resources.ts';
import { REFRESH, refreshed } from './wait-for-app.ts';

interface OutputOptions extends AppOptions {
  readonly output: string;
}

/** `slipway app list` */
export function listApps(options: OutputOptions): Promise<void> {
  return withClient(options, async (client) => {
    const places = options.namespace === undefined ? [...GITOPS_NAMESPACES] : [options.namespace];
    const apps: Application[] = [];
    for (const namespace of places) apps.push(...(await client.list(ApplicationKind, { namespace })).items);
    print(
      options.output,
      apps.map(withoutManagers),
      () => formatList(apps),
      apps.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`),
    );
  });
}

/** `slipway app get` */
export function getApp(name: string, options: OutputOptions & { refresh?: boolean; hardRefresh?: boolean }): Promise<void> {
  return withClient(options, async (client) => {
    const found = await findApp(client, name, options);
    const isAsked = options.refresh === true || options.hardRefresh === true;
    const app = isAsked ? await refreshed(client, found, options.hardRefresh ? 'hard' : REFRESH) : found;
    print(options.output, withoutManagers(app), () => formatApp(app), [`${app.metadata.namespace}/${app.metadata.name}`]);
  });
}

/** `slipway app history` */
export function appHistory(name: string, options: OutputOptions): Promise<void> {
  return withClient(options, async (client) => {
    const history = (await findApp(client, name, options)).status?.history ?? [];
    print(
      options.output,
      history,
      () => formatHistory(history),
      history.map(({ id }) => String(id)),
    );
  });
}

/** As kubectl and argocd show objects: who has set which field is rarely asked for. Pure. */
export function withoutManagers(app: Application): Application {
  const { managedFields: _managers, ...metadata } = app.metadata;
  return { ...app, metadata };
}

function print(format: string, value: unknown, text: () => string, names: readonly string[]): void {
  if (format === 'json') console.log(JSON.stringify(value, undefined, 2));
  else if (format === 'yaml') process.stdout.write(toYaml(value));
  else if (format === 'name') for (const name of names) console.log(name);
  else console.log(text());
}

const EXIT_DIFFERS = 1;
const EXIT_TROUBLE = 2;

/** `slipway app diff`: as diff's, exit status 1 says that something differs, 2 that nobody knows. */
export async function diffApp(name: string, options: AppOptions & { revision?: string; exitCode: boolean }): Promise<void> {
  try {
    await withClient(options, async (client) => {
      const resources = await managedResources(client, await findApp(client, name, options), options.revision);
      const different = resources.filter(({ isDifferent }) => isDifferent);
      for (const resource of different) process.stdout.write(formatDifference(resource));
      if (different.length > 0 && options.exitCode) process.exitCode = EXIT_DIFFERS;
    });
  } catch (error) {
    throw new UserError(error instanceof Error ? error.message : String(error), EXIT_TROUBLE);
  }
}

/** Pure. */
export function formatDifference({ group, kind, namespace, name, live, target }: ManagedResource): string {
  const text = (object: unknown): string => (object === undefined ? '' : toYaml(object));
  return `===== ${group}/${kind} ${namespace}/${name} ======\n${lineDiff(text(live), text(target))}`;
}
