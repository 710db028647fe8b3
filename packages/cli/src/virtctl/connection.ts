import { readFile } from 'node:fs/promises';
import { isObject } from '@slipway/apimachinery';
import {
  type Client,
  type ClientConfig,
  createHttpClient,
  type Credentials,
  type Kubeconfig,
  kubeconfigPaths,
  loadKubeconfigs,
  resolveKubeconfig,
} from '@slipway/client';
import type { Command } from 'commander';
import { CommandFailure, type VirtctlIo } from './io.ts';
import { collect } from './pflag.ts';

/** kubectl's connection flags. */
export interface ConnectionFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly cluster?: string;
  readonly user?: string;
  readonly namespace?: string;
  readonly server?: string;
  readonly token?: string;
  readonly as?: string;
  readonly asGroup?: readonly string[];
  readonly certificateAuthority?: string;
  readonly clientCertificate?: string;
  readonly clientKey?: string;
  readonly insecureSkipTlsVerify?: boolean;
  readonly tlsServerName?: string;
}

/** A cluster to talk to, and the namespace commands mean when they name none. */
export interface Connection {
  readonly client: Client;
  readonly namespace: string;
  close(): Promise<void>;
}

/** kubectl's connection flags. */
const FLAGS: readonly (readonly [flags: string, description: string, parse?: typeof collect])[] = [
  ['--kubeconfig <path>', 'path to the kubeconfig file'],
  ['--context <name>', 'kubeconfig context to use'],
  ['--cluster <name>', 'kubeconfig cluster to use'],
  ['--user <name>', 'kubeconfig user to use'],
  ['-n, --namespace <name>', 'namespace of the request'],
  ['-s, --server <url>', 'address of the API server'],
  ['--token <token>', 'bearer token'],
  ['--as <user>', 'user to impersonate'],
  ['--as-group <group>', 'group to impersonate (repeatable)', collect],
  ['--certificate-authority <path>', 'file with the CA of the API server'],
  ['--client-certificate <path>', 'client certificate file'],
  ['--client-key <path>', 'client key file'],
  ['--insecure-skip-tls-verify', "do not check the server's certificate"],
  ['--tls-server-name <name>', 'server name for the certificate check'],
  ['--request-timeout <duration>', 'time after which a request is given up'],
  ['-v, --v <level>', 'log level'],
];

/**
 * Adds the connection flags to a command; pflag lets them stand anywhere, so every command has them. A flag of the
 * command's own (`--user` of the guest) takes the place of the connection flag of that name.
 */
export function addConnectionFlags(command: Command): Command {
  const own = command.options.map(({ long }) => long);
  for (const [flags, description, parse] of FLAGS) {
    if (own.includes(/--[\w-]+/.exec(flags)?.[0])) continue;
    if (parse === undefined) command.option(flags, description);
    else command.option(flags, description, parse);
  }
  return command;
}

/** Resolves kubeconfig and flags. Throws CommandFailure when there is no cluster to talk to. */
export async function connect(io: VirtctlIo, flags: ConnectionFlags): Promise<Connection> {
  const paths = kubeconfigPaths({
    ...(flags.kubeconfig !== undefined && { explicit: flags.kubeconfig }),
    ...(io.env['KUBECONFIG'] !== undefined && { variable: io.env['KUBECONFIG'] }),
    home: io.home,
  });
  const kubeconfig = withNames(await loadKubeconfigs(paths), flags);
  const isEmpty = kubeconfig['current-context'] === '' && flags.context === undefined;
  if (isEmpty && flags.server === undefined)
    throw new CommandFailure(
      `No cluster to talk to: ${paths.join(', ')} names none. Run "slipway kubeconfig --merge", or give --kubeconfig.`,
    );
  const resolved = isEmpty
    ? { client: { server: flags.server ?? '' }, namespace: 'default' }
    : await resolveKubeconfig(kubeconfig, flags.context === undefined ? {} : { context: flags.context });
  const client = createHttpClient(await withOverrides(resolved.client, flags));
  return { client, namespace: flags.namespace ?? resolved.namespace, close: () => client.close() };
}

/** `--cluster` and `--user` replace those of the context. */
function withNames(kubeconfig: Kubeconfig, { context, cluster, user }: ConnectionFlags): Kubeconfig {
  if (cluster === undefined && user === undefined) return kubeconfig;
  const name = context ?? kubeconfig['current-context'];
  const contexts = kubeconfig.contexts.map((entry) =>
    entry.name === name
      ? {
          ...entry,
          context: { ...entry.context, ...(cluster !== undefined && { cluster }), ...(user !== undefined && { user }) },
        }
      : entry,
  );
  return { ...kubeconfig, contexts };
}

async function withOverrides(config: ClientConfig, flags: ConnectionFlags): Promise<ClientConfig> {
  const read = (path: string | undefined): Promise<string | undefined> =>
    path === undefined ? Promise.resolve(undefined) : readFile(path, 'utf8');
  const [ca, cert, key] = await Promise.all([flags.certificateAuthority, flags.clientCertificate, flags.clientKey].map(read));
  const given: Credentials = {
    ...(flags.token !== undefined && { token: flags.token }),
    ...(cert !== undefined && key !== undefined && { cert, key }),
    ...(flags.as !== undefined && { impersonate: { user: flags.as, groups: flags.asGroup ?? [] } }),
  };
  return {
    ...config,
    credentials: async () => ({ ...(await config.credentials?.()), ...given }),
    ...(flags.server !== undefined && { server: flags.server }),
    ...(ca !== undefined && { ca }),
    ...(flags.insecureSkipTlsVerify === true && { insecureSkipTlsVerify: true }),
    ...(flags.tlsServerName !== undefined && { tlsServerName: flags.tlsServerName }),
  };
}

type Plural = 'virtualmachines' | 'virtualmachineinstances';

const BASE = '/apis/subresources.kubevirt.io/v1';

export function subresourcePath(namespace: string, plural: Plural, name: string, subresource: string): string {
  return `${BASE}/namespaces/${encodeURIComponent(namespace)}/${plural}/${encodeURIComponent(name)}/${subresource}`;
}

export const versionPath = `${BASE}/version`;
export const groupPath = '/apis/subresources.kubevirt.io';

/** `gitVersion` in a version answer. */
export function gitVersionOf(body: unknown): string | undefined {
  return isObject(body) && typeof body['gitVersion'] === 'string' ? body['gitVersion'] : undefined;
}
