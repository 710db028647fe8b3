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
  /** Pods that the packet filters have been made ready for, or are just being. */
  readonly #expected = new Map<string, Promise<void>>();

  constructor(deps: PodPlacesDeps) {
    this.#deps = deps;
  }

  /** Makes the packet filters ready for a guest that is about to come. They forget it by themselves. */
  async expect(record: PodRecord, signal: AbortSignal): Promise<void> {
    const ready = this.#makeReady(record, signal);
    this.#expected.set(record.podUid, ready);
    await Promise.all([ready, this.#deps.peers?.expectToAnnounce(signal)]);
  }

  async #makeReady(record: PodRecord, signal: AbortSignal): Promise<void> {
    const { nft, names } = this.#deps;
    const podIPs = addressesOf(record);
    if (podIPs.length === 0) return;
    await Promise.all([
      nft.inNamespace(record.netns).apply(arrivedInPod(podIPs), signal),
      nft.apply(arrivedInNode(names.table, podIPs), signal),
    ]);
  }

  /** From now on the addresses lead to this pod; may be repeated. Whoever publishes next tells the others. */
  async arrive(record: PodRecord, signal: AbortSignal): Promise<void> {
    const { ip, peers, records } = this.#deps;
    const podIPs = addressesOf(record);
    const turn = (await peers?.turnOf(podIPs)) ?? 0;
    const isMoved = record.place === 'waiting';
    const expected = this.#expected.get(record.podUid);
    this.#expected.delete(record.podUid);
    if (isMoved) await (expected ?? Promise.reject(new Error('not expected'))).catch(() => this.#makeReady(record, signal));
    const proxies = (await peers?.answerFor(podIPs)) ?? [];
    // a guest stands still: one program for all of it
    if (podIPs.length > 0) await ip.batch([...(record.hostRoutes ?? []), ...proxies], signal);
    const { place: _, ...here } = record;
    const isNew = turn > 0 || isMoved;
    await Promise.all([records.write({ ...here, turn }), isNew ? peers?.announce(podIPs, signal) : undefined]);
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
