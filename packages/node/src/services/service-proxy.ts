import { type EndpointSlice, EndpointSliceKind, type Service, ServiceKind } from '@slipway/api';
import type { NftCommand } from '@slipway/hostapi';
import { type Informers, type Logger, type TimerClock } from '@slipway/runtime';
import { Settler } from './settler.ts';
import { servicePorts, slicesByService } from './service-ports.ts';
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
  await Promise.all([services.whenSynced(), slices.whenSynced()]);
  const found = await nft.partsOf({ family: 'inet', name: table }, signal);
  let existing: TableParts = {
    chains: new Set(found.chains.filter(isOfOneService)),
    sets: new Set(found.sets.filter(isOfOneService)),
  };
  let last = '';
  const settler = new Settler({ clock, log, what: 'Services' }, async () => {
    const byService = slicesByService(slices.lister.list());
    const ports = services.lister
      .list()
      .flatMap((service) =>
        servicePorts(service, byService.get(`${service.metadata.namespace}/${service.metadata.name}`) ?? [], nodeName),
      );
    const wanted = JSON.stringify(ports);
    if (wanted === last) return;
    const { script, parts } = serviceRuleset({ table, ports, podNetworks, existing });
    await nft.apply(script, signal);
    [existing, last] = [parts, wanted];
  });
  services.addHandler(() => settler.request());
  slices.addHandler(() => settler.request());
  settler.request();
  await settler.run(signal);
}
