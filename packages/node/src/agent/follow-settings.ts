import type { KubeVirt } from '@slipway/api';
import type { Informer } from '@slipway/runtime';
import { clusterConfig, type NodeSettings, nodeSettings } from '@slipway/virt';

export interface SettingsFollower {
  readonly kubeVirts: Informer<KubeVirt>;
  readonly settings: () => NodeSettings;
  readonly write: () => Promise<void>;
}

/** Writes the node again when the configuration says something else about nodes than what it was written with. */
export function followSettings({ kubeVirts, settings, write }: SettingsFollower): void {
  const text = ({ obsoleteCpuModels, sharedDevices }: NodeSettings): string =>
    JSON.stringify([[...obsoleteCpuModels].sort(), sharedDevices]);
  let written = text(nodeSettings(clusterConfig()));
  kubeVirts.addHandler(() => {
    const now = text(settings());
    if (now === written) return;
    written = now;
    write().catch(() => {}); // aborted: it is tried until then
  });
}
