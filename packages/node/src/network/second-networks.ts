import { readFile, writeFile } from 'node:fs/promises';
import type { Pod } from '@slipway/api';
import type { IpCommand } from '@slipway/hostapi';
import type { Logger } from '@slipway/runtime';
import type { Sandbox } from '../contracts.ts';
import type { Cni, CniAttachment } from './cni.ts';
import type { HostNames } from './host-names.ts';
import { type PodNetworkPlan, secondaryLinks } from './plan-pod-network.ts';
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
  /** Keeps the names of bridges that were made for attachments. */
  readonly bridgesFile: string;
}

/** Networks of a pod besides its own, made by CNI. */
export class SecondNetworks {
  readonly #deps: SecondNetworksDeps;

  constructor(deps: SecondNetworksDeps) {
    this.#deps = deps;
  }

  /** Attaches what is missing, one by one, and writes down each of them in the record before it is made. */
  async attach(
    missing: PodNetworkPlan['attachments'],
    {
      pod,
      sandbox,
      done: before,
    }: { readonly pod: Pod; readonly sandbox: Sandbox; readonly done: readonly RecordedAttachment[] },
    base: Omit<PodRecord, 'attachments'>,
    signal: AbortSignal,
  ): Promise<readonly RecordedAttachment[]> {
    const { cni, ip, names, records, resolveNetwork } = this.#deps;
    const done = [...before];
    for (const wanted of missing) {
      const key = networkKey(wanted.networkName, pod.metadata.namespace ?? 'default');
      const config = await resolveNetwork(key, signal);
      if (config === undefined) {
        throw new Error(`NetworkAttachmentDefinition ${key.namespace}/${key.name} does not exist; create it and the VM goes on`);
      }
      const attachment: CniAttachment = {
        podUid: sandbox.podUid,
        netns: sandbox.netns,
        ifname: wanted.podInterfaceName,
        hostLink: names.veth(sandbox.podUid, wanted.podInterfaceName),
        mac: wanted.mac,
        config,
        podName: pod.metadata.name ?? '',
        podNamespace: key.namespace,
      };
      // recorded before it is made, so that whatever a crash leaves is removed
      await records.write({ ...base, attachments: [...done, { attachment, result: undefined }] });
      const { raw, ips, createdBridge } = await cni.add(attachment, signal);
      if (createdBridge !== undefined) await this.#rememberBridge(createdBridge);
      await ip.inNamespace(sandbox.netns).batch(wanted.podIp, signal);
      done.push({ attachment, result: raw, ips, networkName: `${key.namespace}/${key.name}` });
    }
    return done;
  }

  async detach(attachment: CniAttachment, result: unknown, signal: AbortSignal): Promise<void> {
    try {
      await this.#deps.cni.delete(attachment, result, signal);
    } catch (error) {
      // the namespace is removed next, and with it what the plugin made in there
      this.#deps.log.warn({ pod: attachment.podUid, error: String(error) }, 'CNI plugin failed to detach a network');
    }
  }

  /** Takes a second network away whose tap no QEMU has open any more. */
  async unplug({ attachment, result }: RecordedAttachment, netns: string, signal: AbortSignal): Promise<void> {
    const { tap, bridge } = secondaryLinks(attachment.ifname);
    const lines = [`link del ${tap}`, `link del ${bridge}`];
    await this.#deps.links.removeEach(lines, signal, this.#deps.ip.inNamespace(netns));
    await this.detach(attachment, result, signal);
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

function networkKey(networkName: string, namespace: string): { readonly namespace: string; readonly name: string } {
  const slash = networkName.indexOf('/');
  if (slash < 0) return { namespace, name: networkName };
  return { namespace: networkName.slice(0, slash), name: networkName.slice(slash + 1) };
}
