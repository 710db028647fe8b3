import { mkdir, readdir, readFile, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { isSharedVolumeUid } from '@slipway/api';
import { FileLocks } from '@slipway/hostapi';
import { codeOf } from '../error-code.ts';
import { VolumeError } from '../volume-error.ts';
import { exists, makeDirectory, writeDurably } from '../volume-files.ts';
import { checkedUid } from '../volume-record.ts';
import { checkPlace } from './pool-place.ts';
import { complaintAboutPool, type DeclaredPool } from './pool.ts';

export interface PoolSetDeps {
  /** Root of the agent's state, which is also the root of the pool without a name. */
  readonly stateDir: string;
  /** Unique to this installation and node: the pool's directory may be another's too. */
  readonly hostPrefix: string;
  /** A new UUID. */
  readonly uid: () => string;
  /** Directory that all nodes reach; absent: this node has no shared volumes. */
  readonly sharedDir?: string;
}

/** A pool that this node has used, and the mark by which it knows the file system again. */
interface KnownPool extends DeclaredPool {
  readonly id: string;
}

export interface PoolState {
  readonly name: string;
  readonly path: string;
  /** Why no volume can be made there, and what to do. */
  readonly problem?: VolumeError;
}

export interface PoolSpace {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** An action on a volume is never broken off midway; locks end with this process. */
const never = new AbortController();
const MARKER = 'pool.json';
/** No pool that is declared can have this name. */
const SHARED_POOL = '.shared';

/**
 * Where the volumes of this node are: below its state directory, or in a pool on a file system of its own. Which pool a
 * volume is in is kept in the state directory, and the pool is known again by a mark in it: an empty mount point is
 * never taken for the pool.
 */
export class PoolSet {
  private readonly deps: PoolSetDeps;
  private readonly known = new Map<string, KnownPool>();
  private readonly placements = new Map<string, string>();
  private declared: ReadonlyMap<string, PoolState> = new Map();
  private readonly locks = new FileLocks();

  constructor(deps: PoolSetDeps) {
    this.deps = deps;
  }

  async open(): Promise<void> {
    await makeDirectory(this.recordsRoot, 0o700);
    await this.openShared();
    for (const name of await readdir(this.recordsRoot)) {
      const record = await readMark(join(this.recordsRoot, name, MARKER));
      if (record === undefined || name === SHARED_POOL) continue;
      this.known.set(name, record);
      const volumes = join(this.directoryIn(record.path), 'volumes');
      const isHere = await this.isMarked(record);
      for (const volumeUid of await readdir(this.placementsOf(name))) {
        this.placements.set(volumeUid, name);
        // placed by an agent that came no further
        if (isHere && !(await exists(join(volumes, volumeUid)))) await this.forget(volumeUid);
      }
    }
  }

  /** Takes these as the pools of the node, and makes the directories of those that are new. */
  async declare(pools: readonly DeclaredPool[]): Promise<readonly PoolState[]> {
    await this.forgetUnused(pools);
    const states = new Map<string, PoolState>();
    for (const pool of pools) {
      const problem = await this.prepare(pool).then(() => undefined, asProblem);
      states.set(pool.name, { ...pool, ...(problem && { problem }) });
    }
    this.declared = states;
    return [...states.values()];
  }

  /** Directory that has `volumes`, `layers` and `podvolumes` of the pool. */
  rootOf(pool: string | undefined): string {
    const known = pool === undefined ? undefined : this.known.get(pool);
    if (pool !== undefined && known === undefined)
      throw new VolumeError('PoolNotReady', `This node has never had a storage pool "${pool}"`);
    return known === undefined ? this.deps.stateDir : this.directoryIn(known.path);
  }

  /** Name of the pool that has the volume; undefined is the node's own directory. */
  poolOf(volumeUid: string): string | undefined {
    return isSharedVolumeUid(volumeUid) ? SHARED_POOL : this.inPool(volumeUid);
  }

  /** Runs an action while no other node changes the volume; at once when none reaches it. */
  amongNodes<T>(volumeUid: string, action: () => Promise<T>): Promise<T> {
    if (!isSharedVolumeUid(volumeUid)) return action();
    return this.locks.exclusively(join(this.rootOf(SHARED_POOL), 'locks', checkedUid(volumeUid)), action, never.signal);
  }

  private inPool(volumeUid: string): string | undefined {
    return this.placements.get(volumeUid);
  }

  /** Remembers where a volume is going to be made. Throws unless a volume can be made there. */
  async place(volumeUid: string, pool: string | undefined): Promise<void> {
    if (pool === undefined || this.placements.get(volumeUid) === pool) return;
    const state = this.declared.get(pool);
    if (state === undefined)
      throw new VolumeError(
        'PoolNotReady',
        `No HostPathProvisioner declares the storage pool "${pool}" for this node: add it to spec.storagePools, or correct the class`,
      );
    if (state.problem) throw state.problem;
    await this.remember(volumeUid, pool);
  }

  /** Remembers that a volume is going to be made in the pool of another one. */
  async placeBeside(volumeUid: string, otherUid: string): Promise<void> {
    const pool = this.placements.get(otherUid);
    if (pool !== undefined) await this.remember(volumeUid, pool);
  }

  private async remember(volumeUid: string, pool: string): Promise<void> {
    await this.check(pool);
    await writeDurably(join(this.placementsOf(pool), checkedUid(volumeUid)), '');
    this.placements.set(volumeUid, pool);
  }

  async forget(volumeUid: string): Promise<void> {
    const pool = this.placements.get(volumeUid);
    if (pool === undefined) return;
    await rm(join(this.placementsOf(pool), checkedUid(volumeUid)), { force: true });
    this.placements.delete(volumeUid);
  }

  /** Throws unless the pool is the one that it was when it was first used. */
  async check(pool: string | undefined): Promise<void> {
    if (pool === undefined) return;
    const known = this.known.get(pool);
    if (known === undefined) throw new VolumeError('PoolNotReady', `This node has never had a storage pool "${pool}"`);
    const found = await readMark(join(this.directoryIn(known.path), MARKER));
    if (found?.id !== known.id)
      throw notMounted(known, found === undefined ? 'has not its mark' : 'has the mark of another pool');
  }

  /** Pools that can be used now, the one without a name included. */
  async usable(): Promise<readonly (string | undefined)[]> {
    const names: (string | undefined)[] = [undefined];
    for (const name of this.known.keys())
      await this.check(name).then(
        () => names.push(name),
        () => {}, // reported where it is needed
      );
    return names;
  }

  /** Directories outside the state directory that guests reach. */
  async diskDirectories(): Promise<readonly string[]> {
    const names = (await this.usable()).filter((name) => name !== undefined);
    return names.flatMap((name) => ['volumes', 'podvolumes'].map((part) => join(this.rootOf(name), part)));
  }

  /** Directories of this node alone in the pools that can be used now. */
  async ownRoots(): Promise<readonly string[]> {
    const names = (await this.usable()).filter((name) => name !== undefined && name !== SHARED_POOL);
    return names.map((name) => this.rootOf(name));
  }

  async space(pool: string | undefined): Promise<PoolSpace> {
    const { blocks, bavail, bsize } = await statfs(join(this.rootOf(pool), 'volumes'));
    return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
  }

  /** The pools as they were declared last, and those that still have volumes. */
  states(): readonly PoolState[] {
    const left = [...new Set(this.placements.values())].filter((name) => !this.declared.has(name));
    const gone = left.flatMap((name) => this.known.get(name) ?? []);
    const problem = new VolumeError('PoolNotDeclared', 'No HostPathProvisioner declares the pool any more; its volumes stay');
    return [...this.declared.values(), ...gone.map(({ name, path }) => ({ name, path, problem }))];
  }

  private async prepare(pool: DeclaredPool): Promise<void> {
    const complaint = complaintAboutPool(pool);
    if (complaint !== undefined) throw new VolumeError('PoolNotReady', complaint);
    const known = this.known.get(pool.name);
    if (known !== undefined && known.path !== pool.path && this.hasVolumes(pool.name))
      throw new VolumeError(
        'PoolNotReady',
        `Storage pool "${pool.name}" has volumes in ${known.path}: declare it there, and another pool in ${pool.path}`,
      );
    if (known?.path === pool.path) await this.check(pool.name);
    else await this.create(pool);
  }

  private async isMarked(known: KnownPool): Promise<boolean> {
    return (await readMark(join(this.directoryIn(known.path), MARKER)))?.id === known.id;
  }

  /** What was taken out of the declarations and has no volumes may come back as something else. */
  private async forgetUnused(declared: readonly DeclaredPool[]): Promise<void> {
    for (const name of [...this.known.keys()]) {
      if (name === SHARED_POOL || this.hasVolumes(name) || declared.some((pool) => pool.name === name)) continue;
      await rm(join(this.recordsRoot, name), { recursive: true, force: true });
      this.known.delete(name);
    }
  }

  private async create(pool: DeclaredPool): Promise<void> {
    await checkPlace(pool.path);
    await this.mark(pool, this.directoryIn(pool.path));
    await mkdir(this.placementsOf(pool.name), { recursive: true, mode: 0o700 });
  }

  private async mark(pool: DeclaredPool, root: string): Promise<void> {
    await makeDirectory(root, 0o711);
    for (const [name, mode] of PARTS) await makeDirectory(join(root, name), mode);
    // a pool that this node had before its state was lost keeps its mark
    const found = await readMark(join(root, MARKER));
    const known: KnownPool = { name: pool.name, path: pool.path, id: found?.id ?? this.deps.uid() };
    await writeDurably(join(root, MARKER), JSON.stringify(known));
    await this.know(known);
  }

  private async know(known: KnownPool): Promise<void> {
    await mkdir(join(this.recordsRoot, known.name), { recursive: true, mode: 0o700 });
    await writeDurably(join(this.recordsRoot, known.name, MARKER), JSON.stringify(known));
    this.known.set(known.name, known);
  }

  /** The first node of all gives the shared directory its mark; each node knows it by that from then on. */
  private async openShared(): Promise<void> {
    const { sharedDir } = this.deps;
    if (sharedDir === undefined) return;
    const remembered = await readMark(join(this.recordsRoot, SHARED_POOL, MARKER));
    if (remembered !== undefined && remembered.path === sharedDir) {
      this.known.set(SHARED_POOL, remembered); // `check` tells when something else is mounted there, or nothing
      return;
    }
    await makeDirectory(sharedDir, 0o711);
    // guests and data movers could take a lock that they can open
    const locks = join(sharedDir, 'locks');
    await makeDirectory(locks, 0o700);
    const mark = () => this.mark({ name: SHARED_POOL, path: sharedDir }, sharedDir);
    await this.locks.exclusively(join(locks, 'pool'), mark, never.signal);
  }

  private hasVolumes(pool: string): boolean {
    return [...this.placements.values()].includes(pool);
  }

  private directoryIn(path: string): string {
    if (path === this.deps.sharedDir) return path;
    return join(path, `slipway-${this.deps.hostPrefix}`);
  }

  private get recordsRoot(): string {
    return join(this.deps.stateDir, 'pools');
  }

  private placementsOf(pool: string): string {
    return join(this.recordsRoot, pool, 'volumes');
  }
}

/** What is in the directory of a pool. */
const PARTS = [
  ['volumes', 0o711],
  ['layers', 0o700],
  ['podvolumes', 0o711],
] as const;

const notMounted = ({ name, path }: DeclaredPool, what: string): VolumeError =>
  new VolumeError(
    'PoolNotMounted',
    name === SHARED_POOL
      ? `The directory of shared volumes ${path} ${what}: mount its file system there, and the volumes in it can be used again`
      : `Storage pool "${name}": ${path} ${what}: mount its file system there, and the volumes in it can be used again. For another file system, take the pool out of the HostPathProvisioner and add it again`,
  );

function asProblem(error: unknown): VolumeError {
  if (error instanceof VolumeError) return error;
  return new VolumeError(
    'PoolNotReady',
    `The pool cannot be used: ${error instanceof Error ? error.message : String(error)}`,
    error,
  );
}

/** Undefined when there is none, or none that can be read. */
async function readMark(path: string): Promise<KnownPool | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return isMark(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

const isMark = (value: unknown): value is KnownPool =>
  typeof value === 'object' &&
  value !== null &&
  ['name', 'path', 'id'].every((key) => typeof Reflect.get(value, key) === 'string');
