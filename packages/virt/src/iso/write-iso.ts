import { buildTree, type DirectoryNode, type FileNode, type IsoFile, listDirectories } from './layout.ts';
import {
  ascii,
  both16,
  both32,
  concat,
  continuationEntry,
  directoryRecord,
  nameEntries,
  posixEntry,
  RRIP_REFERENCE,
  SUSP_START,
  ucs2,
  volumeDate,
} from './records.ts';

export interface IsoInput {
  /** Volume name, for example `cidata`; at most 32 characters, 16 in Joliet. */
  readonly label: string;
  readonly files: readonly IsoFile[];
  /** Date of everything in the image; the same input gives the same bytes. */
  readonly date?: Date;
}

const SECTOR = 2048;
const FIRST_FREE_SECTOR = 19; // 16 unused, then two volume descriptors and the terminator
const JOLIET_NAME_LENGTH = 103;
const MAX_RECORD = 255;
const RECORD_HEADER = 33;

type Flavour = 'iso' | 'joliet';

const sectorsOf = (bytes: number): number => Math.ceil(bytes / SECTOR);

/** Gives out sectors in order. */
class Space {
  next = FIRST_FREE_SECTOR;

  take(bytes: number): number {
    const sector = this.next;
    this.next += sectorsOf(bytes);
    return sector;
  }
}

/** Names that do not fit into their record: kept in one area behind the directories. */
class Continuations {
  private readonly parts: Uint8Array[] = [];
  private length = 0;

  /** Byte offset of the entry inside the area; entries never cross a sector. */
  add(entry: Uint8Array): number {
    const room = SECTOR - (this.length % SECTOR);
    if (entry.length > room) this.push(new Uint8Array(room));
    const offset = this.length;
    this.push(entry);
    return offset;
  }

  private push(bytes: Uint8Array): void {
    this.parts.push(bytes);
    this.length += bytes.length;
  }

  bytes(): Uint8Array {
    return concat(...this.parts);
  }
}

interface Places {
  readonly directories: Map<DirectoryNode, { readonly sector: number; readonly size: number }>;
  readonly files: Map<FileNode, number>;
  continuationSector: number;
}

const jolietName = (name: string): Uint8Array => ucs2(name.replace(/[*/:;?\\]/g, '_').slice(0, JOLIET_NAME_LENGTH));
const identifierOf = (node: { name: string; isoName: string }, flavour: Flavour): Uint8Array =>
  flavour === 'iso' ? ascii(node.isoName) : jolietName(node.name);

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    const order = (a[index] ?? 0) - (b[index] ?? 0);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

function rockRidge(name: string, isDirectory: boolean, identifier: Uint8Array, places: Places, more: Continuations): Uint8Array {
  const posix = posixEntry(isDirectory, isDirectory ? 2 : 1);
  const names = nameEntries(name);
  const room = MAX_RECORD - RECORD_HEADER - identifier.length - 2;
  if (posix.length + names.length <= room) return concat(posix, names);
  const offset = more.add(names);
  const inSector = offset % SECTOR;
  return concat(posix, continuationEntry(places.continuationSector + (offset - inSector) / SECTOR, inSector, names.length));
}

interface RecordContext {
  readonly flavour: Flavour;
  readonly places: Places;
  readonly more: Continuations;
  readonly date: Date;
}

function dotRecord(directory: DirectoryNode, identifier: number, isRootDot: boolean, context: RecordContext): Uint8Array {
  const place = context.places.directories.get(directory) ?? { sector: 0, size: 0 };
  const posix = posixEntry(true, 2);
  const systemUse = context.flavour === 'joliet' ? undefined : isRootDot ? concat(SUSP_START, posix, RRIP_REFERENCE) : posix;
  return directoryRecord({
    identifier: Uint8Array.of(identifier),
    ...place,
    isDirectory: true,
    date: context.date,
    ...(systemUse && { systemUse }),
  });
}

function childRecord(node: DirectoryNode | FileNode, context: RecordContext): { identifier: Uint8Array; record: Uint8Array } {
  const { flavour, places, more, date } = context;
  const identifier = identifierOf(node, flavour);
  const isDirectory = !('data' in node);
  const place = isDirectory
    ? (places.directories.get(node) ?? { sector: 0, size: 0 })
    : { sector: places.files.get(node) ?? 0, size: node.data.length };
  const systemUse = flavour === 'iso' ? rockRidge(node.name, isDirectory, identifier, places, more) : undefined;
  return { identifier, record: directoryRecord({ identifier, ...place, isDirectory, date, ...(systemUse && { systemUse }) }) };
}

/** All records of a directory; none crosses a sector. */
function directoryBytes(directory: DirectoryNode, context: RecordContext): Uint8Array {
  const children = [...directory.directories, ...directory.files]
    .map((node) => childRecord(node, context))
    .toSorted((a, b) => compareBytes(a.identifier, b.identifier));
  const records = [
    dotRecord(directory, 0, directory.parent === undefined, context),
    dotRecord(directory.parent ?? directory, 1, false, context),
    ...children.map(({ record }) => record),
  ];
  const parts: Uint8Array[] = [];
  let length = 0;
  for (const record of records) {
    const room = SECTOR - (length % SECTOR);
    if (record.length > room) {
      parts.push(new Uint8Array(room));
      length += room;
    }
    parts.push(record);
    length += record.length;
  }
  parts.push(new Uint8Array((SECTOR - (length % SECTOR)) % SECTOR));
  return concat(...parts);
}

function pathTable(directories: readonly DirectoryNode[], places: Places, flavour: Flavour, littleEndian: boolean): Uint8Array {
  const number = new Map(directories.map((directory, index) => [directory, index + 1]));
  const entries = directories.map((directory) => {
    const identifier = directory.parent ? identifierOf(directory, flavour) : Uint8Array.of(0);
    const head = new Uint8Array(8);
    const view = new DataView(head.buffer);
    view.setUint8(0, identifier.length);
    view.setUint32(2, places.directories.get(directory)?.sector ?? 0, littleEndian);
    view.setUint16(6, number.get(directory.parent ?? directory) ?? 1, littleEndian);
    return concat(head, identifier, new Uint8Array(identifier.length % 2));
  });
  return concat(...entries);
}

interface DescriptorInput {
  readonly label: string;
  readonly flavour: Flavour;
  readonly sectors: number;
  readonly pathTableSize: number;
  readonly littleTable: number;
  readonly bigTable: number;
  readonly root: Uint8Array;
  readonly date: Date;
}

function volumeDescriptor(input: DescriptorInput): Uint8Array {
  const joliet = input.flavour === 'joliet';
  const bytes = new Uint8Array(SECTOR);
  const view = new DataView(bytes.buffer);
  const text = (offset: number, length: number, value: string) => {
    const encoded = joliet
      ? ucs2(value.padEnd(length / 2, ' ').slice(0, length / 2))
      : ascii(value.padEnd(length, ' ').slice(0, length));
    bytes.set(encoded, offset);
  };
  bytes[0] = joliet ? 2 : 1;
  bytes.set(ascii('CD001'), 1);
  bytes[6] = 1;
  text(8, 32, '');
  text(40, 32, input.label);
  bytes.set(both32(input.sectors), 80);
  // UCS-2 level 3: every character of the Basic Multilingual Plane.
  if (joliet) bytes.set(ascii('%/E'), 88);
  bytes.set(both16(1), 120);
  bytes.set(both16(1), 124);
  bytes.set(both16(SECTOR), 128);
  bytes.set(both32(input.pathTableSize), 132);
  view.setUint32(140, input.littleTable, true);
  view.setUint32(148, input.bigTable, false);
  bytes.set(input.root, 156);
  for (const offset of [190, 318, 446, 574]) text(offset, 128, '');
  for (const [offset, length] of [
    [702, 37],
    [739, 37],
    [776, 37],
  ] as const)
    text(offset, length - (joliet ? 1 : 0), '');
  for (const offset of [813, 830]) bytes.set(volumeDate(input.date), offset);
  for (const offset of [847, 864]) bytes.set(ascii('0000000000000000'), offset);
  bytes[881] = 1;
  return bytes;
}

function terminator(): Uint8Array {
  const bytes = new Uint8Array(SECTOR);
  bytes[0] = 255;
  bytes.set(ascii('CD001'), 1);
  bytes[6] = 1;
  return bytes;
}

interface Tree {
  readonly flavour: Flavour;
  readonly directories: readonly DirectoryNode[];
  readonly places: Places;
  readonly littleTable: number;
  readonly bigTable: number;
  readonly pathTableSize: number;
}

/** Sizes depend on names alone, so a dry run with empty places gives them. */
function placeTree(root: DirectoryNode, flavour: Flavour, space: Space, date: Date): Tree {
  const directories = listDirectories(root);
  const places: Places = { directories: new Map(), files: new Map(), continuationSector: 0 };
  const pathTableSize = pathTable(directories, places, flavour, true).length;
  const littleTable = space.take(pathTableSize);
  const bigTable = space.take(pathTableSize);
  for (const directory of directories) {
    const size = directoryBytes(directory, { flavour, places, more: new Continuations(), date }).length;
    places.directories.set(directory, { sector: space.take(size), size });
  }
  return { flavour, directories, places, littleTable, bigTable, pathTableSize };
}

function measureContinuations(tree: Tree, date: Date): number {
  const more = new Continuations();
  for (const directory of tree.directories) directoryBytes(directory, { flavour: tree.flavour, places: tree.places, more, date });
  return more.bytes().length;
}

function writeTree(image: Uint8Array, tree: Tree, label: string, date: Date): void {
  const { flavour, places, directories } = tree;
  const at = (sector: number, bytes: Uint8Array) => image.set(bytes, sector * SECTOR);
  const more = new Continuations();
  const context: RecordContext = { flavour, places, more, date };
  at(tree.littleTable, pathTable(directories, places, flavour, true));
  at(tree.bigTable, pathTable(directories, places, flavour, false));
  for (const directory of directories) at(places.directories.get(directory)?.sector ?? 0, directoryBytes(directory, context));
  if (flavour === 'iso') at(places.continuationSector, more.bytes());
  const root = directories[0];
  const place = (root && places.directories.get(root)) ?? { sector: 0, size: 0 };
  const descriptor = volumeDescriptor({
    ...tree,
    label,
    sectors: image.length / SECTOR,
    root: directoryRecord({ identifier: Uint8Array.of(0), ...place, isDirectory: true, date }),
    date,
  });
  at(flavour === 'iso' ? 16 : 17, descriptor);
}

/**
 * An ISO 9660 image with Rock Ridge and Joliet names: what guests mount as a configuration disk.
 * Throws for paths that leave the image.
 */
export function writeIso({ label, files, date = new Date(0) }: IsoInput): Uint8Array {
  const root = buildTree(files);
  const space = new Space();
  const iso = placeTree(root, 'iso', space, date);
  const joliet = placeTree(root, 'joliet', space, date);
  iso.places.continuationSector = space.take(measureContinuations(iso, date));
  for (const file of listDirectories(root).flatMap((directory) => directory.files)) {
    const sector = space.take(file.data.length);
    iso.places.files.set(file, sector);
    joliet.places.files.set(file, sector);
  }
  const image = new Uint8Array(space.next * SECTOR);
  writeTree(image, iso, label, date);
  writeTree(image, joliet, label, date);
  image.set(terminator(), 18 * SECTOR);
  for (const [file, sector] of iso.places.files) image.set(file.data, sector * SECTOR);
  return image;
}
