import { type EndpointSlice, EndpointSliceKind, type Service, ServiceKind } from '@slipway/api';
import type { NftCommand } from '@slipway/hostapi';
import type { Informers, Logger, TimerClock } from '@slipway/runtime';
import { Settler } from './settler.ts';
import { type ServicePort, servicePorts, slicesByService } from './service-ports.ts';
import { isOfOneService, serviceRuleset, type TableParts } from './service-ruleset.ts';

export interface ServiceProxyDeps {
  readonly informers: Informers;
  readonly nft: NftCommand;
  readonly clock: TimerClock;
  readonly log: Logger;
  readonly nodeName: string;
  readonly table: string;
  readonly podNetworks: { readonly v4: string; readonly v6: string };
}

/** Keeps this node's packet filter equal to the Services and their endpoints, until aborted. */
export async function runServiceProxy(deps: ServiceProxyDeps, signal: AbortSignal): Promise<void> {
  const { informers, nft, clock, log, nodeName, table, podNetworks } = deps;
  const services = informers.for<Service>(ServiceKind);
  const slices = informers.for<EndpointSlice>(EndpointSliceKind);
  let existing: TableParts | undefined;
  let last = '';
  const settler = new Settler({ clock, log, what: 'Services' }, async () => {
    // half of the picture would cut connections that the other half keeps
    if (!services.hasSynced || !slices.hasSynced) return;
    const ports = portsOf(services.lister.list(), slices.lister.list(), nodeName);
    const wanted = JSON.stringify(ports);
    if (wanted === last) return;
    existing ??= await foundParts(nft, table, signal);
    const { script, parts } = serviceRuleset({ table, ports, podNetworks, existing });
    await nft.apply(script, signal);
    [existing, last] = [parts, wanted];
  });
  const changed = (): void => settler.request();
  services.addHandler(changed);
  slices.addHandler(changed);
  void Promise.all([services.whenSynced(), slices.whenSynced()]).then(changed);
  await settler.run(signal);
}

function portsOf(services: readonly Service[], slices: readonly EndpointSlice[], nodeName: string): ServicePort[] {
  const byService = slicesByService(slices);
  return services.flatMap((service) => {
    const { namespace, name } = service.metadata;
    return servicePorts(service, byService.get(`${namespace}/${name}`) ?? [], nodeName);
  });
}

/** What an earlier agent left in the table. */
async function foundParts(nft: NftCommand, table: string, signal: AbortSignal): Promise<TableParts> {
  const { chains, sets } = await nft.partsOf({ family: 'inet', name: table }, signal);
  return { chains: new Set(chains.filter(isOfOneService)), sets: new Set(sets.filter(isOfOneService)) };
}
