import { realpath } from 'node:fs/promises';
import { addressGuard, type AddressGuard } from '@slipway/runtime';
import { isInside } from './read-tree.ts';
import { SourceError } from './source-error.ts';

/** What sources may reach that an administrator of the machine has to allow. */
export interface SourceReach {
  /** Directories of this machine with repositories. */
  readonly paths?: readonly string[];
  /** Loopback, link-local and metadata addresses: CIDRs, addresses, `host` or `host:port`. */
  readonly addresses?: readonly string[];
}

/** Where a repository is, as far as that has to be checked. */
export type Place =
  | { readonly type: 'file'; readonly path: string }
  | { readonly type: 'http' }
  | { readonly type: 'ssh'; readonly host: string; readonly port: number };

const SSH_PORT = 22;

/** What a repository's URL means. Throws SourceError for forms that are not supported: some would run programs. */
export function placeOf(url: string): Place {
  const place = /[\s\0]/.test(url) || /^[^/]*::/.test(url) ? undefined : placeIn(url);
  if (place === undefined) throw new SourceError(`repository URL ${JSON.stringify(url)} is not supported`);
  return place;
}

function placeIn(url: string): Place | undefined {
  if (url.startsWith('/')) return { type: 'file', path: url };
  const [, scheme] = /^([a-z+]+):\/\//i.exec(url) ?? [];
  if (scheme === undefined) {
    const [, host] = /^(?:[\w.-]+@)([\w][\w.-]*):/.exec(url) ?? [];
    return host === undefined ? undefined : { type: 'ssh', host, port: SSH_PORT };
  }
  return URL.canParse(url) ? placeOfUrl(scheme.toLowerCase(), new URL(url)) : undefined;
}

function placeOfUrl(scheme: string, { host, hostname, pathname, port }: URL): Place | undefined {
  switch (scheme) {
    case 'file':
      return host === '' ? { type: 'file', path: decodeURIComponent(pathname) } : undefined;
    case 'http':
    case 'https':
      return { type: 'http' };
    case 'ssh':
      // a name that begins with a dash would be an option of the program
      return /^(?:\w[\w.-]*|\[[0-9a-f:.]+\])$/i.test(hostname)
        ? { type: 'ssh', host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? SSH_PORT : Number(port) }
        : undefined;
    default:
      return undefined;
  }
}

/** The guard of everything that goes over the network. */
export const sourceGuard = ({ addresses = [] }: SourceReach): AddressGuard =>
  addressGuard(addresses, {
    refused: (shown) =>
      new SourceError(
        `unable to connect to ${shown}: repositories at loopback, link-local and metadata addresses are refused; ` +
          '`slipway up --allow-git-address` allows one',
      ),
    invalid: (exception) => new Error(`"${exception}" is neither an address, a CIDR nor a host name`),
  });

/** Throws SourceError unless the path lies below one that is allowed; links count as where they lead. */
export async function checkPath({ paths = [] }: SourceReach, path: string): Promise<void> {
  const real = await realpath(path).catch(() => undefined);
  // what is not there looks as what is not allowed: nobody learns which files this machine has
  for (const allowed of paths) {
    const root = await realpath(allowed).catch(() => undefined);
    if (real !== undefined && root !== undefined && isInside(root, real)) return;
  }
  throw new SourceError(
    `failed to read the repository: ${path} is not a repository below a directory that \`slipway up --allow-git-path\` names`,
  );
}

/** The address that an ssh client is to be led to; names are resolved once, so that they cannot mean something else later. */
export async function sshAddress(guard: AddressGuard, { host, port }: { host: string; port: number }): Promise<string> {
  guard.checkHost(host, port);
  return new Promise((resolve, reject) => {
    guard.lookup(host, {}, (error, address) => {
      if (error === null && typeof address === 'string') resolve(address);
      else reject(error instanceof SourceError ? error : new SourceError(`unable to resolve ${host}: ${error?.message ?? ''}`));
    });
  });
}
