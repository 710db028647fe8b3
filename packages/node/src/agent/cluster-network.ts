import { API_RELAY_PORT } from '@slipway/api';
import type { Client } from '@slipway/client';
import { hostRunner, nftCommand } from '@slipway/hostapi';
import { InformerFactory, type Logger, type TimerClock } from '@slipway/runtime';
import type { NodeConfig } from '../contracts.ts';
import { runDnsServer, upstreamServers } from '../dns/index.ts';
import { gatewaysOf, hostNames, POD_NETWORKS, policedFile, policedPods } from '../network/index.ts';
import { runLinkFilter, runPolicyFilter } from '../policies/index.ts';
import { runApiRelay, runServiceProxy } from '../services/index.ts';

export interface ClusterNetworkDeps {
  readonly client: Client;
  readonly config: NodeConfig;
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
  /** Where the API server listens. */
  readonly server: { readonly host: string; readonly port: number };
}

/** Services, NetworkPolicies and names: this node's part of what concerns the whole cluster, which it therefore sees. */
export async function runClusterNetwork(
  { client, config, clock, random, log, server }: ClusterNetworkDeps,
  signal: AbortSignal,
): Promise<void> {
  const informers = new InformerFactory({ client, clock, random, log });
  const { serviceTable, policyTable } = hostNames(config.hostPrefix);
  const addresses = gatewaysOf(config);
  const shared = { informers, nft: nftCommand(hostRunner), clock, log, nodeName: config.nodeName };
  const running = [
    runServiceProxy(
      {
        ...{ ...shared, runner: hostRunner, table: serviceTable, podNetworks: POD_NETWORKS },
        link: config.link,
      },
      signal,
    ),
    runApiRelay({ clock, log, addresses, port: API_RELAY_PORT, server }, signal),
    runPolicyFilter({ ...shared, table: policyTable, nameServers: addresses }, signal),
    runLinkFilter({ ...shared, policedPods: () => policedPods(config.stateDir), file: policedFile(config.stateDir) }, signal),
    runDnsServer({ informers, clock, log, addresses, upstreams: upstreamServers(clock) }, signal),
  ];
  informers.start(signal);
  await Promise.allSettled([...running, informers.stopped()]);
}
