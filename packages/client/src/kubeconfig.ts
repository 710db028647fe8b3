import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { parse, stringify } from 'yaml';
import type { ClientConfig, Credentials } from './client-config.ts';
import { execCredentials, type ExecConfig, type RunPlugin } from './exec-credential.ts';

export interface KubeconfigCluster {
  server: string;
  'certificate-authority'?: string;
  'certificate-authority-data'?: string;
  'insecure-skip-tls-verify'?: boolean;
  'tls-server-name'?: string;
  'proxy-url'?: string;
}

export interface KubeconfigUser {
  'client-certificate'?: string;
  'client-certificate-data'?: string;
  'client-key'?: string;
  'client-key-data'?: string;
  token?: string;
  tokenFile?: string;
  username?: string;
  password?: string;
  as?: string;
  'as-groups'?: string[];
  exec?: ExecConfig;
}

export interface KubeconfigContext {
  cluster: string;
  user: string;
  namespace?: string;
}

/** `v1.Config`; unknown fields are kept when it is written again. */
export interface Kubeconfig {
  apiVersion: 'v1';
  kind: 'Config';
  clusters: { name: string; cluster: KubeconfigCluster }[];
  users: { name: string; user: KubeconfigUser }[];
  contexts: { name: string; context: KubeconfigContext }[];
  'current-context': string;
  [field: string]: unknown;
}

export const emptyKubeconfig = (): Kubeconfig => ({
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [],
  users: [],
  contexts: [],
  'current-context': '',
});

/** Parses one file's text; file names in it are made absolute against `baseDir`. Throws when it is not a kubeconfig. */
export function parseKubeconfig(text: string, baseDir: string): Kubeconfig {
  const value: unknown = parse(text);
  if (value === null || value === undefined) return emptyKubeconfig();
  if (typeof value !== 'object' || Array.isArray(value)) throw new Error('Not a kubeconfig: a mapping is expected');
  // fields of the wrong type surface where they are used
  const config = { ...emptyKubeconfig(), ...(value as Partial<Kubeconfig>) };
  config.clusters ??= [];
  config.users ??= [];
  config.contexts ??= [];
  const absolute = (path: string | undefined): string | undefined => (path && !isAbsolute(path) ? resolve(baseDir, path) : path);
  for (const { cluster } of config.clusters) set(cluster, 'certificate-authority', absolute(cluster['certificate-authority']));
  for (const { user } of config.users) {
    for (const field of ['client-certificate', 'client-key', 'tokenFile'] as const) set(user, field, absolute(user[field]));
  }
  return config;
}

function set<T extends object, K extends keyof T>(target: T, key: K, value: T[K] | undefined): void {
  if (value !== undefined) target[key] = value;
}

export const renderKubeconfig = (config: Kubeconfig): string => stringify(config);

/** Merges as kubectl does: the first file that has an entry, or names a current context, wins. */
export function mergeKubeconfigs(configs: readonly Kubeconfig[]): Kubeconfig {
  const merged = emptyKubeconfig();
  for (const config of configs) {
    for (const list of ['clusters', 'users', 'contexts'] as const) addMissing<{ name: string }>(merged[list], config[list]);
    merged['current-context'] ||= config['current-context'] ?? '';
  }
  return merged;
}

function addMissing<T extends { name: string }>(into: T[], from: readonly T[]): void {
  const names = new Set(into.map(({ name }) => name));
  for (const entry of from) if (!names.has(entry.name)) into.push(entry);
}

/** Puts one config's entries and current context into another, replacing entries of the same name. */
export function overlayKubeconfig(base: Kubeconfig, over: Kubeconfig): Kubeconfig {
  const merged = mergeKubeconfigs([over, base]);
  const { clusters, users, contexts } = merged;
  return { ...base, clusters, users, contexts, 'current-context': over['current-context'] || base['current-context'] };
}

/** Loads the files of a `KUBECONFIG` list (or one path), missing ones left out. */
export async function loadKubeconfigs(paths: readonly string[]): Promise<Kubeconfig> {
  const configs: Kubeconfig[] = [];
  for (const path of paths) {
    try {
      configs.push(parseKubeconfig(await readFile(path, 'utf8'), dirname(resolve(path))));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT'))
        throw new Error(`Cannot load kubeconfig ${path}`, { cause: error });
    }
  }
  return mergeKubeconfigs(configs);
}

/** Files to load: an explicit path, else the `KUBECONFIG` list, else `~/.kube/config`. */
export function kubeconfigPaths(options: { explicit?: string; variable?: string; home: string }): readonly string[] {
  if (options.explicit) return [options.explicit];
  const listed = (options.variable ?? '').split(':').filter((path) => path !== '');
  return listed.length > 0 ? listed : [join(options.home, '.kube', 'config')];
}

export interface ResolveOptions {
  /** Instead of the current context. */
  readonly context?: string;
  /** Runs exec credential plugins; without it such users are refused. */
  readonly runPlugin?: RunPlugin;
  readonly userAgent?: string;
}

/** What a context means: where to connect and as whom. Certificate and token files are read again for every use. */
export async function resolveKubeconfig(
  config: Kubeconfig,
  options: ResolveOptions = {},
): Promise<{ readonly client: ClientConfig; readonly namespace: string }> {
  const contextName = options.context ?? config['current-context'];
  if (contextName === '') throw new Error('The kubeconfig names no current context; choose one with --context');
  const { context } = find(config.contexts, contextName, 'context');
  const { cluster } = find(config.clusters, context.cluster, 'cluster');
  const user = context.user ? find(config.users, context.user, 'user').user : {};
  const ca = await pem(cluster['certificate-authority-data'], cluster['certificate-authority']);
  return {
    namespace: context.namespace || 'default',
    client: {
      server: cluster.server,
      credentials: credentialsOf(user, cluster, options.runPlugin),
      ...(ca !== undefined && { ca }),
      ...(cluster['tls-server-name'] && { tlsServerName: cluster['tls-server-name'] }),
      ...(cluster['insecure-skip-tls-verify'] && { insecureSkipTlsVerify: true }),
      ...(options.userAgent && { userAgent: options.userAgent }),
    },
  };
}

function credentialsOf(
  user: KubeconfigUser,
  cluster: KubeconfigCluster,
  runPlugin: RunPlugin | undefined,
): () => Promise<Credentials> {
  const plugin = user.exec ? execCredentials(user.exec, cluster, runPlugin) : undefined;
  return async () => {
    const cert = await pem(user['client-certificate-data'], user['client-certificate']);
    const key = await pem(user['client-key-data'], user['client-key']);
    const token = user.tokenFile ? (await readFile(user.tokenFile, 'utf8')).trim() : user.token;
    return {
      ...(cert !== undefined && key !== undefined && { cert, key }),
      ...(token && { token }),
      ...(user.username !== undefined && { username: user.username, password: user.password ?? '' }),
      ...(user.as && { impersonate: { user: user.as, groups: user['as-groups'] ?? [] } }),
      ...(await plugin?.()),
    };
  };
}

function find<T extends { name: string }>(entries: readonly T[], name: string, what: string): T {
  const entry = entries.find((candidate) => candidate.name === name);
  if (entry === undefined) throw new Error(`The kubeconfig has no ${what} "${name}"`);
  return entry;
}

/** Inline data wins over a file, as in client-go. */
async function pem(data: string | undefined, file: string | undefined): Promise<string | undefined> {
  if (data) return Buffer.from(data, 'base64').toString('utf8');
  return file ? readFile(file, 'utf8') : undefined;
}
