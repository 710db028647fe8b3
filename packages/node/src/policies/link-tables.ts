import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { NftCommand } from '@slipway/hostapi';
import { LINK_TABLE } from './link-ruleset.ts';

export interface LinkTablesDeps {
  readonly nft: Pick<NftCommand, 'inNamespace'>;
  /** Keeps the names of the namespaces that have a table, for the next agent. */
  readonly file: string;
}

interface Applied {
  /** Of the namespace: one that was made anew under the same name has no table. */
  readonly inode: number | undefined;
  readonly script: string;
}

/** The tables of policies in namespaces of pods. */
export class LinkTables {
  readonly #deps: LinkTablesDeps;
  #applied: Map<string, Applied> | undefined;

  constructor(deps: LinkTablesDeps) {
    this.#deps = deps;
  }

  /**
   * Makes the tables of these namespaces, by their rulesets, and removes all others. One that fails does not keep the rest.
   * Throws when there was any.
   */
  async settle(wanted: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void> {
    const applied = await this.#load();
    if (wanted.size === 0 && applied.size === 0) return;
    // on the disk first: whatever is made is known to who comes next
    await this.#save(new Set([...applied.keys(), ...wanted.keys()]));
    const failures: string[] = [];
    const each = async (netns: string, act: () => Promise<void>): Promise<void> => {
      await act().catch(async (error: unknown) => {
        if ((await inodeOf(netns)) !== undefined)
          failures.push(`${netns}: ${error instanceof Error ? error.message : String(error)}`);
      });
    };
    for (const [netns, script] of wanted) await each(netns, () => this.#apply(netns, script, applied, signal));
    for (const netns of [...applied.keys()].filter((name) => !wanted.has(name)))
      await each(netns, () => this.#remove(netns, applied, signal));
    await this.#save(new Set([...applied.keys(), ...wanted.keys()]));
    if (failures.length > 0) throw new Error(`Policies of second networks are not in force: ${failures.join('; ')}`);
  }

  async #apply(netns: string, script: string, applied: Map<string, Applied>, signal: AbortSignal): Promise<void> {
    const inode = await inodeOf(netns);
    if (inode === undefined) return; // the pod comes or goes, and says so
    const last = applied.get(netns);
    if (last?.inode === inode && last.script === script) return;
    await this.#deps.nft.inNamespace(netns).apply(script, signal);
    applied.set(netns, { inode, script });
  }

  async #remove(netns: string, applied: Map<string, Applied>, signal: AbortSignal): Promise<void> {
    if ((await inodeOf(netns)) !== undefined) await this.#deps.nft.inNamespace(netns).deleteTable(LINK_TABLE, signal);
    applied.delete(netns);
  }

  async #load(): Promise<Map<string, Applied>> {
    this.#applied ??= new Map((await readNames(this.#deps.file)).map((netns) => [netns, { inode: undefined, script: '' }]));
    return this.#applied;
  }

  async #save(names: ReadonlySet<string>): Promise<void> {
    const { file } = this.#deps;
    if (names.size === 0) return rm(file, { force: true });
    const text = JSON.stringify([...names].sort());
    if ((await readFile(file, 'utf8').catch(() => '')) === text) return;
    await mkdir(dirname(file), { recursive: true });
    await writeFile(`${file}.new`, text, { mode: 0o600 });
    await rename(`${file}.new`, file);
  }
}

const inodeOf = async (netns: string): Promise<number | undefined> =>
  stat(`/run/netns/${netns}`).then(
    ({ ino }) => ino,
    () => undefined,
  );

/** A file that is missing or was cut short by a power loss, which took the namespaces too, names nothing. */
async function readNames(file: string): Promise<string[]> {
  try {
    const names: unknown = JSON.parse(await readFile(file, 'utf8'));
    return Array.isArray(names) ? names.map(String) : [];
  } catch {
    return [];
  }
}
