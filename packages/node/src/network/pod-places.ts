import type { IpCommand, NftCommand } from '@slipway/hostapi';
import { arrivedInNode, arrivedInPod } from './arrived.ts';
import type { HostNames } from './host-names.ts';
import type { NodePeers } from './node-peers.ts';
import type { PodLinks } from './pod-links.ts';
import { isReplaced, type PodRecord, type PodRecords } from './pod-records.ts';

export interface PodPlacesDeps {
  readonly ip: IpCommand;
  readonly nft: NftCommand;
  readonly names: HostNames;
  readonly links: PodLinks;
  readonly records: PodRecords;
  /** The other nodes; absent when there are none. */
  readonly peers: Pick<NodePeers, keyof NodePeers> | undefined;
}

/** Where the addresses of pods are: here, or at another node that their guests have moved to. */
export class PodPlaces {
  readonly #deps: PodPlacesDeps;

  constructor(deps: PodPlacesDeps) {
    this.#deps = deps;
  }

  /** From now on the addresses lead to this pod; may be repeated. Whoever publishes next tells the others. */
  async arrive(record: PodRecord, signal: AbortSignal): Promise<void> {
    const { ip, nft, names, peers, records } = this.#deps;
    const podIPs = addressesOf(record);
    const turn = (await peers?.turnOf(podIPs)) ?? 0;
    const isMoved = record.place === 'waiting';
    if (isMoved && podIPs.length > 0) {
      await nft.inNamespace(record.netns).apply(arrivedInPod(podIPs), signal);
      await nft.apply(arrivedInNode(names.table, podIPs), signal);
    }
    await ip.batch(podIPs.length > 0 ? (record.hostRoutes ?? []) : [], signal);
    await peers?.answerFor(podIPs, signal);
    const { place: _, ...here } = record;
    await records.write({ ...here, turn });
    if (turn > 0 || isMoved) await peers?.announce(podIPs, signal);
  }

  /** What still comes for the pod goes on to another node. First the new way, then the old one goes. */
  async leave(record: PodRecord, link: readonly string[], signal: AbortSignal): Promise<void> {
    const { links, names, peers } = this.#deps;
    const addresses = addressesOf(record);
    await peers?.sendOn(addresses, { link, turn: record.turn ?? 0 }, signal);
    const device = names.veth(record.podUid, 'eth0');
    await links.removeEach(
      addresses.map((address) => `route del ${address} dev ${device}`),
      signal,
    );
    await peers?.fallSilent(addresses, signal);
  }

  /** Tells the other nodes what is here, and which places in this node's networks belong to which VM. */
  async publish(leases: Readonly<Record<string, number>>): Promise<void> {
    const records = (await this.#deps.records.list()).filter(({ place }) => place === undefined);
    const here = records.flatMap((record) => addressesOf(record).map((address) => ({ address, turn: record.turn ?? 0 })));
    // addresses of pods without a guest go with their pods
    const ofVms = Object.entries(leases).filter(([owner]) => !owner.startsWith('pod/'));
    this.#deps.peers?.publish(Object.fromEntries(ofVms), here);
  }
}

/** Those of this node's pod network; none when another network has taken its place. */
const addressesOf = (record: PodRecord): readonly string[] => (isReplaced(record) ? [] : (record.status?.podIPs ?? []));
