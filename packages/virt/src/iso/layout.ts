/** One file of an image; directories in its path are made as needed. */
export interface IsoFile {
  /** Relative, separated by `/`. */
  readonly path: string;
  readonly data: Uint8Array;
}

export interface FileNode {
  readonly name: string;
  /** Name in the plain ISO 9660 tree, unique in its directory. */
  readonly isoName: string;
  readonly data: Uint8Array;
}

export interface DirectoryNode {
  readonly name: string;
  readonly isoName: string;
  readonly parent: DirectoryNode | undefined;
  readonly directories: DirectoryNode[];
  readonly files: FileNode[];
}

const NAME_LENGTH = 8;
const EXTENSION_LENGTH = 3;

const sanitize = (text: string, length: number): string =>
  text
    .toUpperCase()
    .replace(/[^A-Z0-9_]/g, '_')
    .slice(0, length);

/** An 8.3 name that is not taken yet. Readers with Rock Ridge or Joliet never see it. */
function shortName(name: string, taken: ReadonlySet<string>, isDirectory: boolean): string {
  const dot = isDirectory ? -1 : name.lastIndexOf('.');
  const base = sanitize(dot > 0 ? name.slice(0, dot) : name, NAME_LENGTH) || '_';
  const extension = dot > 0 ? sanitize(name.slice(dot + 1), EXTENSION_LENGTH) : '';
  const write = (stem: string) => (isDirectory ? stem : `${stem}.${extension};1`);
  for (let number = 0; ; number++) {
    const suffix = number === 0 ? '' : String(number);
    const candidate = write(base.slice(0, NAME_LENGTH - suffix.length) + suffix);
    if (!taken.has(candidate)) return candidate;
  }
}

const isoNames = (directory: DirectoryNode): ReadonlySet<string> =>
  new Set([...directory.directories, ...directory.files].map(({ isoName }) => isoName));

function childDirectory(parent: DirectoryNode, name: string): DirectoryNode {
  const existing = parent.directories.find((directory) => directory.name === name);
  if (existing) return existing;
  const child: DirectoryNode = { name, isoName: shortName(name, isoNames(parent), true), parent, directories: [], files: [] };
  parent.directories.push(child);
  return child;
}

/** The directory tree of the files. Throws for paths that are absolute, climb up or name a file twice. */
export function buildTree(files: readonly IsoFile[]): DirectoryNode {
  const root: DirectoryNode = { name: '', isoName: '\0', parent: undefined, directories: [], files: [] };
  for (const { path, data } of files) {
    const parts = path.split('/');
    const name = parts.pop() ?? '';
    if (name === '' || parts.concat(name).some((part) => part === '' || part === '.' || part === '..'))
      throw new Error(`Not a path inside an image: ${path}`);
    let directory = root;
    for (const part of parts) directory = childDirectory(directory, part);
    if (directory.files.some((file) => file.name === name)) throw new Error(`Two files of an image are called ${path}`);
    directory.files.push({ name, isoName: shortName(name, isoNames(directory), false), data });
  }
  return root;
}

/** Directories in the order of path tables: level by level. */
export function listDirectories(root: DirectoryNode): readonly DirectoryNode[] {
  const all: DirectoryNode[] = [root];
  for (let index = 0; index < all.length; index++) all.push(...(all[index]?.directories ?? []));
  return all;
}
