import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseCidr, type Cidr } from './cidr.ts';

/** Addresses that one interface of one VM has on this node. */
export interface PodAddresses {
  readonly v4: string;
  readonly v6: string;
}

interface Lease {
  readonly owner: string;
  readonly offset: number;
}

/**
 * Hands out pod addresses and remembers them on disk. An address stays with its owner after the pod is gone, so that a
 * restarted VM gets it back, until the pool is exhausted: then the owner that was idle longest loses its address.
 */
export class AddressPool {
  readonly #path: string;
  readonly #v4: Cidr;
  readonly #v6: Cidr;
  /** Whether another node uses an address of this pool, because its VM runs there. */
  readonly #isElsewhere: (address: string) => boolean;
  /** In order of last use, oldest first. */
  #leases: Lease[] = [];
  readonly #inUse = new Map<string, string>();
  #saving: Promise<void> = Promise.resolve();

  private constructor(path: string, v4: Cidr, v6: Cidr, isElsewhere: (address: string) => boolean) {
    this.#isElsewhere = isElsewhere;
    this.#path = path;
    this.#v4 = v4;
    this.#v6 = v6;
  }

  /** Reads the file, if there is one. Throws when it cannot be understood, rather than handing out addresses twice. */
  static async open(
    path: string,
    cidrs: { readonly v4: string; readonly v6: string },
    isElsewhere: (address: string) => boolean = () => false,
  ): Promise<AddressPool> {
    const pool = new AddressPool(path, parseCidr(cidrs.v4), parseCidr(cidrs.v6), isElsewhere);
    try {
      pool.#leases = parseLeases(await readFile(path, 'utf8'));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) {
        throw new Error(`Cannot read the address records in ${path}`, { cause: error });
      }
    }
    return pool;
  }

  /** The addresses of this owner for this pod; the same ones as last time if possible. Throws when all are in use. */
  async acquire(owner: string, podUid: string): Promise<PodAddresses> {
    const known = this.#leases.find((lease) => lease.owner === owner);
    const offset = known?.offset ?? this.#freeOffset();
    // in memory before the first await, so that two pods never get the same address
    this.#leases = [...this.#leases.filter((lease) => lease.offset !== offset), { owner, offset }];
    this.#inUse.set(owner, podUid);
    await this.#save();
    return { v4: this.#v4.addressAt(offset), v6: this.#v6.addressAt(offset) };
  }

  /** Offsets in the networks of the pool, by owner. */
  leases(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#leases.map(({ owner, offset }) => [owner, offset]));
  }

  /** Keeps the record but lets the address go to another owner when none is free. */
  release(podUid: string): void {
    for (const [owner, user] of this.#inUse) if (user === podUid) this.#inUse.delete(owner);
  }

  /** Marks an address as in use again, after a restart of the agent. */
  reserve(owner: string, podUid: string): void {
    this.#inUse.set(owner, podUid);
  }

  #freeOffset(): number {
    const taken = new Set(this.#leases.map(({ offset }) => offset));
    // 0 is the network, 1 the bridge of the node, the last one is for broadcasts.
    const last = Math.min(this.#v4.size, 65_536) - 2;
    for (let offset = 2; offset <= last; offset += 1) if (!taken.has(offset)) return offset;
    const idle = this.#leases.find(
      ({ owner, offset }) => !this.#inUse.has(owner) && !this.#isElsewhere(this.#v4.addressAt(offset)),
    );
    if (idle) return idle.offset;
    throw new Error(`All ${last - 1} pod addresses of ${this.#v4.text} are in use; delete VMs or give the node a larger range`);
  }

  #save(): Promise<void> {
    const text = `${JSON.stringify({ version: 1, leases: this.#leases })}\n`;
    this.#saving = this.#saving
      .catch(() => {}) // reported to the caller whose save it was
      .then(async () => {
        await mkdir(dirname(this.#path), { recursive: true });
        await writeFile(`${this.#path}.new`, text, { mode: 0o600, flush: true });
        await rename(`${this.#path}.new`, this.#path);
      });
    return this.#saving;
  }
}

function parseLeases(text: string): Lease[] {
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed !== 'object' || parsed === null || !('leases' in parsed) || !Array.isArray(parsed.leases)) {
    throw new Error('no list of leases');
  }
  return parsed.leases.map((lease: unknown) => {
    if (typeof lease === 'object' && lease !== null && 'owner' in lease && 'offset' in lease) {
      const { owner, offset } = lease;
      if (typeof owner === 'string' && typeof offset === 'number') return { owner, offset };
    }
    throw new Error('a lease without owner or offset');
  });
}
