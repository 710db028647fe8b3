import type { Node, Pod } from '@slipway/api';
import { fencingVerdict } from '@slipway/virt';

/** An administrator's word that a node is off: https://kubernetes.io/docs/reference/labels-annotations-taints. */
const OUT_OF_SERVICE = 'node.kubernetes.io/out-of-service';

export interface FencingInputs {
  readonly node: Node;
  /** Of that node. */
  readonly pods: readonly Pod[];
  /** Since the node was last heard of. */
  readonly silentMs: number;
}

export interface FencingPlan {
  /** Pods whose processes are known to have ended, although nobody can say so any more. */
  readonly remove: readonly { readonly pod: Pod; readonly why: string }[];
  readonly retryInMs: number | undefined;
}

/** Which pods of a silent node can be taken for ended. A pod goes only after it was asked to. Pure. */
export function planFencing({ node, pods, silentMs }: FencingInputs): FencingPlan {
  const leaving = pods.filter(({ metadata }) => metadata.deletionTimestamp !== undefined);
  const isReady = node.status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
  if (isReady || leaving.length === 0) return { remove: [], retryInMs: undefined };
  if (node.spec?.taints?.some(({ key }) => key === OUT_OF_SERVICE))
    return { remove: leaving.map((pod) => ({ pod, why: 'its node is out of service' })), retryInMs: undefined };
  const nodeAnnotations = node.metadata.annotations ?? {};
  const verdicts = leaving.map((pod) => ({
    pod,
    verdict: fencingVerdict({ nodeAnnotations, podAnnotations: pod.metadata.annotations ?? {}, silentMs }),
  }));
  const waits = verdicts.flatMap(({ verdict }) => (verdict.state === 'waiting' ? [verdict.leftMs] : []));
  return {
    remove: verdicts.flatMap(({ pod, verdict }) =>
      verdict.state === 'fenced' ? [{ pod, why: 'its node is lost and has stopped the guest' }] : [],
    ),
    retryInMs: waits.length === 0 ? undefined : Math.min(...waits),
  };
}
