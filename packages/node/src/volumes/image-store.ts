import { createHash } from 'node:crypto';
import { chmod, chown, lstat, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SecretKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { codeOf } from './error-code.ts';
import type { MoverLauncher } from './mover-launcher.ts';
import { moverPolicy } from './mover-pod-runner.ts';
import { VolumeError } from './volume-error.ts';
import type { Layer } from './volume-record.ts';
import { exists, makeDirectory, writeDurably } from './volume-files.ts';

export interface ImageStoreDeps {
  readonly stateDir: string;
  readonly launcher: MoverLauncher;
  readonly client: Client;
  readonly allowedAddresses: readonly string[];
}

/** An image on this node that overlays may be put upon. */
export interface StoredImage {
  readonly path: string;
  readonly layer: Layer;
  readonly sizeBytes: number;
}

export interface ImageRequest {
  readonly reference: string;
  readonly pullPolicy: string | undefined;
  /** Secret of type kubernetes.io/dockerconfigjson. */
  readonly pullSecret?: { readonly namespace: string; readonly name: string };
}

interface ReferenceRecord {
  readonly digest: string;
  readonly format: 'raw' | 'qcow2';
  readonly sizeBytes: number;
}

/** Largest disk that a containerDisk may hold. */
const MAX_IMAGE_BYTES = 256 * 1024 ** 3;

/** Kernel and initial file system together. */
const MAX_BOOT_FILES_BYTES = 2 * 1024 ** 3;

const idOf = (...parts: readonly unknown[]): string => createHash('sha256').update(JSON.stringify(parts)).digest('hex');

const pullPolicyOf = ({ reference, pullPolicy }: ImageRequest): string =>
  pullPolicy ?? (/:latest$|^[^:@]+(?::\d+\/[^:@]+)?$/.test(reference) ? 'Always' : 'IfNotPresent');

const neverPulled = ({ reference }: ImageRequest): VolumeError =>
  new VolumeError('ErrImageNeverPull', `Image "${reference}" is not on this node and its pull policy is Never`);

/** Moves a file that a mover wrote out of its reach. */
async function takeFile(file: string, to: string): Promise<void> {
  await rm(to, { force: true });
  await rename(file, to);
  const found = await lstat(to);
  if (!found.isFile() || found.nlink !== 1) {
    await rm(to, { recursive: true, force: true });
    throw new VolumeError('ErrImagePull', 'The pulled image is not a regular file');
  }
  await chown(to, 0, 0);
  await chmod(to, 0o444);
}

/** containerDisk images of this node, each stored once under the digest of its manifest. */
export class ImageStore {
  private readonly root: string;
  private readonly deps: ImageStoreDeps;
  private readonly pulls = new Map<string, Promise<unknown>>();

  constructor(deps: ImageStoreDeps) {
    this.deps = deps;
    this.root = join(deps.stateDir, 'images');
  }

  async open(): Promise<void> {
    await makeDirectory(this.root, 0o700);
    await makeDirectory(join(this.root, 'references'), 0o700);
  }

  /** Pulls the image unless it is here and may be used as it is; one pull serves everyone who asks meanwhile. */
  async get(request: ImageRequest, signal: AbortSignal): Promise<StoredImage> {
    // who may not read the image must not get it from the cache of somebody who may
    const id = idOf(request.reference, request.pullSecret ?? null);
    return this.shared(id, async () => (await this.find(id, request)) ?? this.pull(id, request, signal));
  }

  private shared<T>(id: string, act: () => Promise<T>): Promise<T> {
    const running = this.pulls.get(id);
    // an id says what is pulled, so that its results are alike
    if (running !== undefined) return running as Promise<T>;
    const pulling = act().finally(() => this.pulls.delete(id));
    this.pulls.set(id, pulling);
    return pulling;
  }

  private async find(id: string, request: ImageRequest): Promise<StoredImage | undefined> {
    const policy = pullPolicyOf(request);
    const known = await this.readReference(id);
    if (known === undefined) {
      if (policy === 'Never') throw neverPulled(request);
      return undefined;
    }
    return policy === 'Always' ? undefined : this.stored(known);
  }

  /**
   * Files of an image, in the order of their paths, as files of this node that nobody may change. Throws VolumeError when
   * the image cannot be pulled or lacks one.
   */
  async files(request: ImageRequest, paths: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
    const id = idOf(request.reference, request.pullSecret ?? null, paths);
    const directory = join(this.root, `files-${id}`);
    const present = (await exists(directory)) && pullPolicyOf(request) !== 'Always';
    if (!present && pullPolicyOf(request) === 'Never') throw neverPulled(request);
    if (!present) await this.shared(id, () => this.pullFiles(id, request, paths, directory, signal));
    return paths.map((_, index) => join(directory, String(index)));
  }

  private async pullFiles(
    id: string,
    request: ImageRequest,
    paths: readonly string[],
    directory: string,
    signal: AbortSignal,
  ): Promise<void> {
    const args = ['--size', String(MAX_BOOT_FILES_BYTES), ...paths.flatMap((path) => ['--file', path])];
    await this.move(id, request, { name: 'files', args }, signal, async (_, target) => {
      const incoming = `${directory}.new`;
      await rm(incoming, { recursive: true, force: true });
      await makeDirectory(incoming, 0o700);
      for (const index of paths.keys()) await takeFile(join(target, String(index)), join(incoming, String(index)));
      await rm(directory, { recursive: true, force: true });
      await rename(incoming, directory);
    });
  }

  private async pull(id: string, request: ImageRequest, signal: AbortSignal): Promise<StoredImage> {
    const place = { name: 'disk.img', args: ['--size', String(MAX_IMAGE_BYTES)] };
    return this.move(id, request, place, signal, (record, target) => this.take(id, target, record));
  }

  /** Lets a mover pull; what it wrote is taken out of its reach before its directory goes. */
  private async move<T>(
    id: string,
    request: ImageRequest,
    place: { readonly name: string; readonly args: readonly string[] },
    signal: AbortSignal,
    take: (record: ReferenceRecord, target: string) => Promise<T>,
  ): Promise<T> {
    const { launcher, client, allowedAddresses } = this.deps;
    const mover = `image-${id.slice(0, 32)}`;
    const left = await launcher.read(mover);
    if (left?.process) await launcher.stop(mover, 0, signal);
    if (left) await launcher.forget(mover);
    const uid = await launcher.reserve(mover);
    const directory = launcher.directory(mover);
    for (const name of ['work', 'out']) {
      await mkdir(join(directory, name), { recursive: true, mode: 0o700 });
      await chown(join(directory, name), uid, uid);
    }
    try {
      const target = join(directory, 'out', place.name);
      const args = ['--store', '--target', target, '--work', join(directory, 'work'), ...place.args];
      const env = {
        IMPORTER_SOURCE: 'registry',
        IMPORTER_ENDPOINT: request.reference,
        ...(await this.credentials(request, signal)),
      };
      const record = await launcher.start(
        mover,
        { args: [...args, ...(await moverPolicy(client, allowedAddresses, signal))], env },
        0,
      );
      const { result, message } = await launcher.wait(mover, record, () => {}, signal);
      const digest = result?.imageDigest;
      if (result === undefined || digest === undefined || !/^sha256:[0-9a-f]{64}$/.test(digest))
        throw new VolumeError('ErrImagePull', message);
      return await take({ digest, format: result.format, sizeBytes: result.virtualBytes }, target);
    } finally {
      await launcher.stop(mover, 0, AbortSignal.timeout(5000)).catch(() => {});
      await launcher.forget(mover);
    }
  }

  /** Moves what the mover wrote out of its reach. */
  private async take(id: string, file: string, record: ReferenceRecord): Promise<StoredImage> {
    const image = this.stored(record);
    const incoming = `${image.path}.new`;
    await takeFile(file, incoming);
    await rename(incoming, image.path);
    await writeDurably(join(this.root, 'references', `${id}.json`), JSON.stringify(record));
    return image;
  }

  private async readReference(id: string): Promise<ReferenceRecord | undefined> {
    try {
      const record = JSON.parse(await readFile(join(this.root, 'references', `${id}.json`), 'utf8')) as ReferenceRecord; // written by `take`
      await lstat(this.stored(record).path);
      return record;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  private stored({ digest, format, sizeBytes }: ReferenceRecord): StoredImage {
    const name = `layer-${digest.replace('sha256:', '')}.img`;
    return { path: join(this.root, name), layer: { name, format }, sizeBytes };
  }

  private async credentials({ pullSecret }: ImageRequest, signal: AbortSignal): Promise<Record<string, string>> {
    if (pullSecret === undefined) return {};
    const { data } = await this.deps.client.get(SecretKind, pullSecret, { signal });
    const config = data?.['.dockerconfigjson'];
    if (config === undefined)
      throw new VolumeError(
        'ErrImagePull',
        `Secret "${pullSecret.name}" has no key .dockerconfigjson: it is no image pull secret`,
      );
    return { IMPORTER_REGISTRY_CONFIG: Buffer.from(config, 'base64').toString('utf8') };
  }
}
