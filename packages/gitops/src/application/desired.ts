import { isNotFound, type KubeObject, type ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type Application, type ApplicationSource, type AppProject, sourcesOf } from '../kinds.ts';
import type { RemoteDependency } from '../sources/chart-dependencies.ts';
import { isChartSource } from '../sources/chart-place.ts';
import { credentialsFor, repositoryNamed } from '../sources/credentials.ts';
import { generateManifests, type SourceDeps, type SourceInput, type SourceType } from '../sources/manifests.ts';
import { defaultRevision, type Repositories } from '../sources/repositories.ts';
import { SourceError } from '../sources/source-error.ts';
import { permitsRepository } from './project.ts';

export interface DesiredDeps extends SourceDeps {
  readonly client: Client;
  readonly repositories: Repositories;
}

export interface Desired {
  readonly revisions: readonly string[];
  readonly types: readonly SourceType[];
  readonly objects: readonly KubeObject[];
}

export interface ClusterVersions {
  readonly kubeVersion: string;
  readonly apiVersions: readonly string[];
}

/** The objects that an application's sources make at these revisions, or at what they mean now. */
export async function desiredState(
  { client, repositories, ...deps }: DesiredDeps,
  { app, project }: { readonly app: Application; readonly project: AppProject },
  versions: ClusterVersions,
  pinned: readonly (string | undefined)[],
  resolve: Repositories['resolve'],
  signal: AbortSignal,
): Promise<Desired> {
  const sources = sourcesOf(app.spec);
  const places: { source: ApplicationSource; root: string; revision: string }[] = [];
  for (const [index, source] of sources.entries()) {
    const credentials = await credentialsFor(client, app, source.repoURL, signal);
    const wanted = pinned[index] ?? source.targetRevision ?? defaultRevision(source);
    const revision = await resolve(source, wanted, credentials, signal);
    const root = await repositories.checkout(source, { revision: wanted, resolved: revision }, credentials, signal);
    places.push({ source: placed(source), revision, root });
  }
  const refs = new Map(places.flatMap(({ source, root }) => (source.ref ? [[source.ref, root] as const] : [])));
  const dependency = dependencies({ client, charts: repositories.charts, resolve }, app, project);
  const types: SourceType[] = [];
  const objects: KubeObject[] = [];
  for (const { source, root, revision } of places) {
    // a source that others refer to need not make anything
    if (source.ref && source.path === undefined && !isChartSource(source)) continue;
    const appNamespace = app.spec.destination.namespace ?? '';
    const appName = app.metadata.name ?? '';
    const variables = buildVariables(app, source, revision);
    const made = await generateManifests(
      { source, root, refs, appName, namespace: appNamespace, variables, ...versions, dependency },
      deps,
      signal,
    );
    types.push(made.type);
    objects.push(...made.objects);
  }
  return { revisions: places.map(({ revision }) => revision), types, objects };
}

/** A chart of a repository is the whole of what was fetched. */
function placed(source: ApplicationSource): ApplicationSource {
  if (!source.chart) return source;
  const { path: _path, ...rest } = source;
  return rest;
}

/** Fetches what charts depend on. Credentials are for repositories that the project names. */
const dependencies =
  (
    { client, charts, resolve }: Pick<DesiredDeps, 'client'> & Pick<Repositories, 'charts' | 'resolve'>,
    app: Application,
    project: AppProject,
  ): SourceInput['dependency'] =>
  async ({ name, repository, version }: RemoteDependency, signal) => {
    const url = repository.startsWith('@') ? await repositoryNamed(client, app, repository.slice(1), signal) : repository;
    if (url === undefined)
      throw new SourceError(
        `no repository is named ${repository.slice(1)}: give a Secret with the label argocd.argoproj.io/secret-type: repository, that name and its url`,
      );
    const credentials = permitsRepository(project, url) ? await credentialsFor(client, app, url, signal) : {};
    const wanted = { repoURL: url, chart: name };
    const found = await resolve(wanted, version, credentials, signal);
    return { path: `charts/${name}-${found}.tgz`, data: await charts.archive(wanted, found, credentials, signal) };
  };

function buildVariables(app: Application, source: ApplicationSource, revision: string): Map<string, string> {
  return new Map([
    ['ARGOCD_APP_NAME', app.metadata.name ?? ''],
    ['ARGOCD_APP_NAMESPACE', app.spec.destination.namespace ?? ''],
    ['ARGOCD_APP_PROJECT_NAME', app.spec.project ?? 'default'],
    ['ARGOCD_APP_REVISION', revision],
    ['ARGOCD_APP_REVISION_SHORT', revision.slice(0, 7)],
    ['ARGOCD_APP_SOURCE_PATH', source.path ?? '.'],
    ['ARGOCD_APP_SOURCE_REPO_URL', source.repoURL],
    ['ARGOCD_APP_SOURCE_TARGET_REVISION', source.targetRevision ?? defaultRevision(source)],
  ]);
}

/** What the cluster says of itself, for charts that ask. */
export async function clusterVersions(
  client: Client,
  kinds: readonly ResourceKind<KubeObject>[],
  signal: AbortSignal,
): Promise<ClusterVersions> {
  const { body } = await client.raw({ method: 'GET', path: '/version', signal });
  const gitVersion = typeof body === 'object' && body !== null && 'gitVersion' in body ? String(body.gitVersion) : 'v1.34.0';
  const named = kinds.map(({ group, version, kind }) => ({ api: group === '' ? version : `${group}/${version}`, kind }));
  return { kubeVersion: gitVersion, apiVersions: [...new Set(named.flatMap(({ api, kind }) => [api, `${api}/${kind}`]))] };
}

/** An Argo CD of its own reconciles the applications: then this controller leaves them alone. */
export async function hasArgoCd(client: Client, signal: AbortSignal): Promise<boolean> {
  for (const plural of ['statefulsets', 'deployments']) {
    try {
      const query = { labelSelector: 'app.kubernetes.io/name in (argocd-application-controller)', limit: '1' };
      const { status, body } = await client.raw({ method: 'GET', path: `/apis/apps/v1/${plural}`, query, signal });
      const items = typeof body === 'object' && body !== null && 'items' in body && Array.isArray(body.items) ? body.items : [];
      if (status < 300 && items.length > 0) return true;
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
  return false;
}
