import { isIP } from 'node:net';
import {
  type MultiNetworkPolicy,
  type NetworkPolicyPeer,
  type NetworkPolicyPort,
  type Pod,
  POLICY_FOR_ANNOTATION,
} from '@slipway/api';
import { networkStatusOf, parseCidr } from '../network/index.ts';
import { isEnded, type PolicyInputs, type Restrictions, restrictionsOf } from './pod-rules.ts';

/** A link of a pod of this node to a second network. */
export interface SecondLink {
  readonly podUid: string;
  /** Name of the link in the pod. */
  readonly link: string;
  /** `namespace/name` of the network's definition. */
  readonly network: string;
}

/** What the guest behind one link may receive and send there. */
export interface LinkRules extends Restrictions {
  readonly podUid: string;
  readonly link: string;
}

export interface LinkPolicyInputs extends Pick<PolicyInputs, 'pods' | 'namespaces' | 'nodeName'> {
  readonly policies: readonly MultiNetworkPolicy[];
  readonly links: readonly SecondLink[];
}

/** The rules of every link of this node that a policy is for and whose pod it selects. */
export function linkRules({ policies, pods, namespaces, nodeName, links }: LinkPolicyInputs): LinkRules[] {
  const sound = policies.map((policy) => ({ policy: soundPolicy(policy), networks: policyNetworks(policy) }));
  const networksOf = new Map(sound.map(({ policy, networks }) => [policy, networks]));
  const attached = new Map(pods.map((pod) => [pod, isEnded(pod) ? [] : networkStatusOf(pod)]));
  const peers = {
    ...{ pods, namespaces },
    addressesOf: (pod: Pod, policy: MultiNetworkPolicy): readonly string[] =>
      (attached.get(pod) ?? [])
        .filter(({ name }) => networksOf.get(policy)?.has(name))
        .flatMap(({ ips }) => ips.filter(isPlainAddress)),
  };
  const local = new Map(
    pods.flatMap((pod) => (pod.spec?.nodeName === nodeName && !isEnded(pod) ? [[pod.metadata.uid ?? '', pod] as const] : [])),
  );
  return links.flatMap(({ podUid, link, network }) => {
    const pod = local.get(podUid);
    const own = sound.filter(({ networks }) => networks.has(network)).map(({ policy }) => policy);
    const restrictions = pod && restrictionsOf(pod, own, peers);
    return restrictions ? [{ podUid, link, ...restrictions }] : [];
  });
}

/** Networks that a policy is for; none without the annotation. */
function policyNetworks({ metadata }: MultiNetworkPolicy): ReadonlySet<string> {
  const names = (metadata.annotations?.[POLICY_FOR_ANNOTATION] ?? '').split(',').map((name) => name.trim());
  return new Set(names.filter(Boolean).map((name) => (name.includes('/') ? name : `${metadata.namespace}/${name}`)));
}

/**
 * Only what can go into rules. The schema of a cluster that has its own definition of the kind may let anything through, and
 * a rule of which nothing is left allows nothing, whereas an empty list would allow everything.
 */
function soundPolicy(policy: MultiNetworkPolicy): MultiNetworkPolicy {
  if (policy.spec === undefined) return policy;
  const { ingress = [], egress = [], ...rest } = policy.spec;
  return {
    ...policy,
    spec: {
      ...rest,
      ingress: ingress.flatMap(({ from, ports }) => {
        const sound = { from: from?.flatMap(soundPeer), ports: ports?.filter(isSoundPort) };
        return isEmptied(from, sound.from) || isEmptied(ports, sound.ports) ? [] : [withoutAbsent(sound)];
      }),
      egress: egress.flatMap(({ to, ports }) => {
        const sound = { to: to?.flatMap(soundPeer), ports: ports?.filter(isSoundPort) };
        return isEmptied(to, sound.to) || isEmptied(ports, sound.ports) ? [] : [withoutAbsent(sound)];
      }),
      // it may have come from what is left out here
      ...(rest.policyTypes === undefined && egress.length > 0 && { policyTypes: ['Ingress', 'Egress'] }),
    },
  };
}

const isEmptied = (before: readonly unknown[] | undefined, after: readonly unknown[] | undefined): boolean =>
  before !== undefined && before.length > 0 && after?.length === 0;

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

const withoutAbsent = <T extends object>(object: T): Present<T> =>
  // its entries are those of the object, without the undefined ones
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Present<T>;

function soundPeer(peer: NetworkPolicyPeer): NetworkPolicyPeer[] {
  const { ipBlock } = peer;
  if (ipBlock === undefined) return peer.podSelector || peer.namespaceSelector ? [peer] : [];
  const family = familyOf(ipBlock.cidr);
  if (family === undefined) return [];
  const except = ipBlock.except ?? [];
  // an exception that nobody can read might have meant anybody
  if (except.some((part) => familyOf(part) === undefined)) return [];
  return [{ ipBlock: { cidr: ipBlock.cidr, except: except.filter((part) => familyOf(part) === family) } }];
}

function familyOf(cidr: unknown): 4 | 6 | undefined {
  if (typeof cidr !== 'string' || !/^[0-9A-Fa-f:.]+\/\d{1,3}$/.test(cidr)) return undefined;
  try {
    return parseCidr(cidr).family;
  } catch {
    return undefined;
  }
}

function isSoundPort({ protocol = 'TCP', port, endPort }: NetworkPolicyPort): boolean {
  if (!['TCP', 'UDP', 'SCTP'].includes(protocol)) return false;
  if (typeof port !== 'number') return endPort === undefined;
  return isPortNumber(port) && (endPort === undefined || (isPortNumber(endPort) && endPort >= port));
}

const isPortNumber = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65_535;
const isPlainAddress = (address: string): boolean => isIP(address) !== 0 && !address.includes('%');
