import { ignoreNotFound } from '@slipway/apimachinery';
import { ConfigMapKind, SecretKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { type Application, DEFAULT_PROJECT } from '../kinds.ts';

/** How a repository is entered. */
export interface Credentials {
  readonly username?: string;
  readonly password?: string;
  readonly sshPrivateKey?: string;
  readonly insecure?: boolean;
  /** PEM of the authorities that are trusted instead of the system's. */
  readonly ca?: string;
  /** PEM of a certificate to show, and its key. */
  readonly clientCertificate?: { readonly cert: string; readonly key: string };
  /** A registry that is spoken to without TLS. */
  readonly plainHttp?: boolean;
  /** Charts that lie on another server than their index get the credentials too. */
  readonly passCredentials?: boolean;
}

const SECRET_TYPE = 'argocd.argoproj.io/secret-type';
const TLS_CERTIFICATES = 'argocd-tls-certs-cm';

type Entry = Readonly<Record<string, string | undefined>>;
type Asking = Pick<Application, 'metadata' | 'spec'>;

/** How a repository is entered: by the Secret with its URL, else by the one with the longest prefix of it. */
export async function credentialsFor(client: Client, app: Asking, url: string, signal: AbortSignal): Promise<Credentials> {
  const [entries, ca] = await Promise.all([repositoryEntries(client, app, signal), certificateFor(client, app, url, signal)]);
  const trust = ca === undefined ? {} : { ca };
  const exact = entries.find((entry) => entry['type'] === 'repository' && bare(entry['url'] ?? '') === bare(url));
  const prefixed = entries
    .filter((entry) => entry['type'] === 'repo-creds' && isPrefix(withoutOci(entry['url'] ?? ''), withoutOci(url)))
    .sort((a, b) => (b['url']?.length ?? 0) - (a['url']?.length ?? 0))[0];
  // a repository without credentials of its own takes those of its prefix
  const hasOwn = exact && (exact['password'] || exact['sshPrivateKey'] || exact['tlsClientCertData']);
  const found = exact && (hasOwn || !prefixed) ? exact : (prefixed ?? exact);
  return found === undefined ? trust : { ...credentialsIn(found), ...trust };
}

/** The URL of the repository that has this name. */
export async function repositoryNamed(
  client: Client,
  app: Asking,
  name: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const entries = await repositoryEntries(client, app, signal);
  return entries.find((entry) => entry['type'] === 'repository' && entry['name'] === name)?.['url'];
}

async function repositoryEntries(client: Client, { metadata, spec }: Asking, signal: AbortSignal): Promise<Entry[]> {
  const { items } = await client.list(SecretKind, {
    namespace: metadata.namespace ?? '',
    labelSelector: `${SECRET_TYPE} in (repository,repo-creds)`,
    signal,
  });
  return (
    items
      .map((secret): Entry => ({ ...textsOf(secret.data), type: secret.metadata.labels?.[SECRET_TYPE] }))
      // those of a project are for its applications
      .filter(({ project }) => !project || project === (spec.project || DEFAULT_PROJECT))
  );
}

function credentialsIn({
  username,
  password,
  sshPrivateKey,
  insecure,
  tlsClientCertData: cert,
  tlsClientCertKey: key,
  insecureOCIForceHttp,
}: Entry): Credentials {
  return {
    ...(username && { username }),
    ...(password && { password }),
    ...(sshPrivateKey && { sshPrivateKey }),
    ...(cert && key && { clientCertificate: { cert, key } }),
    ...(insecureOCIForceHttp === 'true' && { plainHttp: true }),
    insecure: insecure === 'true',
  };
}

/** The certificates that a ConfigMap holds for the server, by its name. */
async function certificateFor(
  client: Client,
  { metadata }: Asking,
  url: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const full = url.includes('://') ? url : `https://${url}`;
  if (!URL.canParse(full)) return undefined;
  const key = { namespace: metadata.namespace ?? '', name: TLS_CERTIFICATES };
  const found = await client.get(ConfigMapKind, key, { signal }).catch(ignoreNotFound);
  return found?.data?.[new URL(full).hostname];
}

const withoutOci = (url: string): string => url.replace(/^oci:\/\//i, '');

const bare = (url: string): string =>
  withoutOci(url)
    .replace(/\.git$/, '')
    .replace(/\/$/, '');

/** Whole parts only: `https://git.example` says nothing of `https://git.example.org`. */
const isPrefix = (prefix: string, url: string): boolean =>
  prefix !== '' && url.startsWith(prefix) && (/[/:]$/.test(prefix) || ['', '/'].includes(url.charAt(prefix.length)));

function textsOf(data: Readonly<Record<string, string>> | undefined): Entry {
  return Object.fromEntries(
    Object.entries(data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]),
  );
}
