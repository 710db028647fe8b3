import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { BuildHost } from '../build-host.ts';
import type { InitrdContents } from '../build-plan.ts';
import { type CpioEntry, cpioArchive } from './cpio-archive.ts';
import { type KernelModule, loadOrder, moduleIndexes, moduleName, readModuleInfo } from './kernel-modules.ts';

const DIRECTORIES = ['proc', 'sys', 'dev', 'run', 'mnt', 'tmp', 'root', 'var', 'home', 'etc/dropbear', 'var/log'];

/** The compressed initramfs of a tiny guest, made of unpacked packages below `root`. */
export async function buildInitrd(
  host: BuildHost,
  root: string,
  contents: InitrdContents,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const entries: CpioEntry[] = [
    ...DIRECTORIES.map((path): CpioEntry => ({ kind: 'directory', path, mode: path === 'tmp' ? 0o1777 : 0o755 })),
    { kind: 'link', path: 'var/run', target: '/run' },
    // The kernel opens it before devtmpfs is there.
    { kind: 'device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    ...contents.scripts.map((script): CpioEntry => ({ kind: 'file', ...script })),
    ...(await busyboxEntries(host, root, contents, signal)),
    ...(await programEntries(host, root, contents, signal)),
    ...(await moduleEntries(host, root, contents, signal)),
  ];
  return promisify(gzip)(cpioArchive(entries), { level: 9 });
}

async function busyboxEntries(
  host: BuildHost,
  root: string,
  contents: InitrdContents,
  signal: AbortSignal,
): Promise<CpioEntry[]> {
  const path = await firstThatExists(root, ['bin/busybox', 'usr/bin/busybox']);
  const applets = await host.run([path, '--list-full'], { signal });
  const taken = new Set(contents.scripts.map((script) => script.path));
  return [
    { kind: 'file', path: 'bin/busybox', mode: 0o4755, content: await readFile(path) },
    ...applets
      .split('\n')
      .map((applet) => applet.trim())
      .filter((applet) => applet !== '' && applet !== 'bin/busybox' && !taken.has(applet))
      .map((applet): CpioEntry => ({ kind: 'link', path: applet, target: '/bin/busybox' })),
  ];
}

async function programEntries(
  host: BuildHost,
  root: string,
  contents: InitrdContents,
  signal: AbortSignal,
): Promise<CpioEntry[]> {
  const loader = await firstThatExists(root, ['lib64/ld-linux-x86-64.so.2', 'usr/lib64/ld-linux-x86-64.so.2']);
  const libraryPath = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu'].map((path) => join(root, path)).join(':');
  const entries: CpioEntry[] = [
    { kind: 'file', path: 'lib64/ld-linux-x86-64.so.2', mode: 0o755, content: await readFile(loader) },
  ];
  const libraries = new Set<string>();
  for (const { from, to } of contents.programs) {
    const program = join(root, from);
    entries.push({ kind: 'file', path: to, mode: 0o755, content: await readFile(program) });
    const list = await host.run([loader, '--library-path', libraryPath, '--list', program], { signal });
    for (const match of list.matchAll(/^\s*\S+ => (\/\S+) \(0x/gm)) libraries.add(match[1] ?? '');
  }
  for (const library of [...libraries].sort()) {
    if (!library.startsWith(root)) throw new Error(`Library ${library} is not in the unpacked packages`);
    entries.push({ kind: 'file', path: `lib/${library.split('/').pop()}`, mode: 0o644, content: await readFile(library) });
  }
  return entries;
}

async function moduleEntries(host: BuildHost, root: string, contents: InitrdContents, signal: AbortSignal): Promise<CpioEntry[]> {
  const base = await firstThatExists(root, ['lib/modules', 'usr/lib/modules']);
  const [release] = await readdir(base);
  if (release === undefined) throw new Error('The kernel package has no modules');
  const files = (await readdir(join(base, release), { recursive: true })).filter((file) => /\.ko(\.(xz|zst|gz))?$/.test(file));
  const paths = new Map(files.map((file) => [moduleName(file), join(base, release, file)]));
  const modules = await readModules(host, paths, [...contents.bootModules, ...contents.demandModules], signal);
  const order = loadOrder([...contents.bootModules, ...contents.demandModules], (name) => modules.get(name)?.info);
  const bootOrder = loadOrder(contents.bootModules, (name) => modules.get(name)?.info).map(({ name }) => name);
  const indexes = moduleIndexes(order);
  const directory = `lib/modules/${release}`;
  const text = (path: string, content: string): CpioEntry => ({ kind: 'file', path, mode: 0o644, content });
  return [
    ...order.map(
      ({ name }): CpioEntry => ({
        kind: 'file',
        path: `${directory}/${name}.ko`,
        mode: 0o644,
        content: modules.get(name)?.content ?? '',
      }),
    ),
    text(`${directory}/modules.dep`, indexes.dep),
    text(`${directory}/modules.alias`, indexes.alias),
    text('etc/modules.boot', `${bootOrder.join(' ')}\n`),
    text('etc/modules.demand', contents.demandModules.length > 0 ? `${contents.demandModules.join(' ')}\n` : ''),
  ];
}

interface LoadedModule {
  readonly info: KernelModule;
  readonly content: Uint8Array;
}

/** The wanted modules and, transitively, what they depend on. */
async function readModules(
  host: BuildHost,
  paths: ReadonlyMap<string, string>,
  wanted: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, LoadedModule>> {
  const loaded = new Map<string, LoadedModule>();
  for (let next = [...wanted]; next.length > 0; ) {
    const found: string[] = [];
    for (const name of next) {
      const path = paths.get(name);
      if (path === undefined || loaded.has(name)) continue;
      const content = await readModule(host, path, signal);
      const info = readModuleInfo(name, content);
      loaded.set(name, { info, content });
      found.push(...info.depends);
    }
    next = found;
  }
  return loaded;
}

async function readModule(host: BuildHost, path: string, signal: AbortSignal): Promise<Uint8Array> {
  if (path.endsWith('.gz')) return promisify(gunzip)(await readFile(path));
  if (path.endsWith('.xz')) await host.run(['xz', '-d', '-k', '-f', path], { signal });
  if (path.endsWith('.zst')) await host.run(['zstd', '-q', '-d', '-f', path], { signal });
  return readFile(path.replace(/\.(xz|zst)$/, ''));
}

async function firstThatExists(root: string, candidates: readonly string[]): Promise<string> {
  for (const candidate of candidates) {
    const directory = join(root, candidate.slice(0, candidate.lastIndexOf('/')));
    const names = await readdir(directory).catch((): string[] => []);
    if (names.includes(candidate.split('/').pop() ?? '')) return join(root, candidate);
  }
  throw new Error(`None of ${candidates.join(', ')} is in the unpacked packages`);
}
