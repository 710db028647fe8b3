import { createHash } from 'node:crypto';
import { isObject } from '@slipway/apimachinery';
import type { Clock } from '@slipway/runtime';
import { Download, type DownloadDeps } from './download.ts';
import { imageLabels } from './image-labels.ts';
import { explainConnectError, type HttpAnswer, httpGet, readBody } from './http-client.ts';
import { ImportError } from './import-error.ts';
import { type ImageReference, isDigest } from './registry-reference.ts';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface RegistryDeps {
  readonly download: DownloadDeps;
  readonly clock: Clock;
  readonly credentials?: Credentials;
  /** Registries (`host[:port]`) that are spoken to over plain HTTP. */
  readonly insecureRegistries: readonly string[];
  /** OCI name, such as `amd64`. */
  readonly architecture: string;
  /** Somebody asked for it by name: an image of one architecture has to be of this one. */
  readonly isArchitectureChosen?: boolean;
}

export interface Descriptor {
  readonly mediaType?: string;
  readonly digest: string;
  readonly size: number;
}

export interface Manifest {
  readonly mediaType?: string;
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
  readonly manifests?: readonly (Descriptor & { readonly platform?: { readonly architecture?: string; readonly os?: string } })[];
}

export interface ResolvedImage {
  /** Digest of the manifest of this platform: what the image store is keyed by. */
  readonly digest: string;
  /** Lowest first. */
  readonly layers: readonly Descriptor[];
  /** The image's configuration, in JSON. */
  readonly config?: Descriptor;
}

const MANIFEST_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

/** Speaks the OCI distribution protocol, reading only. */
export class RegistryClient {
  private readonly base: URL;
  private authorization: string | undefined;

  private readonly image: ImageReference;
  private readonly deps: RegistryDeps;

  constructor(image: ImageReference, deps: RegistryDeps) {
    this.image = image;
    this.deps = deps;
    const isInsecure = deps.insecureRegistries.includes(image.registry);
    const host = image.registry === 'docker.io' ? 'registry-1.docker.io' : image.registry;
    this.base = new URL(`${isInsecure ? 'http' : 'https'}://${host}/v2/${image.repository}/`);
  }

  /** Chooses the manifest of this platform. Throws ImportError with what the registry said. */
  async resolve(signal: AbortSignal): Promise<ResolvedImage> {
    const top = await this.manifest(this.image.reference, signal);
    const choice = chooseManifest(
      top.manifest.manifests?.filter(({ platform }) => platform !== undefined),
      this.deps.architecture,
    );
    if (choice !== undefined && !isDescriptor(choice)) throw this.notAnImage();
    if (top.manifest.manifests !== undefined && choice === undefined)
      throw new ImportError(
        'SourceNotFound',
        `Failed to pull image: ${this.name()} has no variant for architecture ${this.deps.architecture}`,
      );
    const { digest, manifest } = choice === undefined ? top : await this.manifest(choice.digest, signal);
    const { layers, config } = manifest;
    if (!layers?.every(isDescriptor)) throw this.notAnImage();
    const image = { digest, layers, ...(isDescriptor(config) && { config }) };
    if (choice === undefined && this.deps.isArchitectureChosen) await this.checkArchitecture(image, signal);
    return image;
  }

  private async checkArchitecture(image: ResolvedImage, signal: AbortSignal): Promise<void> {
    const config = await this.configuration(image, signal);
    const found = isObject(config) && typeof config['architecture'] === 'string' ? config['architecture'] : 'unknown';
    if (found !== this.deps.architecture)
      throw new ImportError(
        'SourceNotFound',
        `Failed to pull image: ${this.name()} is of architecture ${found}, not ${this.deps.architecture}. Correct spec.source.registry.platform.architecture`,
      );
  }

  /** Labels that the image's configuration gives its disk; none for an image without one. */
  async labels(image: ResolvedImage, signal: AbortSignal): Promise<Record<string, string>> {
    return imageLabels(await this.configuration(image, signal));
  }

  private async configuration({ config }: ResolvedImage, signal: AbortSignal): Promise<unknown> {
    if (config === undefined || config.size > MAX_MANIFEST_BYTES) return undefined;
    const chunks: Buffer[] = [];
    for await (const chunk of this.blob(config, signal)) chunks.push(chunk);
    return parsed(Buffer.concat(chunks).toString('utf8')); // not JSON: the disk is none the worse
  }

  /** Digest of the manifest that the tag names now, of all platforms where there are several. */
  async digest(signal: AbortSignal): Promise<string> {
    return (await this.manifest(this.image.reference, signal)).digest;
  }

  /** The bytes of a layer; the end throws `InvalidImage` unless they hash to the digest. */
  async *blob({ digest, size }: Descriptor, signal: AbortSignal): AsyncGenerator<Buffer> {
    const url = new URL(`blobs/${digest}`, this.base);
    const http = { ...this.deps.download.http, headers: this.headers() };
    // content is named by its hash, so that it cannot change under the download
    const download = new Download(url, { ...this.deps.download, http }, { totalBytes: size });
    const hash = createHash('sha256');
    for await (const chunk of download.chunks(0, signal)) {
      hash.update(chunk);
      yield chunk;
    }
    if (`sha256:${hash.digest('hex')}` !== digest)
      throw new ImportError('InvalidImage', `Failed to pull image: layer ${digest} of ${this.name()} arrived damaged`);
  }

  private headers(): Record<string, string> {
    return this.authorization === undefined ? {} : { Authorization: this.authorization };
  }

  private name(): string {
    const { registry, repository, reference } = this.image;
    return `${registry}/${repository}${isDigest(reference) ? '@' : ':'}${reference}`;
  }

  private async manifest(reference: string, signal: AbortSignal): Promise<{ digest: string; manifest: Manifest }> {
    const url = new URL(`manifests/${reference}`, this.base);
    const body = await this.getSmall(url, { Accept: MANIFEST_TYPES }, signal);
    const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
    if (isDigest(reference) && digest !== reference)
      throw new ImportError(
        'InvalidImage',
        `Failed to pull image: the manifest of ${this.name()} is not the one its digest names`,
      );
    const manifest = readManifest(body.toString('utf8'));
    if (manifest === undefined) throw this.notAnImage();
    return { digest, manifest };
  }

  private notAnImage(): ImportError {
    return new ImportError(
      'InvalidImage',
      `Failed to pull image: the manifest of ${this.name()} is not one of an OCI or Docker v2 image. Check the name, and push the image again`,
    );
  }

  private async getSmall(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<Buffer> {
    let answer = await this.get(url, this.headers(), headers, signal);
    if (answer.status === 401) {
      const challenge = answer.headers['www-authenticate'];
      answer.body.destroy();
      this.authorization = await this.authorize(challenge ?? '', signal);
      answer = await this.get(url, this.headers(), headers, signal);
    }
    if (answer.status !== 200) {
      answer.body.destroy();
      throw this.refusal(answer);
    }
    return readBody(answer, MAX_MANIFEST_BYTES);
  }

  private async get(
    url: URL,
    confidential: Record<string, string>,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    try {
      return await httpGet(url, { ...this.deps.download.http, headers: confidential }, headers, signal);
    } catch (error) {
      signal.throwIfAborted();
      const explained = explainConnectError(error, url, 'registry');
      throw new ImportError(explained.reason, `Failed to pull image: ${this.name()}: ${explained.message}`, { cause: error });
    }
  }

  private refusal({ status, statusText }: Pick<HttpAnswer, 'status' | 'statusText'>): ImportError {
    const remedies: Readonly<Record<number, string>> = {
      401: 'Give a Secret with accessKeyId and secretKey, or an image pull secret',
      403: 'Check that the credentials may pull this image',
      404: 'Check the name and the tag of the image',
      429: 'The registry limits the rate of anonymous pulls; give credentials or wait',
    };
    return new ImportError(
      status === 404 ? 'SourceNotFound' : 'SourceUnreachable',
      `Failed to pull image: ${this.name()}: the registry answered ${status} ${statusText}. ${remedies[status] ?? 'The import is tried again by itself'}`,
    );
  }

  private async authorize(challenge: string, signal: AbortSignal): Promise<string> {
    const { credentials } = this.deps;
    const basic = credentials && `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
    if (/^basic/i.test(challenge) && basic !== undefined) return basic;
    const parameters = Object.fromEntries(
      [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', value = '']) => [key, value]),
    );
    const { realm, service, scope } = parameters;
    if (!/^bearer/i.test(challenge) || realm === undefined || !URL.canParse(realm))
      throw this.refusal({ status: 401, statusText: 'Unauthorized' });
    const url = new URL(realm);
    // credentials never travel in clear text, except to a registry that does so by configuration
    if (url.protocol !== 'https:' && this.base.protocol === 'https:')
      throw new ImportError('SourceRefused', `Failed to pull image: ${this.name()} asks for a login over plain HTTP`);
    if (service !== undefined) url.searchParams.set('service', service);
    url.searchParams.set('scope', scope ?? `repository:${this.image.repository}:pull`);
    const answer = await this.get(url, basic === undefined ? {} : { Authorization: basic }, {}, signal);
    if (answer.status !== 200) {
      answer.body.destroy();
      throw this.refusal(answer);
    }
    const token = readToken((await readBody(answer, MAX_MANIFEST_BYTES)).toString('utf8'));
    if (token === undefined)
      throw new ImportError(
        'SourceUnreachable',
        `Failed to pull image: ${url.host} answers the login of ${this.name()} without a token`,
      );
    return `Bearer ${token}`;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not JSON
  }
}

/** What a registry calls a manifest or an index; undefined when it is neither. */
export function readManifest(text: string): Manifest | undefined {
  const value = parsed(text);
  if (!isObject(value)) return undefined;
  const { layers, manifests } = value;
  const isList = (list: unknown, is: (entry: unknown) => boolean): boolean =>
    list === undefined || (Array.isArray(list) && list.every(is));
  const hasPlatform = (entry: unknown): boolean =>
    isObject(entry) && (entry['platform'] === undefined || isObject(entry['platform']));
  // the rest is checked where it is used
  return isList(layers, isObject) && isList(manifests, hasPlatform) ? (value as Manifest) : undefined;
}

export const isDescriptor = (value: unknown): value is Descriptor =>
  isObject(value) &&
  typeof value['digest'] === 'string' &&
  isDigest(value['digest']) &&
  Number.isSafeInteger(value['size']) &&
  Number(value['size']) >= 0;

/** The entry of an index for an architecture; else one that names none, which may be of any. */
export const chooseManifest = (
  manifests: Manifest['manifests'],
  architecture: string,
): NonNullable<Manifest['manifests']>[number] | undefined =>
  manifests?.find(({ platform }) => platform?.architecture === architecture && (platform.os ?? 'linux') === 'linux') ??
  manifests?.find(({ platform }) => platform === undefined);

/** A token that can stand in a header; registries use both names. */
export function readToken(text: string): string | undefined {
  const value = parsed(text);
  const token = isObject(value) ? (value['token'] ?? value['access_token']) : undefined;
  return typeof token === 'string' && /^[\x21-\x7e]{1,65536}$/.test(token) ? token : undefined;
}
