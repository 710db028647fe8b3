import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BuildHost } from './build-host.ts';

/** Package names that `apt-cache depends` lists as hard dependencies, alternatives of virtual packages left out. */
export function parseDepends(output: string): string[] {
  const names = [...output.matchAll(/^\s*(?:Pre)?Depends: ([^<\s]\S*)$/gm)].map((match) => match[1] ?? '');
  return [...new Set(names.map((name) => name.replace(/:any$/, '')))];
}

const isLibrary = (name: string): boolean => /^(lib(?!perl)|zlib)/.test(name);

/** Finds the packages (metapackages resolved, libraries followed), downloads and unpacks them below `target`. */
export async function unpackPackages(
  host: BuildHost,
  request: {
    readonly names: readonly string[];
    readonly withLibraries: readonly string[];
    readonly target: string;
    readonly debs: string;
  },
  signal: AbortSignal,
): Promise<void> {
  await ensurePackageLists(host, request.names, signal);
  const wanted = new Set<string>();
  for (const name of request.names) {
    const depends = /^linux-image-(cloud-)?amd64$/.test(name) ? await dependsOf(host, [name], signal) : [name];
    for (const real of depends.filter((depend) => depend === name || depend.startsWith('linux-image-'))) wanted.add(real);
  }
  for (const name of await withLibraries(host, request.withLibraries, signal)) wanted.add(name);
  await mkdir(request.debs, { recursive: true });
  for (const file of await download(host, [...wanted].sort(), request.debs, signal)) {
    signal.throwIfAborted();
    await host.run(['dpkg-deb', '-x', join(request.debs, file), request.target], { signal });
  }
}

async function withLibraries(host: BuildHost, names: readonly string[], signal: AbortSignal): Promise<Set<string>> {
  const found = new Set(names);
  for (let next = [...names]; next.length > 0; ) {
    const depends = await dependsOf(host, next, signal);
    next = depends.filter((name) => isLibrary(name) && !found.has(name));
    for (const name of next) found.add(name);
  }
  return found;
}

async function dependsOf(host: BuildHost, names: readonly string[], signal: AbortSignal): Promise<string[]> {
  return parseDepends(await host.run(['apt-cache', 'depends', '--no-recommends', '--no-suggests', ...names], { signal }));
}

/** A fresh machine or container has no package lists. */
async function ensurePackageLists(host: BuildHost, names: readonly string[], signal: AbortSignal): Promise<void> {
  const known = await host.run(['apt-cache', 'pkgnames', names[0] ?? ''], { signal });
  if (known.split('\n').includes(names[0] ?? '')) return;
  host.progress('Update the package lists');
  await host.run(['apt-get', '-q', 'update'], { signal });
}

async function download(host: BuildHost, names: readonly string[], directory: string, signal: AbortSignal): Promise<string[]> {
  const uris = await host.run(['apt-get', 'download', '--print-uris', ...names], { signal });
  const files = [...uris.matchAll(/^'[^']+' (\S+) /gm)].map((match) => match[1] ?? '');
  const present = new Set(await readdir(directory));
  const missing = files.filter((file) => !present.has(file)).map((file) => file.slice(0, file.indexOf('_')));
  if (missing.length > 0) {
    // As root apt drops to a user that could not write here.
    await host.run(['apt-get', '-q', '-o', 'APT::Sandbox::User=root', 'download', ...missing], { cwd: directory, signal });
  }
  return files;
}

/** The archive that this machine's apt uses, from the output of `apt-cache policy`. */
export function parseMirror(policy: string): string | undefined {
  return /^\s*\d+ (https?:\/\/\S+) [a-z]+\/main /m.exec(policy)?.[1];
}

/** Installs a minimal Debian of the suite into a directory, from the same archive that this machine uses. */
export async function debootstrap(
  host: BuildHost,
  request: { readonly suite: string; readonly include: readonly string[]; readonly target: string },
  signal: AbortSignal,
): Promise<void> {
  const mirror = parseMirror(await host.run(['apt-cache', 'policy', 'base-files'], { signal }));
  const include = `--include=${request.include.join(',')}`;
  const argv = ['debootstrap', '--variant=minbase', include, request.suite, request.target] as const;
  await host.run(mirror === undefined ? [...argv] : [...argv, mirror], { signal });
}
