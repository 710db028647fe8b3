import { type VirtualMachineInstance, VirtualMachineInstanceKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { type Informer, InformerFactory, type Logger, type TimerClock } from '@slipway/runtime';
import type { MovingNetwork, MovingVolumes, NodeConfig } from '../contracts.ts';
import type { MigrationDeps } from '../migration/index.ts';
import { PeerLink } from '../peer-link/index.ts';
import { scopedClient } from './scoped-client.ts';

export interface OpenMigrationsDeps {
  /** With this node's own identity. */
  readonly client: Client;
  readonly config: NodeConfig;
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
  readonly volumes: MovingVolumes;
  readonly network: MovingNetwork;
}

export interface Migrations {
  readonly migrations: MigrationDeps;
  readonly comingVmis: Informer<VirtualMachineInstance>;
}

/** What moves guests between this node and others; undefined for a node that is alone. */
export async function openMigrations(deps: OpenMigrationsDeps, ending: AbortSignal): Promise<Migrations | undefined> {
  const { client, config, clock, random, log, volumes, network } = deps;
  if (config.link === undefined) return undefined;
  const { addressV4, addressV6 } = config.link;
  // one of its own, because everything in the agent listens to the other
  const signal = AbortSignal.any([ending]);
  const link = await PeerLink.open({ client, nodeName: config.nodeName, address: addressV4, clock, random, log });
  signal.addEventListener('abort', () => link.close(), { once: true });
  link.keepPublished(signal).catch(() => {}); // repeats what fails until the agent ends
  const coming = new InformerFactory({ client: scopedClient(client, config.nodeName, { coming: true }), clock, random, log });
  const comingVmis = coming.for(VirtualMachineInstanceKind);
  coming.start(signal);
  return { migrations: { link, volumes, network, linkAddresses: [addressV4, addressV6] }, comingVmis };
}
