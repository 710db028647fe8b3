/** Rounds that grow: sockets, and memory in MiB. */
export const SOCKETS = [2, 3, 4];
export const MEMORY_MIB = [1280, 1536, 1792];
export const BOOT_MIB = 1024;
/** Disks that are plugged at once. */
export const MANY = 20;

/** Seconds of one device in each step of its life. */
export interface Times {
  readonly attached: number[];
  readonly seen: number[];
  readonly detached: number[];
}
/** Nothing measured yet. */
export const noTimes = (): Times => ({ attached: [], seen: [], detached: [] });

/** One guest, ours or the floor's. */
export interface Subject {
  /** Seconds until attached, until the guest sees it, and until it is gone again. */
  disk(times: Times): Promise<void>;
  nic(times: Times): Promise<void>;
  sockets(count: number): Promise<number>;
  memory(mib: number): Promise<number>;
  /** All of them, the last one attached. */
  manyDisks(): Promise<number>;
}
