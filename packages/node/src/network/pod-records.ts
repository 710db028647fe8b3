import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PlannedTap, PodNetworkStatus } from '../contracts.ts';
import type { CniAttachment } from './cni.ts';
import type { GuestConfig } from './guest-config.ts';

/** What was made for a pod, so that a restarted agent can serve it and remove it. */
export interface PodRecord {
  readonly podUid: string;
  readonly netns: string;
  readonly owner: string;
  /** Absent while the network is being made: what exists then is removed and made anew. */
  readonly status?: PodNetworkStatus;
  /** Lines for `ip -batch` on the host that lead to the pod. */
  readonly hostRoutes?: readonly string[];
  /**
   * Absent: the pod's addresses are here. `waiting`: they will be when its guest has moved here. `gone`: the guest has moved
   * to the node with these link addresses.
   */
  readonly place?: 'waiting' | { readonly gone: readonly string[] };
  /** How often the addresses have moved; see `Presence`. */
  readonly turn?: number;
  readonly guests: readonly GuestConfig[];
  readonly attachments: readonly RecordedAttachment[];
}

/** A second network of a pod. */
export interface RecordedAttachment {
  readonly attachment: CniAttachment;
  /** What the plugin answered; absent while it is being attached. */
  readonly result?: unknown;
  readonly ips?: readonly string[];
  /** `namespace/name` of its definition. */
  readonly networkName?: string;
  /** Network name of the VMI spec. */
  readonly name?: string;
  readonly tap?: PlannedTap;
  /** What the guest is told by DHCP. */
  readonly guest?: GuestConfig;
  /** Device of the host that the guest has instead of a tap. */
  readonly device?: string;
  /** Plugin of the binding, which has made the tap. */
  readonly plugin?: { readonly attachment: CniAttachment; readonly result?: unknown };
}

/** Whether another network has taken the place of the node's own in the pod. */
export const isReplaced = ({ attachments }: Pick<PodRecord, 'attachments'>): boolean =>
  attachments.some(({ attachment }) => attachment.ifname === 'eth0');

/** What the pod network of a node keeps on the disk. */
export const networkDirectory = (stateDir: string): string => join(stateDir, 'network');

/** Records of the pods of a node. */
export const podRecords = (stateDir: string): PodRecords => new PodRecords(join(networkDirectory(stateDir), 'pods'));

/** Records as one file per pod. */
export class PodRecords {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async write(record: PodRecord): Promise<void> {
    const path = this.#path(record.podUid);
    await mkdir(this.#directory, { recursive: true });
    await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${path}.new`, path);
  }

  async read(podUid: string): Promise<PodRecord | undefined> {
    try {
      // written by write() above; a file cut short by a power loss counts as missing
      return JSON.parse(await readFile(this.#path(podUid), 'utf8')) as PodRecord;
    } catch (error) {
      if (error instanceof SyntaxError || (error instanceof Error && 'code' in error && error.code === 'ENOENT'))
        return undefined;
      throw error;
    }
  }

  async list(): Promise<readonly PodRecord[]> {
    const names = await readdir(this.#directory).catch(() => []);
    const records = await Promise.all(
      names.filter((name) => name.endsWith('.json')).map((name) => this.read(name.slice(0, -'.json'.length))),
    );
    return records.filter((record) => record !== undefined);
  }

  async remove(podUid: string): Promise<void> {
    await rm(this.#path(podUid), { force: true });
  }

  async removeAll(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }

  #path(podUid: string): string {
    if (!/^[A-Za-z0-9-]+$/.test(podUid)) throw new Error(`"${podUid}" is not a UID`);
    return join(this.#directory, `${podUid}.json`);
  }
}
