import type { KubeVirt } from '@slipway/api';
import { type Informer, type Logger, sleep, type TimerClock } from '@slipway/runtime';
import type { HostDevices } from '../devices/index.ts';

export interface DeviceFollower {
  readonly devices: HostDevices;
  readonly kubeVirts: Informer<KubeVirt>;
  readonly clock: TimerClock;
  readonly log: Logger;
  /** Writes the node with what it offers now. */
  readonly write: () => Promise<void>;
}

/** The kernel tells nobody of this process when a device comes, goes or gets another driver. */
const LOOK_EVERY_MS = 30_000;

/** Writes the node again when it has other devices for guests, until aborted. */
export async function followDevices(follower: DeviceFollower, signal: AbortSignal): Promise<void> {
  const { devices, kubeVirts, clock, log, write } = follower;
  const look = async (): Promise<void> => {
    try {
      if (await devices.refresh()) await write();
    } catch (error) {
      if (!signal.aborted) log.warn({ error: String(error) }, 'devices of the host not looked at');
    }
  };
  kubeVirts.addHandler(() => void look());
  for (;;) {
    await look();
    await sleep(clock, LOOK_EVERY_MS, signal);
  }
}
