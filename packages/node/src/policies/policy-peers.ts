import { NamespaceKind, PodKind } from '@slipway/api';
import type { KubeObject } from '@slipway/apimachinery';
import type { Informers } from '@slipway/runtime';

/** Watches what policies can name: pods and namespaces, each once for all kinds of policies. */
export function watchPeers(informers: Informers, changed: () => void) {
  const pods = informers.for(PodKind);
  const namespaces = informers.for(NamespaceKind);
  pods.addHandler(changed);
  namespaces.addHandler(changed);
  void Promise.all([pods.whenSynced(), namespaces.whenSynced()]).then(changed);
  return [pods, namespaces] as const;
}

/** Labels of namespaces by their names. */
export const labelsByName = (namespaces: readonly KubeObject[]): ReadonlyMap<string, Readonly<Record<string, string>>> =>
  new Map(namespaces.map(({ metadata }) => [metadata.name ?? '', metadata.labels ?? {}]));
