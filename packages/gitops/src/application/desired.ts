import { isNotFound, type KubeObject, type ResourceKind } from '@slipway/apimachinery';
import { SecretKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { type Application, type ApplicationSource, DEFAULT_PROJECT, sourcesOf } from '../kinds.ts';
import type { Credentials, GitRepositories } from '../sources/git.ts';
import { generateManifests, type SourceDeps, type SourceType } from '../sources/manifests.ts';

export interface DesiredDeps extends SourceDeps {
  readonly client: Client;
  readonly git: GitRepositories;
}

export interface Desired {
  readonly revisions: readonly string[];
  readonly types: readonly SourceType[];
  readonly objects: readonly KubeObject[];
}

const SECRET_TYPE = 'argocd.argoproj.io/secret-type';

/** How a repository is entered: by the Secret with its URL, else by the one with the longest prefix of it. */
export async function credentialsFor(
  client: Client,
  { metadata, spec }: Pick<Application, 'metadata' | 'spec'>,
  url: string,
  signal: AbortSignal,
): Promise<Credentials> {
  const namespace = metadata.namespace ?? '';
  const { items } = await client.list(SecretKind, {
    namespace,
    labelSelector: `${SECRET_TYPE} in (repository,repo-creds)`,
    signal,
  });
  const bare = (text: string): string => text.replace(/\.git$/, '').replace(/\/$/, '');
  const entries = items
    .map(
      (secret): Record<string, string | undefined> => ({
        ...textsOf(secret.data),
        type: secret.metadata.labels?.[SECRET_TYPE],
      }),
    )
    // those of a project are for its applications
    .filter(({ project }) => !project || project === (spec.project || DEFAULT_PROJECT));
  const exact = entries.find((entry) => entry['type'] === 'repository' && bare(entry['url'] ?? '') === bare(url));
  const prefixed = entries
    .filter((entry) => entry['type'] === 'repo-creds' && isPrefix(entry['url'], url))
    .sort((a, b) => (b['url']?.length ?? 0) - (a['url']?.length ?? 0))[0];
  // a repository without credentials of its own takes those of its prefix
  const found = exact && (exact['password'] || exact['sshPrivateKey'] || !prefixed) ? exact : (prefixed ?? exact);
  if (found === undefined) return {};
  const { username, password, sshPrivateKey, insecure } = found;
  return {
    ...(username && { username }),
    ...(password && { password }),
    ...(sshPrivateKey && { sshPrivateKey }),
    insecure: insecure === 'true',
  };
}

/** Whole parts only: `https://git.example` says nothing of `https://git.example.org`. */
const isPrefix = (prefix: string | undefined, url: string): boolean =>
  !!prefix && url.startsWith(prefix) && (/[/:]$/.test(prefix) || ['', '/'].includes(url.charAt(prefix.length)));

function textsOf(data: Readonly<Record<string, string>> | undefined): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]),
  );
}

export interface ClusterVersions {
  readonly kubeVersion: string;
  readonly apiVersions: readonly string[];
}

/** The objects that an application's sources make at these revisions, or at what they mean now. */
export async function desiredState(
  { client, git, ...deps }: DesiredDeps,
  app: Application,
  versions: ClusterVersions,
  pinned: readonly (string | undefined)[],
  resolve: GitRepositories['resolve'],
  signal: AbortSignal,
): Promise<Desired> {
  const sources = sourcesOf(app.spec);
  const places: { source: ApplicationSource; root: string; revision: string }[] = [];
  for (const [index, source] of sources.entries()) {
    const credentials = await credentialsFor(client, app, source.repoURL, signal);
    const wanted = pinned[index] ?? source.targetRevision ?? 'HEAD';
    const revision = await resolve(source.repoURL, wanted, credentials, signal);
    places.push({ source, revision, root: await git.checkout(source.repoURL, wanted, revision, credentials, signal) });
  }
  const refs = new Map(places.flatMap(({ source, root }) => (source.ref ? [[source.ref, root] as const] : [])));
  const types: SourceType[] = [];
  const objects: KubeObject[] = [];
  for (const { source, root, revision } of places) {
    // a source that others refer to need not make anything
    if (source.ref && source.path === undefined) continue;
    const appNamespace = app.spec.destination.namespace ?? '';
    const appName = app.metadata.name ?? '';
    const variables = buildVariables(app, source, revision);
    const made = await generateManifests(
      { source, root, refs, appName, namespace: appNamespace, variables, ...versions },
      deps,
      signal,
    );
    types.push(made.type);
    objects.push(...made.objects);
  }
  return { revisions: places.map(({ revision }) => revision), types, objects };
}

function buildVariables(app: Application, source: ApplicationSource, revision: string): Map<string, string> {
  return new Map([
    ['ARGOCD_APP_NAME', app.metadata.name ?? ''],
    ['ARGOCD_APP_NAMESPACE', app.spec.destination.namespace ?? ''],
    ['ARGOCD_APP_PROJECT_NAME', app.spec.project ?? 'default'],
    ['ARGOCD_APP_REVISION', revision],
    ['ARGOCD_APP_REVISION_SHORT', revision.slice(0, 7)],
    ['ARGOCD_APP_SOURCE_PATH', source.path ?? '.'],
    ['ARGOCD_APP_SOURCE_REPO_URL', source.repoURL],
    ['ARGOCD_APP_SOURCE_TARGET_REVISION', source.targetRevision ?? 'HEAD'],
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
