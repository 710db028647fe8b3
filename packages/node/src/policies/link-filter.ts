import { MultiNetworkPolicyKind } from '@slipway/api';
import type { NftCommand } from '@slipway/hostapi';
import type { Informers, Logger, TimerClock } from '@slipway/runtime';
import type { PolicedPod } from '../network/index.ts';
import { Settler } from '../packet-filter/index.ts';
import { linkRules } from './link-rules.ts';
import { linkRuleset } from './link-ruleset.ts';
import { LinkTables } from './link-tables.ts';
import { labelsByName, watchPeers } from './policy-peers.ts';

export interface LinkFilterDeps {
  readonly informers: Informers;
  readonly nft: Pick<NftCommand, 'inNamespace'>;
  readonly clock: TimerClock;
  readonly log: Logger;
  readonly nodeName: string;
  /** Pods of this node with second networks. */
  readonly policedPods: () => Promise<readonly PolicedPod[]>;
  /** Keeps the names of the namespaces that have rules. */
  readonly file: string;
}

/**
 * Keeps the rules at the links of this node's guests to second networks equal to the MultiNetworkPolicies, until aborted.
 * Without such policies nothing else is watched or done.
 */
export async function runLinkFilter(deps: LinkFilterDeps, signal: AbortSignal): Promise<void> {
  const { informers, clock, log } = deps;
  const policies = informers.for(MultiNetworkPolicyKind);
  const tables = new LinkTables(deps);
  const told = new Set<string>();
  let peers: ReturnType<typeof watchPeers> | undefined;
  const settler = new Settler({ clock, log, what: 'MultiNetworkPolicies' }, async () => {
    if (!policies.hasSynced) return;
    // once at the start too: an earlier agent may have left some
    if (policies.lister.size === 0) return tables.settle(new Map(), signal);
    peers ??= watchPeers(informers, () => settler.request());
    if (!peers.every(({ hasSynced }) => hasSynced)) return;
    const [pods, namespaces] = peers;
    const made = await deps.policedPods();
    const rules = linkRules({
      policies: policies.lister.list(),
      pods: pods.lister.list(),
      namespaces: labelsByName(namespaces.lister.list()),
      nodeName: deps.nodeName,
      links: made.flatMap(({ podUid, links }) => links.map(({ link, network }) => ({ podUid, link, network }))),
    });
    const wanted = new Map<string, string>();
    for (const { podUid, netns, links } of made) {
      const own = rules.filter((rule) => rule.podUid === podUid);
      const isBridged = (name: string): boolean => links.some(({ link, isBridged: has }) => link === name && has);
      const bridged = own.filter(({ link }) => isBridged(link));
      if (bridged.length > 0) wanted.set(netns, linkRuleset(bridged));
      for (const { link } of own) {
        if (isBridged(link) || told.has(`${podUid}/${link}`)) continue;
        told.add(`${podUid}/${link}`);
        log.warn({ pod: podUid, link }, 'no policy can be enforced on a device or on the tap of a binding plugin');
      }
    }
    await tables.settle(wanted, signal);
  });
  const changed = (): void => settler.request();
  policies.addHandler(changed);
  void policies.whenSynced().then(changed);
  await settler.run(signal);
}
