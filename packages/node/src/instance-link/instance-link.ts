import { type CommandRunner, ipCommand, nftCommand } from '@slipway/hostapi';
import { switchForwardingOn } from '../network/forwarding.ts';
import { uplinkMtu } from '../network/uplink.ts';
import {
  hostPortLines,
  type InstanceLink,
  linkNames,
  type LinkedNode,
  nodeNamespace,
  planInstanceLink,
  portOf,
} from './plan-instance-link.ts';

export interface InstanceLinkRequest {
  readonly id: string;
  readonly link: InstanceLink;
  readonly nodes: readonly LinkedNode[];
  /** See `InstanceLinkInputs`. */
  readonly serviceNetworks?: readonly string[];
}

/** Joins the nodes of an installation; repeats what an interruption has left out. */
export async function ensureInstanceLink(
  request: InstanceLinkRequest,
  runner: CommandRunner,
  signal: AbortSignal,
): Promise<void> {
  const ip = ipCommand(runner);
  const { namespace } = linkNames(request.id);
  const links = await ip.links(signal);
  const namespaces = new Set(await ip.namespaces(signal));
  const there = ip.inNamespace(namespace);
  const plan = planInstanceLink({
    ...request,
    mtu: await uplinkMtu(ip, links, signal),
    namespaces,
    hostLinks: new Set(links.map(({ ifname }) => ifname)),
    switchLinks: new Set(namespaces.has(namespace) ? (await there.links(signal)).map(({ ifname }) => ifname) : []),
  });
  if (plan.create.length > 0) await ip.batch(plan.create, signal);
  await there.batch(plan.switch, signal);
  await ip.batch(plan.host, signal);
  await there.batch(hostPortLines(request.id), signal);
  for (const node of plan.nodes) await ip.inNamespace(node.namespace).batch(node.ip, signal);
  await switchForwardingOn();
  await nftCommand(runner).apply(plan.nft, signal);
}

/** Removes a node's place on the link; its agent and its guests must be gone. */
export async function removeLinkedNode(id: string, node: LinkedNode, runner: CommandRunner, signal: AbortSignal): Promise<void> {
  const ip = ipCommand(runner);
  const { namespace } = linkNames(id);
  const namespaces = await ip.namespaces(signal);
  if (node.linkIndex === undefined) return;
  if (namespaces.includes(namespace)) {
    const there = ip.inNamespace(namespace);
    const port = portOf(node.linkIndex);
    if ((await there.links(signal)).some(({ ifname }) => ifname === port)) await there.exec(['link', 'del', port], signal);
  }
  if (namespaces.includes(nodeNamespace(node))) await ip.exec(['netns', 'del', nodeNamespace(node)], signal);
}

/** Removes everything that `ensureInstanceLink` ever made for the installation; nothing is said of what is gone already. */
export async function removeInstanceLink(
  { id, nodes }: Omit<InstanceLinkRequest, 'link'>,
  runner: CommandRunner,
  signal: AbortSignal,
): Promise<void> {
  const ip = ipCommand(runner);
  const names = linkNames(id);
  for (const node of nodes) await removeLinkedNode(id, node, runner, signal);
  // the machine's end goes first: its routes go with it at once, the namespace's links some time later
  if ((await ip.links(signal)).some(({ ifname }) => ifname === names.host)) await ip.exec(['link', 'del', names.host], signal);
  if ((await ip.namespaces(signal)).includes(names.namespace)) await ip.exec(['netns', 'del', names.namespace], signal);
  await nftCommand(runner).deleteTable({ family: 'inet', name: names.table }, signal);
}

/** Places on the link whose port is up. */
export async function connectedNodes(id: string, runner: CommandRunner, signal: AbortSignal): Promise<ReadonlySet<number>> {
  const ip = ipCommand(runner);
  const { namespace } = linkNames(id);
  if (!(await ip.namespaces(signal)).includes(namespace)) return new Set();
  const ports = await ip.inNamespace(namespace).links(signal);
  return new Set(
    ports.flatMap(({ ifname, flags }) => (/^n\d+$/.test(ifname) && flags.includes('UP') ? [Number(ifname.slice(1))] : [])),
  );
}

/** Runs programs in the network namespace of a node; `undefined` when that namespace is gone. */
export async function runnerOfNode(
  node: LinkedNode,
  runner: CommandRunner,
  signal: AbortSignal,
): Promise<CommandRunner | undefined> {
  if (node.linkIndex === undefined) return runner;
  const namespace = nodeNamespace(node);
  if (!(await ipCommand(runner).namespaces(signal)).includes(namespace)) return undefined;
  return {
    run: (argv, options, aborting) => runner.run(['nsenter', `--net=/run/netns/${namespace}`, ...argv], options, aborting),
  };
}
