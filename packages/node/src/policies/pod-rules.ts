import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, Pod } from '@slipway/api';
import { matchesLabels, selectorOf, type LabelSelectorObject } from '@slipway/apimachinery';

/** One side of the traffic that is let through. */
export interface Allowance {
  /** Absent: everybody. */
  readonly peers?: {
    /** Addresses of pods and networks, of both families. */
    readonly addresses: readonly string[];
    readonly blocks: readonly { readonly cidr: string; readonly except: readonly string[] }[];
  };
  /** Absent: every port of every protocol. */
  readonly ports?: readonly PortRange[];
}

export interface PortRange {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** Absent: every port. */
  readonly first?: number;
  readonly last?: number;
}

/** What may be received and sent; absent: anything. */
export interface Restrictions {
  readonly ingress?: readonly Allowance[];
  readonly egress?: readonly Allowance[];
}

/** What one pod of this node may receive and send on the pod network. */
export interface PodRules extends Restrictions {
  readonly uid: string;
  readonly addresses: readonly string[];
}

/** Whom policies can name. */
export interface PolicyPeers {
  /** Of the whole cluster. */
  readonly pods: readonly Pod[];
  /** Labels of namespaces by name. */
  readonly namespaces: ReadonlyMap<string, Readonly<Record<string, string>>>;
  /** Where this node serves names: who may ask some pods at port 53 may ask there. */
  readonly nameServers?: readonly string[];
  /** Under which addresses a policy knows a pod. Default: those of the pod network. */
  addressesOf?(pod: Pod, policy: NetworkPolicy): readonly string[];
}

export interface PolicyInputs extends PolicyPeers {
  readonly policies: readonly NetworkPolicy[];
  readonly nodeName: string;
}

/** The rules of every pod of this node that a policy selects. A pod may do what any of its policies allows. */
export function podRules(inputs: PolicyInputs): PodRules[] {
  const { policies, pods, nodeName } = inputs;
  const local = pods.filter((pod) => pod.spec?.nodeName === nodeName && addressesOf(pod).length > 0);
  return local.flatMap((pod) => {
    const restrictions = restrictionsOf(pod, policies, inputs);
    return restrictions ? [{ uid: pod.metadata.uid ?? '', addresses: addressesOf(pod), ...restrictions }] : [];
  });
}

/** What those of the policies that select the pod let it receive and send; undefined when none does. */
export function restrictionsOf(pod: Pod, policies: readonly NetworkPolicy[], inputs: PolicyPeers): Restrictions | undefined {
  const own = policies.filter(
    ({ metadata, spec }) => metadata.namespace === pod.metadata.namespace && selects(spec?.podSelector, pod.metadata.labels),
  );
  const ingress = own.filter((policy) => typesOf(policy).includes('Ingress'));
  const egress = own.filter((policy) => typesOf(policy).includes('Egress'));
  if (ingress.length === 0 && egress.length === 0) return undefined;
  return {
    ...(ingress.length > 0 && { ingress: ingress.flatMap((policy) => ingressOf(policy, pod, inputs)) }),
    ...(egress.length > 0 && { egress: egress.flatMap((policy) => egressOf(policy, inputs)) }),
  };
}

/** KubeVirt-compat: what the API server would have written, for policies that came without. */
function typesOf({ spec }: NetworkPolicy): readonly string[] {
  if (spec?.policyTypes !== undefined && spec.policyTypes.length > 0) return spec.policyTypes;
  return spec?.egress !== undefined && spec.egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
}

function ingressOf(policy: NetworkPolicy, pod: Pod, inputs: PolicyPeers): Allowance[] {
  return (policy.spec?.ingress ?? []).flatMap(({ from, ports }) => {
    const ranges = rangesOf(ports, pod);
    if (ranges?.length === 0) return []; // ports by names that the pod has not
    return [allowance(peersOf(from, policy, inputs), ranges)];
  });
}

/** A port that is named is a number of each destination's own, so that each of these has an allowance of its own. */
function egressOf(policy: NetworkPolicy, inputs: PolicyPeers): Allowance[] {
  return (policy.spec?.egress ?? []).flatMap(({ to, ports }) => {
    const named = (ports ?? []).filter(({ port }) => typeof port === 'string');
    const numbered = (ports ?? []).filter(({ port }) => typeof port !== 'string');
    const hasPorts = ports !== undefined && ports.length > 0;
    const peers = withNames(peersOf(to, policy, inputs), {
      to: to ?? [],
      ports: numbered,
      nameServers: inputs.nameServers ?? [],
    });
    const direct = hasPorts && numbered.length === 0 ? [] : [allowance(peers, rangesOf(numbered, undefined))];
    if (named.length === 0) return direct;
    const destinations = to === undefined || to.length === 0 ? inputs.pods : podsOf(to, policy, inputs);
    const byName = destinations.flatMap((pod) => {
      const ranges = rangesOf(named, pod) ?? [];
      return ranges.length === 0 ? [] : [allowance({ addresses: knownAddresses(pod, policy, inputs), blocks: [] }, ranges)];
    });
    return [...direct, ...byName];
  });
}

/** Policies name the pods of a cluster's name servers, which here are none: the nodes themselves serve names. */
function withNames(
  peers: Allowance['peers'],
  rule: {
    readonly to: readonly NetworkPolicyPeer[];
    readonly ports: readonly NetworkPolicyPort[];
    readonly nameServers: readonly string[];
  },
): Allowance['peers'] {
  const { to, ports, nameServers } = rule;
  const asksNames = ports.some(({ port }) => port === 53) && to.some(({ ipBlock }) => ipBlock === undefined);
  return peers && asksNames ? { ...peers, addresses: [...peers.addresses, ...nameServers] } : peers;
}

function allowance(peers: Allowance['peers'], ports: readonly PortRange[] | undefined): Allowance {
  return { ...(peers && { peers }), ...(ports && { ports }) };
}

function peersOf(
  peers: readonly NetworkPolicyPeer[] | undefined,
  policy: NetworkPolicy,
  inputs: PolicyPeers,
): Allowance['peers'] {
  if (peers === undefined || peers.length === 0) return undefined;
  const addresses = podsOf(peers, policy, inputs).flatMap((pod) => knownAddresses(pod, policy, inputs));
  return {
    addresses: [...new Set(addresses)].sort(),
    blocks: peers.flatMap(({ ipBlock }) => (ipBlock ? [{ cidr: ipBlock.cidr, except: ipBlock.except ?? [] }] : [])),
  };
}

const knownAddresses = (pod: Pod, policy: NetworkPolicy, inputs: PolicyPeers): readonly string[] =>
  inputs.addressesOf ? inputs.addressesOf(pod, policy) : addressesOf(pod);

function podsOf(peers: readonly NetworkPolicyPeer[], policy: NetworkPolicy, { pods, namespaces }: PolicyPeers): readonly Pod[] {
  const selectors = peers.filter(({ ipBlock }) => ipBlock === undefined);
  return pods.filter(({ metadata }) =>
    selectors.some(({ podSelector, namespaceSelector }) => {
      const isInNamespace = namespaceSelector
        ? selects(namespaceSelector, namespaces.get(metadata.namespace ?? ''))
        : metadata.namespace === policy.metadata.namespace;
      return isInNamespace && selects(podSelector, metadata.labels);
    }),
  );
}

/** Absent: all ports. Empty: none, since the pod has no port of such a name. */
function rangesOf(ports: readonly NetworkPolicyPort[] | undefined, pod: Pod | undefined): PortRange[] | undefined {
  if (ports === undefined || ports.length === 0) return undefined;
  return ports.flatMap(({ protocol = 'TCP', port, endPort }) => {
    const wanted = protocol.toLowerCase() as PortRange['protocol']; // one of three by the API's schema
    if (port === undefined) return [{ protocol: wanted }];
    const first = typeof port === 'number' ? port : numberOf(pod, port, protocol);
    return first === undefined ? [] : [{ protocol: wanted, first, last: endPort ?? first }];
  });
}

function numberOf(pod: Pod | undefined, name: string, protocol: string): number | undefined {
  const ports = (pod?.spec?.containers ?? []).flatMap((container) => container.ports ?? []);
  return ports.find((port) => port.name === name && (port.protocol ?? 'TCP') === protocol)?.containerPort;
}

function selects(selector: LabelSelectorObject | undefined, labels: Readonly<Record<string, string>> | undefined): boolean {
  return matchesLabels(selectorOf(selector ?? {}) ?? [], labels ?? {});
}

/** Of a pod that has its own network and lives. */
function addressesOf(pod: Pod): readonly string[] {
  return isEnded(pod) || pod.spec?.hostNetwork === true ? [] : (pod.status?.podIPs ?? []).flatMap(({ ip }) => (ip ? [ip] : []));
}

/** Whether somebody else may have the pod's addresses by now. */
export const isEnded = ({ status }: Pod): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed';
