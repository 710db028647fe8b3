import { readFile, writeFile } from 'node:fs/promises';
import type { Pod } from '@slipway/api';
import type { IpCommand } from '@slipway/hostapi';
import type { Logger } from '@slipway/runtime';
import type { PlannedTap, Sandbox } from '../contracts.ts';
import type { Cni, CniAttachment } from './cni.ts';
import { networkRequest } from './cni-request.ts';
import { readCniResult } from './cni-result.ts';
import type { GuestConfig } from './guest-config.ts';
import type { HostNames } from './host-names.ts';
import { type Attachment, planJoin, planRejoin, secondaryLinks } from './plan-second-network.ts';
import type { PodLinks } from './pod-links.ts';
import type { PodRecord, PodRecords, RecordedAttachment } from './pod-records.ts';

export interface SecondNetworksDeps {
  readonly cni: Cni;
  readonly ip: IpCommand;
  readonly names: HostNames;
  readonly links: PodLinks;
  readonly records: PodRecords;
  readonly log: Logger;
  /** `spec.config` of a NetworkAttachmentDefinition; undefined when there is none of that name. */
  resolveNetwork(key: { readonly namespace: string; readonly name: string }, signal: AbortSignal): Promise<string | undefined>;
  /** Device of the host that a pod has for one of its networks. */
  deviceFor?(pod: Pod, network: string): Promise<string | undefined>;
  /** Keeps the names of bridges that were made for attachments. */
  readonly bridgesFile: string;
}

/** The pod that networks are attached to. */
interface Target {
  readonly pod: Pod;
  readonly sandbox: Sandbox;
  readonly done: readonly RecordedAttachment[];
}

/** Networks of a pod besides its own, made by CNI. */
export class SecondNetworks {
  readonly #deps: SecondNetworksDeps;

  constructor(deps: SecondNetworksDeps) {
    this.#deps = deps;
  }

  /** Attaches what is missing, one by one, and writes down each of them in the record before it is made. */
  async attach(
    missing: readonly Attachment[],
    target: Target,
    base: Omit<PodRecord, 'attachments'>,
    signal: AbortSignal,
  ): Promise<readonly RecordedAttachment[]> {
    const { records } = this.#deps;
    const done = [...target.done];
    for (const wanted of missing) {
      const { attachment, networkName } = await this.#describe(wanted, wanted.networkName, target, signal);
      const plugin =
        wanted.definition === undefined
          ? undefined
          : (await this.#describe(wanted, wanted.definition, target, signal)).attachment;
      // recorded before it is made, so that whatever a crash leaves is removed
      await records.write({ ...base, attachments: [...done, { attachment, ...(plugin && { plugin: { attachment: plugin } }) }] });
      const made = await this.#make(wanted, attachment, target, signal);
      const pluginMade = plugin && { plugin: { attachment: plugin, result: await this.#makeTap(wanted, plugin, signal) } };
      done.push({ attachment, networkName, name: wanted.name, ...made, ...pluginMade });
    }
    return done;
  }

  /**
   * Puts another network behind an interface that a guest has; `record` is told what is there at each moment, so that it can
   * be done again from there.
   */
  async rejoin(
    entry: RecordedAttachment,
    wanted: Attachment,
    target: Target,
    record: (entry: RecordedAttachment) => Promise<void>,
    signal: AbortSignal,
  ): Promise<RecordedAttachment> {
    const { attachment, networkName } = await this.#describe(wanted, wanted.networkName, target, signal);
    const { networkName: _, guest: _guest, ...undecided } = entry;
    await record(undecided);
    await this.detach(entry, signal);
    const { tap = wanted.tap } = entry;
    await record({ ...undecided, attachment, result: {} });
    const { raw, ips, createdBridge } = await this.#deps.cni.add(attachment, signal);
    if (createdBridge !== undefined) await this.#rememberBridge(createdBridge);
    const { podUid, uid, netns } = target.sandbox;
    const answer = readCniResult(raw, wanted.podInterfaceName);
    const joined = planRejoin({ attachment: wanted, podUid, uid, mtu: tap.mtu, answer });
    await this.#deps.ip.inNamespace(netns).batch(joined.ip, signal);
    const made = { attachment, networkName, name: wanted.name, result: raw, ips };
    return { ...made, tap: { ...tap, ipAddresses: joined.guest ? ips : [] }, ...(joined.guest && { guest: joined.guest }) };
  }

  /** Whether the attachment is of another network than it should be. */
  isOfAnother({ networkName }: RecordedAttachment, wanted: Attachment, pod: Pod): boolean {
    const { namespace, name } = networkKey(wanted.networkName, pod.metadata.namespace ?? 'default');
    return networkName !== `${namespace}/${name}`;
  }

  /** What CNI needs to know. Throws when the network may not be used or is not there. */
  async #describe(
    wanted: Attachment,
    networkName: string,
    { pod, sandbox }: Target,
    signal: AbortSignal,
  ): Promise<{ readonly attachment: CniAttachment; readonly networkName: string }> {
    const podNamespace = pod.metadata.namespace ?? 'default';
    const key = networkKey(networkName, podNamespace);
    if (key.namespace !== podNamespace && key.namespace !== SHARED_NAMESPACE)
      throw new Error(
        `NetworkAttachmentDefinition ${key.namespace}/${key.name} belongs to another namespace; networks of the own namespace ` +
          `and of "${SHARED_NAMESPACE}" can be used: make it in one of them`,
      );
    const config = await this.#deps.resolveNetwork(key, signal);
    if (config === undefined)
      throw new Error(`NetworkAttachmentDefinition ${key.namespace}/${key.name} does not exist; create it and the VM goes on`);
    const ifname = wanted.podInterfaceName;
    const { podUid, netns } = sandbox;
    const deviceId = wanted.join === 'device' ? await this.#deps.deviceFor?.(pod, wanted.name) : undefined;
    if (wanted.join === 'device' && deviceId === undefined)
      throw new Error(
        `Interface "${wanted.name}" asks for SR-IOV, and this pod was given no device for network ${key.namespace}/${key.name}: ` +
          'the definition needs the annotation k8s.v1.cni.cncf.io/resourceName with a resource that this node offers',
      );
    const asked = networkRequest(pod, { ifname, ...key });
    const request = { ...asked, ...(deviceId !== undefined && { deviceId }) };
    const attachment: CniAttachment = {
      ...{ podUid, netns, ifname, config, podNamespace, mac: wanted.mac, podName: pod.metadata.name ?? '' },
      hostLink: this.#deps.names.veth(podUid, ifname),
      ...(Object.keys(request).length > 0 && { request }),
    };
    return { attachment, networkName: `${key.namespace}/${key.name}` };
  }

  async #make(
    wanted: Attachment,
    attachment: CniAttachment,
    { sandbox }: Target,
    signal: AbortSignal,
  ): Promise<Pick<RecordedAttachment, 'result' | 'ips' | 'tap' | 'guest' | 'device'>> {
    const { raw, ips, createdBridge } = await this.#deps.cni.add(attachment, signal);
    if (createdBridge !== undefined) await this.#rememberBridge(createdBridge);
    const device = attachment.request?.deviceId;
    if (device !== undefined) return { result: raw, ips, tap: { ...wanted.tap, device }, device };
    const inside = this.#deps.ip.inNamespace(sandbox.netns);
    const link = (await inside.links(signal)).find(({ ifname }) => ifname === wanted.podInterfaceName);
    const mtu = link?.mtu ?? wanted.tap.mtu;
    const tap = { ...wanted.tap, mtu };
    if (wanted.join === 'tap') return { result: raw, ips, tap };
    const answer = readCniResult(raw, wanted.podInterfaceName);
    const { podUid, uid } = sandbox;
    const joined = planJoin({ attachment: wanted, podUid, uid, mtu, answer });
    await inside.batch(joined.ip, signal);
    const told = joined.guest?.v4.address;
    return {
      ...{ result: raw, ips, tap: told === undefined ? tap : { ...tap, ipAddresses: ips } },
      ...(joined.guest && { guest: joined.guest }),
    };
  }

  /** The plugin of a binding makes the tap. Throws when it has made none. */
  async #makeTap({ tap, networkName, name }: Attachment, plugin: CniAttachment, signal: AbortSignal): Promise<unknown> {
    const request = { ...plugin.request, cniArgs: { ...plugin.request?.cniArgs, logicNetworkName: name } };
    const { raw } = await this.#deps.cni.add({ ...plugin, request }, signal);
    const links = await this.#deps.ip.inNamespace(plugin.netns).links(signal);
    if (links.some(({ ifname }) => ifname === tap.tapName)) return raw;
    throw new Error(`The plugin of the binding of network ${networkName} has made no tap "${tap.tapName}" in the pod`);
  }

  /** Undoes `attach`, with the results that were kept. */
  async detach({ attachment, result, plugin }: RecordedAttachment, signal: AbortSignal): Promise<void> {
    for (const made of [...(plugin ? [plugin] : []), { attachment, result }]) {
      try {
        await this.#deps.cni.delete(made.attachment, made.result, signal);
      } catch (error) {
        // the namespace is removed next, and with it what the plugin made in there
        this.#deps.log.warn({ pod: attachment.podUid, error: String(error) }, 'CNI plugin failed to detach a network');
      }
    }
  }

  /** Takes a second network away whose tap no QEMU has open any more. */
  async unplug(entry: RecordedAttachment, netns: string, signal: AbortSignal): Promise<void> {
    const { tap, bridge } = secondaryLinks(entry.attachment.ifname);
    const lines = [`link del ${tap}`, `link del ${bridge}`];
    await this.#deps.links.removeEach(lines, signal, this.#deps.ip.inNamespace(netns));
    await this.detach(entry, signal);
  }

  /** Lets plugins forget interfaces of pods that are gone. */
  async collectGarbage(networks: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    const live = (await this.#deps.records.list()).flatMap(({ attachments }) => attachments.map(({ attachment }) => attachment));
    for (const config of networks) {
      const valid = live.filter((attachment) => attachment.config === config);
      await this.#deps.cni.collectGarbage(config, valid, signal).catch((error: unknown) => {
        this.#deps.log.warn({ error: String(error) }, 'CNI plugin failed to collect garbage');
      });
    }
  }

  /** Bridges that did not exist before an attachment. */
  async madeBridges(): Promise<readonly string[]> {
    const text = await readFile(this.#deps.bridgesFile, 'utf8').catch(() => '');
    return text.split('\n').filter(Boolean);
  }

  async #rememberBridge(name: string): Promise<void> {
    await writeFile(this.#deps.bridgesFile, `${name}\n`, { flag: 'a' });
  }
}

/** Networks of this namespace are for everybody, as Multus has it when namespaces are isolated. */
const SHARED_NAMESPACE = 'default';

/** Interfaces as they were made: what CNI made decides the MTU and the addresses. */
export function madeTaps(taps: readonly PlannedTap[], attachments: readonly RecordedAttachment[]): readonly PlannedTap[] {
  return taps.map((tap) => attachments.find((entry) => entry.tap?.name === tap.name)?.tap ?? tap);
}

/** What guests of second networks are told by DHCP, by the name of the link in the pod. */
export function secondGuests(attachments: readonly RecordedAttachment[]): readonly (readonly [string, GuestConfig])[] {
  return attachments.flatMap(({ attachment, guest }) => (guest ? [[attachment.ifname, guest] as const] : []));
}

function networkKey(networkName: string, namespace: string): { readonly namespace: string; readonly name: string } {
  const slash = networkName.indexOf('/');
  if (slash < 0) return { namespace, name: networkName };
  return { namespace: networkName.slice(0, slash), name: networkName.slice(slash + 1) };
}
