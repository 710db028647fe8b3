import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import {
  type CertificateOptions,
  createAuthority,
  expiryOf,
  generateServiceAccountKey,
  issueCertificate,
  type KeyPair,
} from '@slipway/apiserver';
import { renderKubeconfig } from '@slipway/client';
import type { InstanceConfig } from './instance-config.ts';
import { replaceFile } from './instance-store.ts';
import type { InstancePaths } from './paths.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const AUTHORITY_DAYS = 3650;
const LEAF_DAYS = 365;
/** A leaf is issued again when less than this is left. */
const RENEW_DAYS = 120;
/** Certificates are good from a while ago: clocks of clients differ. */
const BACKDATE_MS = 60 * 60 * 1000;

export interface PkiFiles {
  readonly authority: string;
  readonly authorityKey: string;
  readonly serving: string;
  readonly servingKey: string;
  readonly tokenKey: string;
  /** Signs service account tokens; they survive a restart of the server. */
  readonly serviceAccountKey: string;
}

export function pkiFiles(paths: InstancePaths): PkiFiles {
  const file = (name: string) => join(paths.pki, name);
  return {
    authority: file('ca.crt'),
    authorityKey: file('ca.key'),
    serving: file('serving.crt'),
    servingKey: file('serving.key'),
    tokenKey: file('token.key'),
    serviceAccountKey: file('service-account.key'),
  };
}

/**
 * Makes what is missing or about to expire: the CA, the serving certificate, one client certificate per agent and one for
 * the administrator. The server may read its own directory only; agents' and administrator's files belong to root.
 */
export async function ensureCredentials(config: InstanceConfig, paths: InstancePaths): Promise<void> {
  const files = pkiFiles(paths);
  const authority = await ensureAuthority(config, files);
  await ensureServing(config, files, authority);
  if (!existsSync(files.tokenKey)) writeOwned(files.tokenKey, randomBytes(32).toString('base64'), 0o600, config.serverUid);
  if (!existsSync(files.serviceAccountKey))
    writeOwned(files.serviceAccountKey, generateServiceAccountKey(), 0o600, config.serverUid);
  const client = async (path: string, name: string, commonName: string, organizations: string[]) => {
    const kubeconfig = await clientKubeconfig(authority, config, path, { name, commonName, organizations });
    if (kubeconfig !== undefined) replaceFile(path, kubeconfig, 0o600);
  };
  await client(paths.adminKubeconfig, 'slipway-admin', 'slipway-admin', ['system:masters']);
  for (const node of config.nodes)
    await client(paths.node(node.name).kubeconfig, node.name, `system:node:${node.name}`, ['system:nodes']);
}

async function ensureAuthority(config: InstanceConfig, files: PkiFiles): Promise<KeyPair> {
  if (existsSync(files.authority))
    return { cert: readFileSync(files.authority, 'utf8'), key: readFileSync(files.authorityKey, 'utf8') };
  const authority = await createAuthority({ commonName: `slipway-${config.id}`, ...validity(AUTHORITY_DAYS) });
  writeOwned(files.authorityKey, authority.key, 0o600, config.serverUid);
  writeOwned(files.authority, authority.cert, 0o644, config.serverUid);
  return authority;
}

/** The server calls this too, so that a platform that runs for years renews its own certificate. */
export async function ensureServing(config: InstanceConfig, files: PkiFiles, authority: KeyPair): Promise<boolean> {
  const wanted = servingNames(config);
  const marker = `${files.serving}.names`;
  const same = existsSync(marker) && readFileSync(marker, 'utf8') === JSON.stringify(wanted);
  if (same && isFresh(readIfThere(files.serving))) return false;
  const leaf = await issueCertificate(authority, {
    commonName: 'slipway-apiserver',
    usages: ['server'],
    ...wanted,
    ...validity(LEAF_DAYS),
  });
  writeOwned(files.servingKey, leaf.key, 0o600, config.serverUid);
  writeOwned(files.serving, leaf.cert, 0o644, config.serverUid);
  writeOwned(marker, JSON.stringify(wanted), 0o644, config.serverUid);
  return true;
}

function servingNames(config: InstanceConfig): Pick<CertificateOptions, 'dnsNames' | 'ipAddresses'> {
  const isAny = config.listenHost === '0.0.0.0' || config.listenHost === '::';
  const own = isAny
    ? Object.values(networkInterfaces()).flatMap((list) => (list ?? []).filter((a) => !a.scopeid).map((a) => a.address))
    : [];
  return {
    dnsNames: ['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'kubernetes.default.svc.cluster.local'],
    ipAddresses: [...new Set(['127.0.0.1', '::1', ...(isAny ? own : [config.listenHost])])].sort(),
  };
}

interface ClientIdentity {
  readonly name: string;
  readonly commonName: string;
  readonly organizations: readonly string[];
}

/** The text of a kubeconfig, or undefined when the file is good as it is. */
async function clientKubeconfig(
  authority: KeyPair,
  config: InstanceConfig,
  path: string,
  identity: ClientIdentity,
): Promise<string | undefined> {
  const server = serverUrl(config);
  const existing = readIfThere(path);
  const certificate = existing?.match(/client-certificate-data: (\S+)/)?.[1];
  const isGood =
    existing?.includes(`server: ${server}\n`) && certificate && isFresh(Buffer.from(certificate, 'base64').toString());
  if (isGood) return undefined;
  const { commonName, organizations, name } = identity;
  const leaf = await issueCertificate(authority, { commonName, organizations, usages: ['client'], ...validity(LEAF_DAYS) });
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return renderKubeconfig({
    apiVersion: 'v1',
    kind: 'Config',
    preferences: {},
    'current-context': name,
    clusters: [{ name: `slipway-${config.id}`, cluster: { server, 'certificate-authority-data': base64(authority.cert) } }],
    users: [{ name, user: { 'client-certificate-data': base64(leaf.cert), 'client-key-data': base64(leaf.key) } }],
    contexts: [{ name, context: { cluster: `slipway-${config.id}`, user: name } }],
  });
}

/** Where clients on this machine reach the API. */
export function serverUrl({ listenHost, listenPort }: Pick<InstanceConfig, 'listenHost' | 'listenPort'>): string {
  const host = listenHost === '0.0.0.0' || listenHost === '::' ? '127.0.0.1' : listenHost;
  return `https://${host.includes(':') ? `[${host}]` : host}:${listenPort}`;
}

const validity = (days: number) => ({
  notBefore: new Date(Date.now() - BACKDATE_MS),
  notAfter: new Date(Date.now() + days * DAY_MS),
});

const isFresh = (certificate: string | undefined): boolean =>
  certificate !== undefined && expiryOf(certificate).getTime() - Date.now() > RENEW_DAYS * DAY_MS;

const readIfThere = (path: string): string | undefined => (existsSync(path) ? readFileSync(path, 'utf8') : undefined);

function writeOwned(path: string, content: string, mode: number, owner: number): void {
  replaceFile(path, content, mode);
  if (process.getuid?.() === 0) chownSync(path, owner, owner);
}
