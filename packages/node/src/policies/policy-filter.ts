import { NetworkPolicyKind } from '@slipway/api';
import type { NftCommand } from '@slipway/hostapi';
import type { Informers, Logger, TimerClock } from '@slipway/runtime';
import { Settler } from '../packet-filter/index.ts';
import { podRules } from './pod-rules.ts';
import { labelsByName, watchPeers } from './policy-peers.ts';
import { policyRuleset } from './policy-ruleset.ts';

export interface PolicyFilterDeps {
  readonly informers: Informers;
  readonly nft: NftCommand;
  readonly clock: TimerClock;
  readonly log: Logger;
  readonly nodeName: string;
  readonly table: string;
  /** Where this node serves names. */
  readonly nameServers: readonly string[];
}

/** Keeps this node's packet filter equal to the NetworkPolicies, until aborted. Without policies nothing else is watched. */
export async function runPolicyFilter(deps: PolicyFilterDeps, signal: AbortSignal): Promise<void> {
  const { informers, nft, clock, log, nodeName, table, nameServers } = deps;
  const policies = informers.for(NetworkPolicyKind);
  let peers: ReturnType<typeof watchPeers> | undefined;
  let last: string | undefined;
  const settler = new Settler({ clock, log, what: 'NetworkPolicies' }, async () => {
    if (!policies.hasSynced) return;
    if (policies.lister.size === 0) {
      // once at the start too: an earlier agent may have left some
      if (last !== '') await nft.deleteTable({ family: 'inet', name: table }, signal);
      last = '';
      return;
    }
    peers ??= watchPeers(informers, () => settler.request());
    if (!peers.every(({ hasSynced }) => hasSynced)) return;
    const [pods, namespaces] = peers;
    const rules = podRules({
      policies: policies.lister.list(),
      pods: pods.lister.list(),
      namespaces: labelsByName(namespaces.lister.list()),
      nodeName,
      nameServers,
    });
    const script = policyRuleset({ table, pods: rules });
    if (script === last) return;
    await nft.apply(script, signal);
    last = script;
  });
  const changed = (): void => settler.request();
  policies.addHandler(changed);
  void policies.whenSynced().then(changed);
  await settler.run(signal);
}
