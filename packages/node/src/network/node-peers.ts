import { type Node, NodeKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { type CommandRunner, ipCommand, type IpCommand } from '@slipway/hostapi';
import { type Informer, type Logger, sleep, type TimerClock } from '@slipway/runtime';
import type { NodeLink } from '../contracts.ts';
import type { PodAddresses } from './address-pool.ts';
import { writeSysctl } from './forwarding.ts';
import {
  annotationsOf,
  broughtAddress,
  type Peer,
  peerOf,
  type PeerRoute,
  peerRoutes,
  PROTOCOL,
  routeLines,
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

/** The other nodes, as far as pod addresses are concerned: routes to their pods, and addresses that move with their VMs. */
export class NodePeers {
  readonly #deps: NodePeersDeps;
  readonly #ip: IpCommand;
  /** What this node shall say of itself; undefined until it knows. */
  #wanted: Record<string, string> | undefined;
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

  /** What the pods of this node are reached by; the kernel answers for them on the link. */
  async answerFor(addresses: readonly string[], signal: AbortSignal): Promise<void> {
    const { device } = this.#deps.link;
    for (const family of ['ipv4', 'ipv6']) await writeSysctl({ path: `net/${family}/neigh/${device}/proxy_delay`, value: '0' });
    await writeSysctl({ path: `net/ipv6/conf/${device}/proxy_ndp`, value: '1' });
    await this.#ip.batch(
      addresses.map((address) => `neigh replace proxy ${address} dev ${device}`),
      signal,
    );
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

  /** Whether a VM has taken the address along to another node. */
  isElsewhere(address: string): boolean {
    return this.#peers().some(({ name, visitors }) => name !== this.#deps.nodeName && visitors.includes(address));
  }

  /** Tells the other nodes which addresses this one has given away, and which strange ones it has. */
  publish(leases: Readonly<Record<string, number>>, visitors: readonly string[]): void {
    this.#wanted = annotationsOf(this.#deps.link, leases, visitors);
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

  async #tell(signal: AbortSignal): Promise<void> {
    const { client, nodeName, nodes } = this.#deps;
    const own = nodes.lister.get({ namespace: '', name: nodeName });
    const annotations = this.#wanted;
    if (annotations === undefined || own === undefined) return; // the node's registration brings the next round
    if (Object.entries(annotations).every(([name, value]) => own.metadata.annotations?.[name] === value)) return;
    await client.patch(NodeKind, { namespace: '', name: nodeName }, { metadata: { annotations } }, { type: 'merge', signal });
  }

  async #route(signal: AbortSignal): Promise<void> {
    const { nodeName, link } = this.#deps;
    const present = [...(await this.#present('-4', signal)), ...(await this.#present('-6', signal))];
    const wanted = peerRoutes(nodeName, this.#peers());
    const lines = routeLines(wanted, present, link.device);
    if (lines.length > 0) await this.#ip.batch(lines, signal);
  }

  async #present(family: '-4' | '-6', signal: AbortSignal): Promise<PeerRoute[]> {
    const args = ['-j', family, 'route', 'show', 'proto', String(PROTOCOL)];
    const text = (await this.#ip.exec(args, signal)).trim();
    const routes = JSON.parse(text === '' ? '[]' : text) as readonly { dst?: string; gateway?: string }[]; // as `ip -j` prints it
    return routes.flatMap(({ dst, gateway }) => (dst && gateway ? [{ destination: dst, via: gateway }] : []));
  }
}
