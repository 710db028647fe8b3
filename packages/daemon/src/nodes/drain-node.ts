import {
  KubeVirtKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  PodKind,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
} from '@slipway/api';
import { ignoreNotFound, isNotFound, type KubeObject, StatusError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type Leaving, planDrain } from './plan-drain.ts';

/** How often pods that were refused are asked again, and pods that go are looked after. */
const ROUND_MS = 1_000;
/** A refusal that time alone may change is not repeated sooner. */
const REPEAT_MS = 5_000;

export interface DrainDeps {
  readonly client: Client;
  readonly nodeName: string;
  readonly say: (line: string) => void;
  readonly now: () => number;
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** What is left on a node, with the last thing that was said about it. */
export interface Remaining {
  readonly title: string;
  readonly why: string;
}

/**
 * Evicts every pod of the node and waits until they are gone. Returns what is left when the signal ends it; nothing, when
 * the node is empty.
 */
export async function drainNode(deps: DrainDeps, signal: AbortSignal): Promise<readonly Remaining[]> {
  const said = new Map<string, string>();
  const askedMs = new Map<string, number>();
  let before: readonly Leaving[] = [];
  const tell = ({ title, pod }: Leaving, text: string): void => {
    const uid = pod.metadata.uid ?? '';
    if (said.get(uid) !== text) deps.say(`${title}: ${text}`);
    said.set(uid, text);
  };
  for (;;) {
    const leaving = await leavingNow(deps);
    const uids = new Set(leaving.map(({ pod }) => pod.metadata.uid));
    for (const gone of before.filter(({ pod }) => !uids.has(pod.metadata.uid))) deps.say(`${gone.title}: left ${deps.nodeName}`);
    before = leaving;
    const whyOf = ({ pod, note }: Leaving): string => said.get(pod.metadata.uid ?? '') ?? note;
    if (leaving.length === 0 || signal.aborted) return leaving.map((one) => ({ title: one.title, why: whyOf(one) }));
    for (const one of leaving) {
      const uid = one.pod.metadata.uid ?? '';
      if (one.pod.metadata.deletionTimestamp !== undefined) tell(one, 'is being shut down');
      else if (deps.now() - (askedMs.get(uid) ?? Number.NEGATIVE_INFINITY) >= REPEAT_MS) {
        askedMs.set(uid, deps.now());
        tell(one, await evict(one, deps.client));
      }
    }
    await deps.wait(ROUND_MS, signal).catch(() => {}); // looked at above
  }
}

/** What a drain of the node would have to do now. */
export async function leavingNow({ client, nodeName }: Pick<DrainDeps, 'client' | 'nodeName'>): Promise<readonly Leaving[]> {
  const { items: pods } = await client.list(PodKind, { fieldSelector: `spec.nodeName=${nodeName}` });
  const [vmis, claims, volumes, kubevirts] = await Promise.all([
    client.list(VirtualMachineInstanceKind),
    client.list(PersistentVolumeClaimKind),
    client.list(PersistentVolumeKind),
    client.list(KubeVirtKind),
  ]);
  return planDrain({
    ...{ nodeName, pods, vmis: vmis.items, claims: claims.items, volumes: volumes.items },
    evictionStrategy: kubevirts.items[0]?.spec?.configuration?.evictionStrategy,
  });
}

/** Asks for the eviction; returns what came of it, for people. */
async function evict({ pod, outcome }: Leaving, client: Client): Promise<string> {
  const { namespace = '', name = '', uid } = pod.metadata;
  const body = {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { namespace, name },
    deleteOptions: { preconditions: { uid } },
  };
  try {
    await client.create<KubeObject>(PodKind, body, { subresource: 'eviction' });
    return outcome === 'goes' ? 'is asked to go' : 'is shut down';
  } catch (error) {
    if (isNotFound(error)) return 'is gone';
    if (!(error instanceof StatusError)) throw error;
    // 409: it is another pod by now; the next round sees it
    if (error.code === 409) return 'has changed';
    if (error.code !== 429) throw new Error(`Cannot evict pod ${namespace}/${name}`, { cause: error });
    const causes = (error.status.details?.causes ?? []).flatMap(({ message }) => message ?? []);
    return causes.length > 0 ? `${error.message} ${causes.join(' ')}` : error.message;
  }
}

/** Takes back that guests of the node are to be moved. Returns their names. */
export async function cancelEvacuations(client: Client, nodeName: string): Promise<readonly string[]> {
  const { items } = await client.list(VirtualMachineInstanceKind);
  const leaving = items.filter(({ status }) => status?.evacuationNodeName === nodeName);
  for (const vmi of leaving) await cancelEvacuation(client, vmi);
  return leaving.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
}

async function cancelEvacuation(client: Client, { metadata }: VirtualMachineInstance): Promise<void> {
  const path = `/apis/subresources.kubevirt.io/v1/namespaces/${metadata.namespace}/virtualmachineinstances/${metadata.name}/evacuate/cancel`;
  await client.raw({ method: 'PUT', path, body: {} }).catch(ignoreNotFound);
}
