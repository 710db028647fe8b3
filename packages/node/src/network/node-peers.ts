import { type Node, NodeKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { type CommandRunner, ipCommand, type IpCommand } from '@slipway/hostapi';
import { type Informer, type Logger, sleep, type TimerClock } from '@slipway/runtime';
import type { NodeLink } from '../contracts.ts';
import { announceAddresses, type AnnouncingLink, announcingLink } from './announce-address.ts';
import type { PodAddresses } from './address-pool.ts';
import { writeSysctl } from './forwarding.ts';
import {
  addressAtNode,
  annotationsOf,
  broughtAddress,
  isHeardOf,
  isNamedElsewhere,
  nextTurn,
  type Peer,
  peerOf,
  type PeerRoute,
  peerRoutes,
  type Presence,
  PROTOCOL,
  routeLines,
  type SentOn,
  visitorsOf,
} from './plan-peers.ts';

export interface NodePeersDeps {
  readonly nodeName: string;
  readonly link: NodeLink;
  readonly client: Pick<Client, 'patch'>;
  readonly nodes: Informer<Node>;
  readonly runner: CommandRunner;
  readonly clock: TimerClock;
  readonly log: Logger;
}

const RETRY_MS = 2_000;

/** As `ip -j route show` prints it. */
interface ShownRoute {
  readonly dst?: string;
  readonly gateway?: string;
  /** Absent: the main one. */
  readonly table?: string;
}

/** The other nodes, as far as pod addresses are concerned: routes to their pods, and addresses that move with their VMs. */
export class NodePeers {
  readonly #deps: NodePeersDeps;
  readonly #ip: IpCommand;
  /** What this node has; undefined until it knows. */
  #own: { readonly leases: Readonly<Record<string, number>>; readonly here: readonly Presence[] } | undefined;
  /** Addresses that left for another node, which not everybody has heard yet. */
  readonly #sentOn = new Map<string, SentOn>();
  /** Found out ahead of the next announcement. */
  #announcing: AnnouncingLink | undefined;
  #signal: AbortSignal | undefined;
  #isWorking = false;
  #isAsked = false;

  constructor(deps: NodePeersDeps) {
    this.#deps = deps;
    this.#ip = ipCommand(deps.runner);
  }

  /** Keeps routes and annotations as they shall be until aborted. */
  start(signal: AbortSignal): void {
    if (this.#signal !== undefined) return;
    this.#signal = signal;
    this.#deps.nodes.addHandler(() => this.#ask());
  }

  /** What the pods of this node are reached by: lines for `ip -batch` that make the kernel answer for them on the link. */
  async answerFor(addresses: readonly string[]): Promise<readonly string[]> {
    const { device } = this.#deps.link;
    for (const address of addresses) this.#sentOn.delete(address);
    for (const family of ['ipv4', 'ipv6']) await writeSysctl({ path: `net/${family}/neigh/${device}/proxy_delay`, value: '0' });
    await writeSysctl({ path: `net/ipv6/conf/${device}/proxy_ndp`, value: '1' });
    return addresses.map((address) => `neigh replace proxy ${address} dev ${device}`);
  }

  /** Addresses are going to be announced soon: finds out what takes time before that. */
  async expectToAnnounce(signal: AbortSignal): Promise<void> {
    this.#announcing = await announcingLink(this.#ip, this.#deps.link.device, signal);
  }

  /** Tells whoever is on the link and knows these addresses that they are here now. */
  async announce(addresses: readonly string[], signal: AbortSignal): Promise<void> {
    const { runner, link: own, log } = this.#deps;
    const known = this.#announcing;
    this.#announcing = undefined; // the device may be another one by the next time
    try {
      const link = known ?? (await announcingLink(this.#ip, own.device, signal));
      if (link !== undefined) await announceAddresses(runner, link, addresses, signal);
    } catch (error) {
      // neighbours find out by themselves when nobody answers any more
      log.warn({ error: String(error) }, 'an address that moved was not announced');
    }
  }

  /** Undoes `answerFor`; what is gone already is no error. */
  async fallSilent(addresses: readonly string[], signal: AbortSignal): Promise<void> {
    const lines = addresses.map((address) => `neigh del proxy ${address} dev ${this.#deps.link.device}`);
    await this.#ip.batch(lines, signal, { force: true }).catch((error: unknown) => {
      this.#deps.log.debug({ error: String(error) }, 'an address was not answered for');
    });
  }

  /** See `broughtAddress`. */
  async addressFor(owner: string, hasLease: boolean): Promise<PodAddresses | undefined> {
    await this.#deps.nodes.whenSynced();
    return broughtAddress(owner, { name: this.#deps.nodeName, hasLease }, this.#peers());
  }

  /** See `addressAtNode`. */
  async addressAt(owner: string, nodeName: string): Promise<PodAddresses | undefined> {
    await this.#deps.nodes.whenSynced();
    return addressAtNode(owner, nodeName, this.#peers());
  }

  /** See `nextTurn`; the same for all addresses of a pod. */
  async turnOf(addresses: readonly string[]): Promise<number> {
    await this.#deps.nodes.whenSynced();
    return Math.max(0, ...addresses.map((address) => nextTurn(address, this.#peers())));
  }

  /** Whether a VM has taken the address along to another node. */
  isElsewhere(address: string): boolean {
    return this.#sentOn.has(address) || isNamedElsewhere(this.#deps.nodeName, address, this.#peers());
  }

  /** Tells the other nodes which addresses this one has given away, and which strange ones it has. */
  publish(leases: Readonly<Record<string, number>>, here: readonly Presence[]): void {
    this.#own = { leases, here };
    this.#ask();
  }

  /**
   * From now on what comes for these addresses goes to another node of the link, until the others say by themselves where
   * they are. Resolves when the routes are there.
   */
  async sendOn(addresses: readonly string[], { link, turn }: { link: readonly string[]; turn: number }, signal: AbortSignal) {
    const routes = addresses.flatMap((destination) => {
      const via = link.find((one) => one.includes(':') === destination.includes(':'));
      return via === undefined ? [] : [{ destination, via }];
    });
    for (const { destination, via } of routes) this.#sentOn.set(destination, { via, turn });
    await this.#ip.batch(routeLines(routes, [], this.#deps.link.device), signal);
    this.#ask();
  }

  #peers(): readonly Peer[] {
    return this.#deps.nodes.lister.list().map(peerOf);
  }

  /** One round at a time; whatever comes meanwhile asks for another one. */
  #ask(): void {
    this.#isAsked = true;
    if (this.#isWorking || this.#signal === undefined) return;
    this.#isWorking = true;
    this.#work(this.#signal)
      .catch(() => {}) // aborted
      .finally(() => {
        this.#isWorking = false;
      });
  }

  async #work(signal: AbortSignal): Promise<void> {
    await this.#deps.nodes.whenSynced(); // before, nodes may seem to be gone
    while (this.#isAsked && !signal.aborted) {
      this.#isAsked = false;
      try {
        this.#forgetHeard();
        await this.#tell(signal);
        await this.#route(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#deps.log.warn({ error: String(error) }, 'routes to other nodes are not as they shall be');
        this.#isAsked = true;
        await sleep(this.#deps.clock, RETRY_MS, signal);
      }
    }
  }

  #forgetHeard(): void {
    const peers = this.#peers();
    for (const [address, entry] of this.#sentOn) {
      if (isHeardOf(address, entry, this.#deps.nodeName, peers)) this.#sentOn.delete(address);
    }
  }

  async #tell(signal: AbortSignal): Promise<void> {
    const { client, nodeName, nodes } = this.#deps;
    const own = nodes.lister.get({ namespace: '', name: nodeName });
    if (this.#own === undefined || own === undefined) return; // the node's registration brings the next round
    const sentOn = [...this.#sentOn].map(([address, { turn }]) => ({ address, turn }));
    const here = [...this.#own.here, ...sentOn];
    const visitors = visitorsOf(nodeName, own.spec?.podCIDRs ?? [], here, this.#peers());
    const annotations = annotationsOf(this.#deps.link, this.#own.leases, visitors);
    if (Object.entries(annotations).every(([name, value]) => own.metadata.annotations?.[name] === value)) return;
    await client.patch(NodeKind, { namespace: '', name: nodeName }, { metadata: { annotations } }, { type: 'merge', signal });
  }

  async #route(signal: AbortSignal): Promise<void> {
    const { nodeName, link } = this.#deps;
    const present = await this.#present(signal);
    const sentOn = [...this.#sentOn].map(([destination, { via }]) => ({ destination, via }));
    const routes = [...peerRoutes(nodeName, this.#peers()), ...sentOn];
    const wanted = [...new Map(routes.map((route) => [route.destination, route])).values()];
    const lines = routeLines(wanted, present, link.device);
    if (lines.length > 0) await this.#ip.batch(lines, signal);
  }

  /** Of both families at once, which `ip` shows with all tables only. */
  async #present(signal: AbortSignal): Promise<PeerRoute[]> {
    const args = ['-j', 'route', 'show', 'table', 'all', 'proto', String(PROTOCOL)];
    const text = (await this.#ip.exec(args, signal)).trim();
    const routes = JSON.parse(text === '' ? '[]' : text) as readonly ShownRoute[]; // what `ip` was asked for
    return routes.flatMap(({ dst, gateway, table }) =>
      dst && gateway && table === undefined ? [{ destination: dst, via: gateway }] : [],
    );
  }
}
