import { type EndpointSlice, EndpointSliceKind, type Service, ServiceKind } from '@slipway/api';
import type { CommandRunner, NftCommand } from '@slipway/hostapi';
import type { Informers, Logger, TimerClock } from '@slipway/runtime';
import { Settler } from '../packet-filter/index.ts';
import { HealthChecks, serviceHealth } from './health-checks.ts';
import { type ServicePort, servicePorts, slicesByService } from './service-ports.ts';
import { isOfOneService, type RulesetInputs, serviceRuleset, type TableParts } from './service-ruleset.ts';
import { forgetFlows, type StaleFlows, staleFlows } from './stale-flows.ts';

export interface ServiceProxyDeps {
  readonly informers: Informers;
  readonly nft: NftCommand;
  readonly runner: CommandRunner;
  readonly clock: TimerClock;
  readonly log: Logger;
  readonly nodeName: string;
  readonly table: string;
  readonly podNetworks: { readonly v4: string; readonly v6: string };
  readonly link: RulesetInputs['link'];
}

/** Keeps this node's packet filter equal to the Services and their endpoints, until aborted. */
export async function runServiceProxy(deps: ServiceProxyDeps, signal: AbortSignal): Promise<void> {
  const { informers, nft, runner, clock, log, nodeName, table, podNetworks, link } = deps;
  const services = informers.for<Service>(ServiceKind);
  const slices = informers.for<EndpointSlice>(EndpointSliceKind);
  let existing: TableParts | undefined;
  let last = '';
  let applied: readonly ServicePort[] = [];
  let stale: readonly StaleFlows[] = [];
  const health = new HealthChecks(log);
  const settler = new Settler({ clock, log, what: 'Services' }, async () => {
    // half of the picture would cut connections that the other half keeps
    if (!services.hasSynced || !slices.hasSynced) return;
    const byService = slicesByService(slices.lister.list());
    const slicesOf = ({ metadata }: Service) => byService.get(`${metadata.namespace}/${metadata.name}`) ?? [];
    const ports = services.lister.list().flatMap((service) => servicePorts(service, slicesOf(service), nodeName));
    health.update(serviceHealth(services.lister.list(), slicesOf, nodeName));
    const wanted = JSON.stringify(ports);
    if (wanted !== last) {
      existing ??= await foundParts(nft, table, signal);
      const { script, parts } = serviceRuleset({ table, ports, podNetworks, link, existing });
      await nft.apply(script, signal);
      // what was not forgotten yet, because that failed, is still to be
      stale = [...stale, ...staleFlows(applied, ports)];
      [existing, last, applied] = [parts, wanted, ports];
    }
    await forgetFlows(runner, stale, signal);
    stale = [];
  });
  const changed = (): void => settler.request();
  services.addHandler(changed);
  slices.addHandler(changed);
  void Promise.all([services.whenSynced(), slices.whenSynced()]).then(changed);
  await settler.run(signal);
  health.close();
}

/** What an earlier agent left in the table. */
async function foundParts(nft: NftCommand, table: string, signal: AbortSignal): Promise<TableParts> {
  const { chains, sets } = await nft.partsOf({ family: 'inet', name: table }, signal);
  return { chains: new Set(chains.filter(isOfOneService)), sets: new Set(sets.filter(isOfOneService)) };
}
