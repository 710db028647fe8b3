import { bytesOf } from '@slipway/virt';
import type { PodNetworkStatus } from '../contracts.ts';
import { DeviceSync } from '../hotplug/index.ts';
import { roleOf } from '../migration/index.ts';
import { domainFacts } from './domain-facts.ts';
import { limitsOf } from './launch-parts.ts';
import type { GuestControl, LaunchView } from './launch-view.ts';

/** Begins to keep what is plugged in and out of the running guest as its VMI asks, until the guest or the agent ends. */
export function plugDevices(view: LaunchView, session: GuestControl, network: PodNetworkStatus): DeviceSync {
  const { deps, writer, pod } = view;
  const { facts, clusterConfig } = deps;
  const { nodeName } = deps.config;
  const devices = new DeviceSync({
    ...deps,
    pod: () => pod.current,
    sandbox: session.sandbox,
    factsWith: (vmi, now) => domainFacts({ vmi, node: facts, config: clusterConfig(), network: now, volumes: [] }),
    copyBandwidth: () => bytesOf(String(clusterConfig().configuration.migrations?.bandwidthPerMigration ?? 0)),
    writeNetwork: (now) => pod.writeRunning(now),
    facts: (vmi) => domainFacts({ vmi, node: facts, config: clusterConfig(), network, volumes: [] }),
    allowMemory: async (extraBytes) => {
      const { memoryBytes } = limitsOf(pod.current, facts);
      if (memoryBytes !== undefined) await deps.sandboxes.limitMemory?.(pod.uid, memoryBytes + extraBytes);
    },
    instance: () => writer.current,
    update: (change, signal) => writer.update((vmi) => (view.hasEnded() ? vmi : change(vmi)), signal),
    libvirt: () => session.libvirt(),
    domain: () => session.domain(),
    isLeaving: (vmi) =>
      vmi.status?.nodeName !== nodeName || roleOf(vmi, pod.current.metadata.name ?? '', nodeName)?.side === 'source',
  });
  const ended = new AbortController();
  view.ended.then(() => ended.abort(new Error('The guest has ended'))).catch(() => {});
  devices.run(AbortSignal.any([view.signal, ended.signal])).catch(() => {});
  return devices;
}
