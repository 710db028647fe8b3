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
import { type Command, Option } from 'commander';
import { parseDuration } from './go-duration.ts';
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
  readonly requestTimeout?: string;
}

/** A cluster to talk to, and the namespace commands mean when they name none. */
export interface Connection {
  readonly client: Client;
  readonly namespace: string;
  close(): Promise<void>;
}

/** kubectl's connection flags. */
const FLAGS: readonly (readonly [flags: string, description: string, parse?: typeof collect])[] = [
  ['--kubeconfig <string>', 'path to the kubeconfig file'],
  ['--context <string>', 'kubeconfig context to use'],
  ['--cluster <string>', 'kubeconfig cluster to use'],
  ['--user <string>', 'kubeconfig user to use'],
  ['-n, --namespace <string>', 'namespace of the request'],
  ['-s, --server <string>', 'address of the API server'],
  ['--token <string>', 'bearer token'],
  ['--as <string>', 'user to impersonate'],
  ['--as-group <stringArray>', 'group to impersonate (repeatable)', collect],
  ['--certificate-authority <string>', 'file with the CA of the API server'],
  ['--client-certificate <string>', 'client certificate file'],
  ['--client-key <string>', 'client key file'],
  ['--insecure-skip-tls-verify', "do not check the server's certificate"],
  ['--tls-server-name <string>', 'server name for the certificate check'],
  ['--request-timeout <string>', 'time after which a request is given up, 0: never'],
  ['--disable-compression', 'accepted for compatibility: answers are not compressed'],
  ['-v, --v <Level>', 'accepted for compatibility: nothing is logged'],
];
const GLOBAL = 'Global';

/** Where ssh's inner call finds the token that its outer one was given. */
export const TOKEN_VARIABLE = 'VIRTCTL_TOKEN';

/** Whether a flag is one of the connection, which every command takes. */
export const isConnectionFlag = ({ helpGroupHeading }: Option): boolean => helpGroupHeading === GLOBAL;

/**
 * Adds the connection flags to a command; pflag lets them stand anywhere, so every command has them. A flag of the
 * command's own (`--user` of the guest) takes the place of the connection flag of that name.
 */
export function addConnectionFlags(command: Command): Command {
  const own = command.options.flatMap(({ long, short }) => [long, short]);
  for (const [flags, description, parse] of FLAGS) {
    const option = new Option(flags, description);
    if (own.includes(option.long)) continue;
    option.helpGroupHeading = GLOBAL;
    command.addOption(parse === undefined ? option : option.argParser(parse));
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
  const timeoutMs = requestTimeout(flags.requestTimeout);
  const token = flags.token ?? io.env[TOKEN_VARIABLE];
  const client = createHttpClient(await withOverrides(resolved.client, { ...flags, ...(token !== undefined && { token }) }));
  return {
    client: timeoutMs === 0 ? client : withTimeout(client, timeoutMs),
    namespace: flags.namespace ?? resolved.namespace,
    close: () => client.close(),
  };
}

/** Milliseconds; a number without a unit means seconds, 0 no limit. */
function requestTimeout(text: string | undefined): number {
  if (text === undefined) return 0;
  return /^\d+$/.test(text) ? Number(text) * 1_000 : parseDuration('request-timeout', text);
}

/** Gives up requests that take longer; streams and watches may. */
function withTimeout(client: Client, timeoutMs: number): Client {
  const limited = <T extends { readonly signal?: AbortSignal }>(options: T | undefined) => {
    const limit = AbortSignal.timeout(timeoutMs);
    const signal = options?.signal === undefined ? limit : AbortSignal.any([options.signal, limit]);
    return { ...options, signal };
  };
  return {
    ...client,
    get: (kind, key, options) => client.get(kind, key, limited(options)),
    list: (kind, options) => client.list(kind, limited(options)),
    create: (kind, object, options) => client.create(kind, object, limited(options)),
    update: (kind, object, options) => client.update(kind, object, limited(options)),
    patch: (kind, key, patch, options) => client.patch(kind, key, patch, { ...options, ...limited(options) }),
    delete: (kind, key, options) => client.delete(kind, key, limited(options)),
    raw: (request) => client.raw({ ...request, ...limited(request) }),
  };
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
export const guestfsPath = `${BASE}/guestfs`;
export const groupPath = '/apis/subresources.kubevirt.io';

/** `gitVersion` in a version answer. */
export function gitVersionOf(body: unknown): string | undefined {
  return isObject(body) && typeof body['gitVersion'] === 'string' ? body['gitVersion'] : undefined;
}
