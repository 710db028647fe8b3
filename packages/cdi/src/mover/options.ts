import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { RegistryCredentials as Credentials } from '@slipway/runtime';
import { type Checksum, parseChecksum } from './checksum.ts';
import { gcsObject } from './gcs.ts';
import { ImportError } from './import-error.ts';
import type { Destination } from './ingest.ts';
import { isLocalImage } from './local-image.ts';
import { registryCredentials } from './registry-credentials.ts';
import { parseImageReference } from './registry-reference.ts';
import { s3Object } from './s3.ts';

export type MoverEnv = Readonly<Record<string, string | undefined>>;

export type MoverSource =
  | {
      readonly kind: 'http' | 's3' | 'gcs';
      readonly url: URL;
      readonly checksum?: Checksum;
      /** Service account key of Google; absent for anonymous reads and other sources. */
      readonly keyFile?: string;
    }
  /** With `files` those are copied instead of the disk. */
  | { readonly kind: 'registry'; readonly reference: string; readonly files?: readonly string[] }
  | { readonly kind: 'blank' };

/** What to read and how, from the environment (CDI's contract) and the node agent's policy on the command line. */
export interface SourceTask {
  readonly source: MoverSource;
  readonly headers: Readonly<Record<string, string>>;
  readonly credentials?: Credentials;
  readonly ca: readonly string[];
  readonly insecureSkipVerify: boolean;
  readonly architecture: string;
  readonly isArchitectureChosen: boolean;
  readonly allowedAddresses: readonly string[];
  /** Directories of the node that images may be read from. */
  readonly allowedDirectories: readonly string[];
  readonly insecureRegistries: readonly string[];
  readonly stallMs: number;
  /** Of a download; absent: as many as pay. */
  readonly connections?: number;
  readonly retry: { readonly baseMs: number; readonly maxMs: number; readonly attempts: number };
}

/** One transfer: a source, and places that the node agent names on the command line. */
export interface MoverTask extends SourceTask {
  /** Socket of the node agent over which uploads come, in place of a source. */
  readonly intake?: string;
  readonly destination: Destination;
  readonly workDir: string;
}

const ARGUMENTS = {
  target: { type: 'string' },
  work: { type: 'string' },
  size: { type: 'string' },
  store: { type: 'boolean' },
  files: { type: 'string' },
  intake: { type: 'string' },
  file: { type: 'string', multiple: true },
  'allow-address': { type: 'string', multiple: true },
  'allow-directory': { type: 'string', multiple: true },
  'insecure-registry': { type: 'string', multiple: true },
  'stall-ms': { type: 'string' },
  'retry-base-ms': { type: 'string' },
  'retry-attempts': { type: 'string' },
  connections: { type: 'string' },
} as const;

/** Throws ImportError for a request that cannot be understood. What a tenant writes arrives in `env` alone. */
export async function readTask(argv: readonly string[], env: MoverEnv): Promise<MoverTask> {
  const { target, work, ...values } = parse(argv);
  const maxBytes = Number(values.size);
  if (target === undefined || work === undefined || !Number.isSafeInteger(maxBytes) || maxBytes <= 0)
    throw new ImportError('InvalidRequest', 'Usage: mover --target FILE --work DIRECTORY --size BYTES');
  const isArchive = env.IMPORTER_CONTENTTYPE === 'archive';
  const filesPath = isArchive ? values.files : undefined;
  if (isArchive && filesPath === undefined)
    throw new ImportError('InvalidRequest', 'An archive needs a claim of volume mode Filesystem');
  return {
    ...(await readSource(argv, env)),
    ...(values.intake !== undefined && { intake: values.intake }),
    destination: {
      path: target,
      maxBytes,
      isClaim: values.store !== true,
      preallocates: env.PREALLOCATION === 'true',
      ...(filesPath !== undefined && { filesPath }),
    },
    workDir: work,
  };
}

const parse = (argv: readonly string[]) => parseArgs({ args: [...argv], options: ARGUMENTS, strict: true }).values;

/** Throws ImportError like `readTask`. */
export async function readSource(argv: readonly string[], env: MoverEnv): Promise<SourceTask> {
  const values = parse(argv);
  const source = sourceOf(env, values.file);
  const credentials = credentialsOf(env, source);
  return {
    source,
    headers: source.kind === 'http' ? { ...basicAuth(credentials), ...(await extraHeaders(env)) } : {},
    ...(credentials && { credentials }),
    ca: await certificates(env.IMPORTER_CERT_DIR),
    insecureSkipVerify: env.INSECURE_TLS === 'true',
    architecture: env.IMPORTER_REGISTRY_IMAGE_ARCHITECTURE || hostArchitecture(process.arch),
    isArchitectureChosen: Boolean(env.IMPORTER_REGISTRY_IMAGE_ARCHITECTURE),
    allowedAddresses: values['allow-address'] ?? [],
    allowedDirectories: values['allow-directory'] ?? [],
    insecureRegistries: values['insecure-registry'] ?? [],
    stallMs: Number(values['stall-ms'] ?? 60_000),
    ...(values.connections !== undefined && { connections: Number(values.connections) }),
    retry: { baseMs: Number(values['retry-base-ms'] ?? 500), maxMs: 30_000, attempts: Number(values['retry-attempts'] ?? 8) },
  };
}

const OBJECT = { http: (url: URL) => url, s3: s3Object, gcs: gcsObject } as const;

function sourceOf(env: MoverEnv, files: readonly string[] | undefined): MoverSource {
  const endpoint = env.IMPORTER_ENDPOINT ?? '';
  const kind = env.IMPORTER_SOURCE ?? 'http';
  if (kind === 'none') return { kind: 'blank' };
  if (kind === 'registry') return { kind: 'registry', reference: imageOf(env, endpoint), ...(files && { files }) };
  if (kind !== 'http' && kind !== 's3' && kind !== 'gcs') throw new ImportError('InvalidRequest', unsupported(kind));
  const url = objectUrl(kind, endpoint);
  const { GOOGLE_APPLICATION_CREDENTIALS: keyFile } = env;
  if (kind === 'gcs') return { kind, url, ...(keyFile && { keyFile }) };
  return { kind, url, ...checksumOf(env) };
}

function objectUrl(kind: keyof typeof OBJECT, endpoint: string): URL {
  const url = URL.canParse(endpoint) ? OBJECT[kind](new URL(endpoint)) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new ImportError('InvalidRequest', `The source URL is not an http or https URL${kind === 'gcs' ? ', nor gs://' : ''}`);
  return url;
}

function imageOf({ IMPORTER_REGISTRY_IMAGE_STREAM: stream }: MoverEnv, endpoint: string): string {
  if (endpoint === '' && stream)
    throw new ImportError(
      'InvalidRequest',
      `Failed to pull image: ImageStream ${stream} is an object of OpenShift's image registry, which this cluster does not have. Name the image in spec.source.registry.url`,
    );
  return endpoint;
}

function checksumOf({ IMPORTER_CHECKSUM: text }: MoverEnv): { checksum?: Checksum } {
  if (!text) return {};
  const checksum = parseChecksum(text);
  if (typeof checksum === 'string') throw new ImportError('InvalidRequest', checksum);
  return { checksum };
}

/** Sources of CDI that need what is not in an installation: what is missing, and what to do instead. */
function unsupported(kind: string): string {
  const remedies: Readonly<Record<string, string>> = {
    imageio:
      'It needs a client of the oVirt engine, which Slipway does not have. Export the disk from oVirt and import it over http, or upload it',
    vddk: "It needs VMware's VDDK library, which may not be passed on, and a program that loads it. Export the VM as OVA or VMDK and import that over http, or upload it",
  };
  return `Import source "${kind}" is not supported. ${remedies[kind] ?? 'Use http, s3, gcs, registry or blank'}`;
}

function credentialsOf(env: MoverEnv, source: MoverSource): Credentials | undefined {
  const { IMPORTER_ACCESS_KEY_ID: username, IMPORTER_SECRET_KEY: password, IMPORTER_REGISTRY_CONFIG: config } = env;
  if (username) return { username, password: password ?? '' };
  return config && source.kind === 'registry' && !isLocalImage(source.reference)
    ? registryCredentials(config, parseImageReference(source.reference))
    : undefined;
}

const basicAuth = (credentials: Credentials | undefined): Record<string, string> =>
  credentials === undefined
    ? {}
    : { Authorization: `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}` };

async function extraHeaders(env: MoverEnv): Promise<Record<string, string>> {
  const plain = Object.entries(env).flatMap(([name, value]) =>
    /^IMPORTER_EXTRA_HEADER_\d+$/.test(name) && value ? [value] : [],
  );
  const directories = Object.entries(env).filter(([name]) => name.startsWith('IMPORTER_SECRET_EXTRA_HEADERS_DIR'));
  const secret = await Promise.all(directories.map(([, directory]) => filesIn(directory)));
  const lines = [...plain, ...secret.flat()];
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*([^\r\n]*)\s*$/.exec(line);
    // the line itself may be a secret
    if (match?.[1] === undefined) throw new ImportError('InvalidRequest', 'An extra header is not of the form "Name: value"');
    headers[match[1]] = match[2] ?? '';
  }
  return headers;
}

const certificates = async (directory: string | undefined): Promise<string[]> => {
  const { rootCertificates } = await import('node:tls');
  const own = await filesIn(directory);
  // naming any CA replaces the built-in ones
  return own.length === 0 ? [] : [...rootCertificates, ...own];
};

async function filesIn(directory: string | undefined): Promise<string[]> {
  if (directory === undefined || directory === '') return [];
  const entries = await readdir(directory, { withFileTypes: true, recursive: true });
  const files = entries.filter((entry) => entry.isFile() && !entry.name.startsWith('.'));
  return Promise.all(files.map((entry) => readFile(join(entry.parentPath, entry.name), 'utf8')));
}

/** OCI name of a Node architecture. */
export const hostArchitecture = (arch: string): string => ({ x64: 'amd64', ia32: '386' })[arch] ?? arch;
