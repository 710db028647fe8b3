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
import { replaceFile } from '@slipway/hostapi';
import { apiClusterIP, type InstanceConfig, type NodeInstance } from './instance-config.ts';
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
  /** Signs the certificate by which servers behind APIServices know this one; no user's certificate is signed by it. */
  readonly frontProxyAuthority: string;
  readonly frontProxyAuthorityKey: string;
  readonly frontProxy: string;
  readonly frontProxyKey: string;
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
    frontProxyAuthority: file('front-proxy-ca.crt'),
    frontProxyAuthorityKey: file('front-proxy-ca.key'),
    frontProxy: file('front-proxy-client.crt'),
    frontProxyKey: file('front-proxy-client.key'),
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
  await ensureFrontProxy(config, files);
  if (!existsSync(files.tokenKey)) writeOwned(files.tokenKey, randomBytes(32).toString('base64'), 0o600, config.serverUid);
  const client = async (path: string, name: string, commonName: string, organizations: string[], server = serverUrl(config)) => {
    const kubeconfig = await clientKubeconfig(authority, config, path, { name, commonName, organizations, server });
    if (kubeconfig !== undefined) replaceFile(path, kubeconfig, 0o600);
  };
  await client(paths.adminKubeconfig, 'slipway-admin', 'slipway-admin', ['system:masters']);
  for (const node of config.nodes)
    await client(
      paths.node(node.name).kubeconfig,
      node.name,
      `system:node:${node.name}`,
      ['system:nodes'],
      serverUrlFor(config, node),
    );
}

/**
 * The key that signs service account tokens, made when there is none: finding primes takes longer than everything above, and
 * no start has to wait for it. For the API server alone, which asks once and keeps what it was told.
 */
export async function ensureServiceAccountKey(config: InstanceConfig, { serviceAccountKey: file }: PkiFiles): Promise<string> {
  if (!existsSync(file)) writeOwned(file, await generateServiceAccountKey(), 0o600, config.serverUid);
  return readFileSync(file, 'utf8');
}

const ensureAuthority = (config: InstanceConfig, files: PkiFiles): Promise<KeyPair> =>
  ensurePair(config, { cert: files.authority, key: files.authorityKey }, existsSync(files.authority), () =>
    createAuthority({ commonName: `slipway-${config.id}`, ...validity(AUTHORITY_DAYS) }),
  );

/** The authority and the certificate of the front proxy. True when there is a new certificate; the server calls it too. */
export async function ensureFrontProxy(config: InstanceConfig, files: PkiFiles): Promise<boolean> {
  const authority = await ensurePair(
    config,
    { cert: files.frontProxyAuthority, key: files.frontProxyAuthorityKey },
    existsSync(files.frontProxyAuthority),
    () => createAuthority({ commonName: `slipway-${config.id}-front-proxy`, ...validity(AUTHORITY_DAYS) }),
  );
  const isGood = isFresh(readIfThere(files.frontProxy));
  await ensurePair(config, { cert: files.frontProxy, key: files.frontProxyKey }, isGood, () =>
    issueCertificate(authority, { commonName: 'front-proxy-client', usages: ['client'], ...validity(LEAF_DAYS) }),
  );
  return !isGood;
}

/** Reads a pair that is good, or makes and keeps one. */
async function ensurePair(config: InstanceConfig, at: KeyPair, isGood: boolean, make: () => Promise<KeyPair>): Promise<KeyPair> {
  if (isGood) return { cert: readFileSync(at.cert, 'utf8'), key: readFileSync(at.key, 'utf8') };
  const pair = await make();
  writeOwned(at.key, pair.key, 0o600, config.serverUid);
  writeOwned(at.cert, pair.cert, 0o644, config.serverUid);
  return pair;
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
    ipAddresses: [
      ...new Set([
        '127.0.0.1',
        '::1',
        ...(isAny ? own : [config.listenHost]),
        ...(config.link === undefined ? [] : [config.link.hostV4, config.link.hostV6]),
        ...(config.services === undefined ? [] : [apiClusterIP(config.services)]),
      ]),
    ].sort(),
  };
}

interface ClientIdentity {
  readonly server: string;
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
  const { server } = identity;
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

/** Where the agent of a node reaches it: over the link, so that a node that is cut off is cut off from the API too. */
function serverUrlFor(config: InstanceConfig, { linkIndex }: NodeInstance): string {
  if (config.link === undefined || linkIndex === undefined) return serverUrl(config);
  return serverUrl({ listenHost: config.link.hostV4, listenPort: config.listenPort });
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
