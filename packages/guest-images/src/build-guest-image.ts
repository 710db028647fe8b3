import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { CommandRunner } from '@slipway/hostapi';
import { type BuildHost, buildHost } from './build-host.ts';
import type { BuildPlan, BuildStep } from './build-plan.ts';
import { debootstrap, unpackPackages } from './debian-packages.ts';
import { ensureTools } from './host-tools.ts';
import { planDebianImage } from './plan-debian-image.ts';
import { buildInitrd } from './tiny/initrd.ts';
import { planTinyImage } from './tiny/plan-tiny-image.ts';
import { writeDisk } from './write-disk.ts';

/**
 * `tiny`: boots in seconds, virtio only. `tiny-generic`: also SATA, USB, e1000e; some two seconds slower.
 * `debian`: Debian 12 with real cloud-init.
 */
export type GuestImageKind = 'tiny' | 'tiny-generic' | 'debian';

export interface GuestImage {
  readonly kind: GuestImageKind;
  /** Directory in the cache that has all the files. */
  readonly directory: string;
  readonly rawPath: string;
  readonly qcow2Path: string;
  readonly kernelPath: string;
  readonly initrdPath: string;
  readonly virtualSizeBytes: number;
  /** Lower-case hex of the whole files. */
  readonly sha256: { readonly raw: string; readonly qcow2: string };
}

export interface BuildGuestImageOptions {
  readonly kind: GuestImageKind;
  readonly cacheDir: string;
  readonly runner: CommandRunner;
  /** One short sentence whenever something new is being done. */
  readonly onProgress?: (message: string) => void;
}

interface Manifest {
  readonly virtualSizeBytes: number;
  readonly sha256: { readonly raw: string; readonly qcow2: string };
}

const RESULT = {
  raw: 'disk.raw',
  qcow2: 'disk.qcow2',
  kernel: 'vmlinuz',
  initrd: 'initrd.gz',
  manifest: 'manifest.json',
} as const;

/** The plan of an image: what `buildGuestImage` will do, as data. */
export function planGuestImage(kind: GuestImageKind): BuildPlan {
  switch (kind) {
    case 'tiny':
      return planTinyImage('cloud');
    case 'tiny-generic':
      return planTinyImage('generic');
    case 'debian':
      return planDebianImage();
  }
}

/**
 * Returns the image from the cache or builds it: a minute for the tiny ones, several for Debian. Missing programs are
 * installed with apt, which needs root. Throws with the failing command; a half-built image is never left in the cache.
 */
export async function buildGuestImage(options: BuildGuestImageOptions, signal: AbortSignal): Promise<GuestImage> {
  const { kind, cacheDir } = options;
  const host = buildHost(options.runner, options.onProgress ?? (() => {}));
  const plan = planGuestImage(kind);
  const recipe = createHash('sha256').update(JSON.stringify(plan)).digest('hex').slice(0, 12);
  const directory = resolve(cacheDir, `${kind}-${recipe}`);
  const cached = await readImage(kind, directory);
  if (cached) return cached;
  await mkdir(cacheDir, { recursive: true });
  await ensureTools(host, [...plan.tools, { program: 'qemu-img', package: 'qemu-utils' }], signal);
  const work = await mkdtemp(resolve(cacheDir, `.build-${kind}-`));
  try {
    for (const step of plan.steps) {
      signal.throwIfAborted();
      await perform(host, step, work, resolve(cacheDir, 'debs'), signal);
    }
    await finish(host, plan, work, signal);
    await publish(join(work, 'result'), directory);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  const built = await readImage(kind, directory);
  if (!built) throw new Error(`The image ${kind} was built but is not in ${directory}`);
  return built;
}

async function perform(host: BuildHost, step: BuildStep, work: string, debs: string, signal: AbortSignal): Promise<void> {
  host.progress(step.title);
  const at = (path: string): string => join(work, path);
  switch (step.kind) {
    case 'packages':
      return unpackPackages(
        host,
        { names: step.names, withLibraries: step.withLibraries, target: at(step.target), debs },
        signal,
      );
    case 'kernel':
      return takeKernel(at(step.boot), at(step.path), step.initrd === undefined ? undefined : at(step.initrd));
    case 'debootstrap':
      return debootstrap(host, { ...step, target: at(step.target) }, signal);
    case 'initrd':
      return writeFile(at(step.path), await buildInitrd(host, at('root'), step.contents, signal));
    case 'file':
      return writeFile(at(step.path), step.content, { mode: step.mode ?? 0o644 });
    case 'command':
      return void (await host.run(step.argv, { cwd: work, signal }));
    case 'disk':
      return writeDisk(work, step.path, step.layout);
  }
}

async function takeKernel(boot: string, target: string, initrd: string | undefined): Promise<void> {
  const names = await readdir(boot);
  const take = async (prefix: string, to: string): Promise<void> => {
    const found = names.find((name) => name.startsWith(prefix));
    if (found === undefined) throw new Error(`The kernel package has no ${prefix}`);
    await copyFile(join(boot, found), to);
  };
  await take('vmlinuz-', target);
  if (initrd !== undefined) await take('initrd.img-', initrd);
}

async function finish(host: BuildHost, plan: BuildPlan, work: string, signal: AbortSignal): Promise<void> {
  host.progress('Convert to qcow2');
  const result = join(work, 'result');
  await mkdir(result);
  await rename(join(work, plan.results.raw), join(result, RESULT.raw));
  await rename(join(work, plan.results.kernel), join(result, RESULT.kernel));
  await rename(join(work, plan.results.initrd), join(result, RESULT.initrd));
  await host.run(
    ['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', '-c', '-o', 'compression_type=zstd', RESULT.raw, RESULT.qcow2],
    { cwd: result, signal },
  );
  host.progress('Compute checksums');
  const raw = await sha256(join(result, RESULT.raw));
  const manifest: Manifest = {
    virtualSizeBytes: raw.bytes,
    sha256: { raw: raw.hex, qcow2: (await sha256(join(result, RESULT.qcow2))).hex },
  };
  await writeFile(join(result, RESULT.manifest), `${JSON.stringify(manifest, undefined, 2)}\n`);
}

/** Another process may have built the same recipe meanwhile; then its result stays. */
async function publish(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    await access(join(to, RESULT.manifest)).catch(() => {
      throw error;
    });
  }
}

async function readImage(kind: GuestImageKind, directory: string): Promise<GuestImage | undefined> {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(await readFile(join(directory, RESULT.manifest), 'utf8')) as Manifest; // written by finish()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`Cannot read the cached image in ${directory}; remove the directory to build it again`, { cause: error });
  }
  return {
    kind,
    directory,
    rawPath: join(directory, RESULT.raw),
    qcow2Path: join(directory, RESULT.qcow2),
    kernelPath: join(directory, RESULT.kernel),
    initrdPath: join(directory, RESULT.initrd),
    ...manifest,
  };
}

async function sha256(path: string): Promise<{ hex: string; bytes: number }> {
  const hash = createHash('sha256');
  let bytes = 0;
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  });
  return { hex: hash.digest('hex'), bytes };
}
