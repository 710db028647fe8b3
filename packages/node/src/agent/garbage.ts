import type { Pod } from '@slipway/api';
import type { Informer, Logger } from '@slipway/runtime';
import type { PodNetwork } from '../contracts.ts';
import type { HostDevices } from '../devices/index.ts';
import type { LauncherRunner } from '../launcher/index.ts';
import type { SandboxManager } from '../sandbox/index.ts';

export interface GarbageDeps {
  readonly pods: Informer<Pod>;
  readonly sandboxes: SandboxManager;
  readonly network: PodNetwork;
  readonly launcher: LauncherRunner;
  readonly devices: HostDevices;
  readonly log: Logger;
}

/** Removes what pods left behind that were deleted while no agent ran. Needs the pods' cache to be complete. */
export async function collectGarbage({ pods, sandboxes, network, launcher, devices, log }: GarbageDeps): Promise<void> {
  const live = new Set(pods.lister.list().map(({ metadata }) => metadata.uid ?? ''));
  for (const podUid of await sandboxes.podUids()) {
    if (live.has(podUid)) continue;
    log.info({ pod: podUid }, 'removing the sandbox of a pod that is gone');
    await launcher.cleanUp(podUid);
  }
  await network.collectGarbage(live);
  await devices.collectGarbage(live);
}
