import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join, normalize, relative, sep } from 'node:path';
import { isObject } from '@slipway/apimachinery';
import { ChartError, type ChartFile, readYamlDocuments } from '@slipway/helm';

const MAX_FILES = 20_000;
const MAX_BYTES = 100 * 1024 * 1024;
const MAX_DEPTH = 40;

/** A directory that must not be left is left, or holds too much. */
export class TreeError extends Error {}

/** Whether a path is inside a directory or the directory itself. */
export function isInside(root: string, path: string): boolean {
  const way = relative(root, path);
  return way === '' || (!way.startsWith(`..${sep}`) && way !== '..' && !way.startsWith(sep));
}

/** The real path of something below a root; symbolic links may not lead out of it. */
export async function pathWithin(root: string, path: string): Promise<string> {
  const wanted = normalize(join(root, path));
  if (!isInside(root, wanted)) throw new TreeError(`${path}: leads out of the repository`);
  const [realRoot, real] = await Promise.all([realpath(root), realpath(wanted).catch(() => undefined)]);
  if (real === undefined) throw new TreeError(`${path}: app path does not exist`);
  if (!isInside(realRoot, real)) throw new TreeError(`${path}: a symbolic link leads out of the repository`);
  return real;
}

/** All files below a directory, with paths relative to it; links may not leave the root. */
export async function readTree(directory: string, root: string, maxDepth = MAX_DEPTH): Promise<ChartFile[]> {
  const files: ChartFile[] = [];
  const realRoot = await realpath(root);
  let bytes = 0;
  const walk = async (path: string, depth: number): Promise<void> => {
    if (depth > MAX_DEPTH) throw new TreeError(`${path}: directories are nested too deeply`);
    const names = await readdir(join(directory, path));
    for (const name of names.sort()) {
      if (name === '.git') continue;
      const inner = path === '' ? name : `${path}/${name}`;
      const real = await realpath(join(directory, inner)).catch(() => undefined);
      if (real === undefined) continue;
      if (!isInside(realRoot, real)) throw new TreeError(`${inner}: a symbolic link leads out of the repository`);
      const info = await stat(real);
      if (info.isDirectory()) {
        if (depth < maxDepth) await walk(inner, depth + 1);
        continue;
      }
      if (!info.isFile()) continue;
      bytes += info.size;
      if (files.length >= MAX_FILES || bytes > MAX_BYTES)
        throw new TreeError(`${directory} holds more than ${MAX_FILES} files or 100 MiB`);
      files.push({ path: inner, data: await readFile(real) });
    }
  };
  await walk('', 0);
  return files;
}

/** Files of a chart with those of its `file://` dependencies put below `charts/`. */
export async function readChart(directory: string, root: string, depth = 0): Promise<ChartFile[]> {
  if (depth > 10) throw new TreeError(`${directory}: dependencies are nested too deeply`);
  const files = await readTree(directory, root);
  for (const { name, path } of localDependencies(files)) {
    if (
      files.some(
        (file) => file.path.startsWith(`charts/${name}/`) || new RegExp(`^charts/${escaped(name)}-[^/]*\\.tgz$`).test(file.path),
      )
    )
      continue;
    const inner = normalize(join(directory, path));
    if (!isInside(root, inner)) throw new TreeError(`dependency ${name} leads out of the repository`);
    const found = await stat(inner).catch(() => undefined);
    if (!found?.isDirectory()) throw new ChartError(`directory ${path} of dependency ${name} not found`);
    for (const file of await readChart(inner, root, depth + 1))
      files.push({ path: `charts/${name}/${file.path}`, data: file.data });
  }
  return files;
}

const escaped = (text: string): string => text.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&');

function localDependencies(files: readonly ChartFile[]): { name: string; path: string }[] {
  const file = files.find(({ path }) => path === 'Chart.yaml');
  if (file === undefined) return [];
  let fields: unknown;
  try {
    fields = readYamlDocuments(new TextDecoder().decode(file.data))[0];
  } catch {
    return []; // loading the chart says what is wrong
  }
  const list = isObject(fields) && Array.isArray(fields['dependencies']) ? fields['dependencies'] : [];
  return list.filter(isObject).flatMap(({ name, repository }) => {
    if (typeof name !== 'string' || typeof repository !== 'string' || !repository.startsWith('file://')) return [];
    return [{ name, path: repository.slice('file://'.length) }];
  });
}
