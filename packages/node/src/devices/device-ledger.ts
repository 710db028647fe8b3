import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '@slipway/hostapi';
import type { DeviceKind, DeviceResource } from './plan-resources.ts';

/** Devices of one resource that a pod has. */
export interface Grant {
  readonly resource: string;
  readonly kind: DeviceKind;
  readonly ids: readonly string[];
  readonly nodes: readonly string[];
}

/**
 * Which pod has which device, one file per pod. A grant is on the disk before anybody hears of it, so that no device is given
 * twice whatever crashes.
 */
export class DeviceLedger {
  readonly #directory: string;
  readonly #grants = new Map<string, readonly Grant[]>();
  #loaded: Promise<void> | undefined;
  /** One change at a time. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(directory: string) {
    this.#directory = directory;
  }

  async grantsOf(podUid: string): Promise<readonly Grant[]> {
    await this.#load();
    return this.#grants.get(podUid) ?? [];
  }

  /** Gives a pod what it asks for, or what it has been given before. Throws which resource has too few devices left. */
  allocate(podUid: string, wanted: ReadonlyMap<string, number>, resources: readonly DeviceResource[]): Promise<readonly Grant[]> {
    return this.#inOrder(async () => {
      await this.#load();
      const before = this.#grants.get(podUid);
      if (before !== undefined) return before;
      const taken = new Set([...this.#grants.values()].flat().flatMap(({ ids }) => ids));
      const grants = [...wanted].map(([name, count]) => grantOf(name, count, resources, taken));
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await writeFileAtomic(this.#path(podUid), `${JSON.stringify(grants)}\n`);
      this.#grants.set(podUid, grants);
      return grants;
    });
  }

  /** The pod is gone, and nothing has its devices open. */
  release(podUid: string): Promise<void> {
    return this.#inOrder(async () => {
      await this.#load();
      await rm(this.#path(podUid), { force: true });
      this.#grants.delete(podUid);
    });
  }

  async podUids(): Promise<readonly string[]> {
    await this.#load();
    return [...this.#grants.keys()];
  }

  #inOrder<T>(change: () => Promise<T>): Promise<T> {
    const run = this.#tail.then(change);
    this.#tail = run.catch(() => {});
    return run;
  }

  #load(): Promise<void> {
    this.#loaded ??= (async () => {
      const names = await readdir(this.#directory).catch((): string[] => []);
      for (const name of names.filter((entry) => entry.endsWith('.json') && !entry.startsWith('.'))) {
        // written by `allocate`
        const grants = JSON.parse(await readFile(join(this.#directory, name), 'utf8')) as Grant[];
        this.#grants.set(name.slice(0, -'.json'.length), grants);
      }
    })();
    return this.#loaded;
  }

  #path(podUid: string): string {
    if (!/^[A-Za-z0-9-]+$/.test(podUid)) throw new Error(`"${podUid}" is not a UID`);
    return join(this.#directory, `${podUid}.json`);
  }
}

function grantOf(name: string, count: number, resources: readonly DeviceResource[], taken: Set<string>): Grant {
  const resource = resources.find((entry) => entry.name === name);
  const free = (resource?.devices ?? []).filter(({ ids }) => !ids.some((id) => taken.has(id))).slice(0, count);
  if (resource === undefined || free.length < count) {
    const why = resource?.problems.length ? `: ${resource.problems.join('; ')}` : '';
    throw new Error(`This node has ${free.length} free of ${count} devices of resource ${name} that the VM asks for${why}`);
  }
  const ids = free.flatMap((device) => device.ids);
  for (const id of ids) taken.add(id);
  return { resource: name, kind: resource.kind, ids, nodes: [...new Set(free.flatMap(({ nodes }) => nodes))] };
}
