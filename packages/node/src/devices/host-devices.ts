import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { kubevirt, Pod } from '@slipway/api';
import type { Logger } from '@slipway/runtime';
import { DeviceLedger, type Grant } from './device-ledger.ts';
import { type Inventory, readInventory } from './inventory.ts';
import { type DeviceResource, planResources } from './plan-resources.ts';
import { parseSriovConfig, type SriovResource } from './sriov-config.ts';

/** The SR-IOV network device plugin reads its configuration here. */
const SRIOV_CONFIG = '/etc/pcidp/config.json';

export interface HostDevicesDeps {
  readonly stateDir: string;
  /** What the KubeVirt object permits now. */
  readonly permitted: () => kubevirt.PermittedHostDevices | undefined;
  readonly log: Logger;
  /** Root of sysfs; another one in tests. */
  readonly sysRoot?: string;
  readonly sriovConfigPath?: string;
}

/** What a pod was given. */
export interface PodDevices {
  /** As the device plugins of a cluster would set them in the pod. */
  readonly env: Readonly<Record<string, string>>;
  /** Files below /dev for its sandbox. */
  readonly nodes: readonly string[];
  /** Devices of its networks, by the network's name in the VMI. */
  readonly networks: ReadonlyMap<string, string>;
}

const PREFIXES = { pci: 'PCI_RESOURCE', usb: 'USB_RESOURCE', mdev: 'MDEV_PCI_RESOURCE', sriov: 'PCIDEVICE' } as const;
const NETWORK_VARIABLE = 'KUBEVIRT_RESOURCE_NAME_';
const variable = (prefix: string, resource: string): string => `${prefix}_${resource.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`;

/** Devices of this host that guests are given: what the node offers, and which pod has what. */
export class HostDevices {
  readonly #deps: HostDevicesDeps;
  readonly #ledger: DeviceLedger;
  #resources: readonly DeviceResource[] = [];
  #inventory: Inventory = { pci: [], usb: [], mediated: [] };

  constructor(deps: HostDevicesDeps) {
    this.#deps = deps;
    this.#ledger = new DeviceLedger(join(deps.stateDir, 'devices'));
  }

  /** Looks at the host and the configuration again. True when the node offers something else than before. */
  async refresh(): Promise<boolean> {
    const { permitted, sysRoot } = this.#deps;
    const before = JSON.stringify(this.#resources);
    const [inventory, sriov] = await Promise.all([readInventory(sysRoot), this.#sriovResources()]);
    this.#inventory = inventory;
    this.#resources = planResources({ inventory, permitted: permitted(), sriov });
    return JSON.stringify(this.#resources) !== before;
  }

  /** How many of each resource the node has. */
  counts(): ReadonlyMap<string, number> {
    return new Map(this.#resources.map(({ name, devices }) => [name, devices.length]));
  }

  /** What keeps configured devices from guests; empty: nothing. */
  problems(): readonly string[] {
    return this.#resources.flatMap(({ name, problems }) => problems.map((problem) => `${name}: ${problem}`));
  }

  /** The physical function behind a virtual one: its link, and the number of the virtual one. */
  portOf(address: string): { readonly link: string; readonly index: number } | undefined {
    const virtual = this.#inventory.pci.find((device) => device.address === address)?.virtual;
    const [link] = virtual?.links ?? [];
    return virtual === undefined || link === undefined ? undefined : { link, index: virtual.index };
  }

  /** Devices for what the pod's first container asks; the same again for a pod that has been asked for. */
  async allocate(pod: Pod): Promise<PodDevices> {
    const podUid = pod.metadata.uid ?? '';
    const wanted = this.#wantedBy(pod);
    if (wanted.size === 0) return { env: {}, nodes: [], networks: new Map() };
    return podDevices(pod, await this.#ledger.allocate(podUid, wanted, this.#resources));
  }

  /** The device of one network of a pod that has been given devices. */
  async deviceFor(pod: Pod, network: string): Promise<string | undefined> {
    return podDevices(pod, await this.#ledger.grantsOf(pod.metadata.uid ?? '')).networks.get(network);
  }

  /** Nothing of the pod runs any more. */
  release(podUid: string): Promise<void> {
    return this.#ledger.release(podUid);
  }

  /** Gives back what pods had that are gone. */
  async collectGarbage(livePodUids: ReadonlySet<string>): Promise<void> {
    for (const podUid of await this.#ledger.podUids()) if (!livePodUids.has(podUid)) await this.#ledger.release(podUid);
  }

  /** A resource that is not offered here counts too: the pod must hear why it gets none. */
  #wantedBy(pod: Pod): ReadonlyMap<string, number> {
    const [container] = pod.spec?.containers ?? [];
    const named = new Set([
      ...this.#resources.map(({ name }) => name),
      ...(container?.env ?? []).flatMap(({ name, value }) => (name.startsWith(NETWORK_VARIABLE) && value ? [value] : [])),
    ]);
    const limits = Object.entries(container?.resources?.limits ?? {});
    return new Map(limits.flatMap(([name, count]) => (named.has(name) ? [[name, Number(count)] as const] : [])));
  }

  async #sriovResources(): Promise<readonly SriovResource[]> {
    const content = await readFile(this.#deps.sriovConfigPath ?? SRIOV_CONFIG, 'utf8').catch(() => undefined);
    if (content === undefined) return [];
    try {
      return parseSriovConfig(content);
    } catch (error) {
      this.#deps.log.warn({ error: String(error) }, 'SR-IOV resources are not offered');
      return [];
    }
  }
}

/** What the launcher of the pod is told. Networks of the same resource get its devices in the order of the container's variables. */
function podDevices(pod: Pod, grants: readonly Grant[]): PodDevices {
  const named = (pod.spec?.containers[0]?.env ?? []).filter(({ name, value }) => name.startsWith(NETWORK_VARIABLE) && value);
  const pools = new Map(grants.map(({ resource, ids }) => [resource, [...ids]]));
  const networks = named.flatMap(({ name, value = '' }) => {
    const device = pools.get(value)?.shift();
    return device === undefined ? [] : [[name.slice(NETWORK_VARIABLE.length), device] as const];
  });
  return {
    env: {
      ...Object.fromEntries(named.map(({ name, value = '' }) => [name, value])),
      ...Object.fromEntries(grants.map(({ resource, kind, ids }) => [variable(PREFIXES[kind], resource), ids.join(',')])),
    },
    nodes: [...new Set(grants.flatMap(({ nodes }) => nodes))],
    networks: new Map(networks),
  };
}
