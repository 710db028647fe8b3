import { createHash } from 'node:crypto';
import { isObject } from '@slipway/apimachinery';
import {
  type Clock,
  type Descriptor,
  type HttpAnswer,
  type ImageReference,
  isDescriptor,
  isDigest,
  type Manifest,
  readManifest,
  type RegistryCredentials,
  type RegistrySession,
  registrySession,
} from '@slipway/runtime';
import { Download, type DownloadDeps } from './download.ts';
import { imageLabels } from './image-labels.ts';
import { explainConnectError, moverHttp } from './http-client.ts';
import { ImportError } from './import-error.ts';

export interface RegistryDeps {
  readonly download: DownloadDeps;
  readonly clock: Clock;
  readonly credentials?: RegistryCredentials;
  /** Registries (`host[:port]`) that are spoken to over plain HTTP. */
  readonly insecureRegistries: readonly string[];
  /** OCI name, such as `amd64`. */
  readonly architecture: string;
  /** Somebody asked for it by name: an image of one architecture has to be of this one. */
  readonly isArchitectureChosen?: boolean;
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
  private readonly session: RegistrySession;
  private readonly image: ImageReference;
  private readonly deps: RegistryDeps;

  constructor(image: ImageReference, deps: RegistryDeps) {
    this.image = image;
    this.deps = deps;
    this.session = registrySession(image, {
      http: moverHttp(deps.download.http),
      ...(deps.credentials && { credentials: deps.credentials }),
      isInsecure: deps.insecureRegistries.includes(image.registry),
      errors: {
        unreachable: (error, url) => {
          const explained = explainConnectError(error, url, 'registry');
          return new ImportError(explained.reason, `Failed to pull image: ${this.name()}: ${explained.message}`, {
            cause: error,
          });
        },
        answered: (answer) => this.refusal(answer),
        insecureLogin: () =>
          new ImportError('SourceRefused', `Failed to pull image: ${this.name()} asks for a login over plain HTTP`),
        withoutToken: (host) =>
          new ImportError(
            'SourceUnreachable',
            `Failed to pull image: ${host} answers the login of ${this.name()} without a token`,
          ),
        tooLarge: (message) => new ImportError('InvalidImage', message),
      },
    });
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
    const url = new URL(`blobs/${digest}`, this.session.base);
    const http = { ...this.deps.download.http, headers: this.session.headers() };
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

  private name(): string {
    const { registry, repository, reference } = this.image;
    return `${registry}/${repository}${isDigest(reference) ? '@' : ':'}${reference}`;
  }

  private async manifest(reference: string, signal: AbortSignal): Promise<{ digest: string; manifest: Manifest }> {
    const { body } = await this.session.read(`manifests/${reference}`, { Accept: MANIFEST_TYPES }, MAX_MANIFEST_BYTES, signal);
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
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not JSON
  }
}

/** The entry of an index for an architecture; else one that names none, which may be of any. */
export const chooseManifest = (
  manifests: Manifest['manifests'],
  architecture: string,
): NonNullable<Manifest['manifests']>[number] | undefined =>
  manifests?.find(({ platform }) => platform?.architecture === architecture && (platform.os ?? 'linux') === 'linux') ??
  manifests?.find(({ platform }) => platform === undefined);
