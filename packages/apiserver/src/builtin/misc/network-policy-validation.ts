import { BlockList, isIP } from 'node:net';
import {
  type FieldError,
  type LabelSelectorObject,
  checkPortName,
  checkPortNumber,
  forbiddenField,
  invalidValue,
  requiredValue,
  unsupportedValue,
  validateLabelSelector,
} from '@slipway/apimachinery';

export interface PolicyPort {
  protocol?: string;
  port?: number | string;
  endPort?: number;
}

interface PolicyPeer {
  ipBlock?: { cidr?: string; except?: string[] };
  podSelector?: LabelSelectorObject;
  namespaceSelector?: LabelSelectorObject;
}

export interface PolicyRule {
  ports?: PolicyPort[];
  from?: PolicyPeer[];
  to?: PolicyPeer[];
}

export interface NetworkPolicySpec {
  podSelector?: LabelSelectorObject;
  ingress?: PolicyRule[];
  egress?: PolicyRule[];
  policyTypes?: string[];
}

const NOT_A_CIDR = 'not a valid CIDR';

/** Findings in the spec of a NetworkPolicy. */
export function validateNetworkPolicy(spec: NetworkPolicySpec): FieldError[] {
  const errors = spec.podSelector === undefined ? [] : validateLabelSelector(spec.podSelector, 'spec.podSelector');
  (spec.ingress ?? []).forEach((rule, index) => errors.push(...validateRule(rule, rule.from, `spec.ingress[${index}]`, 'from')));
  (spec.egress ?? []).forEach((rule, index) => errors.push(...validateRule(rule, rule.to, `spec.egress[${index}]`, 'to')));
  const { policyTypes = [] } = spec;
  if (policyTypes.length > 2) {
    return [...errors, invalidValue('spec.policyTypes', policyTypes, 'may not specify more than two policyTypes')];
  }
  policyTypes.forEach((type, index) => {
    if (type !== 'Ingress' && type !== 'Egress')
      errors.push(unsupportedValue(`spec.policyTypes[${index}]`, type, ['Egress', 'Ingress']));
  });
  return errors;
}

function validateRule(rule: PolicyRule, peers: readonly PolicyPeer[] = [], path: string, side: string): FieldError[] {
  return [
    ...(rule.ports ?? []).flatMap((port, index) => validatePort(port, `${path}.ports[${index}]`)),
    ...peers.flatMap((peer, index) => validatePeer(peer, `${path}.${side}[${index}]`)),
  ];
}

function validatePort({ protocol, port, endPort }: PolicyPort, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (protocol !== undefined && !['TCP', 'UDP', 'SCTP'].includes(protocol)) {
    errors.push(unsupportedValue(`${path}.protocol`, protocol, ['SCTP', 'TCP', 'UDP']));
  }
  if (typeof port === 'number') for (const text of checkPortNumber(port)) errors.push(invalidValue(`${path}.port`, port, text));
  if (typeof port === 'string') for (const text of checkPortName(port)) errors.push(invalidValue(`${path}.port`, port, text));
  if (endPort === undefined) return errors;
  if (port === undefined) {
    errors.push(invalidValue(`${path}.endPort`, endPort, 'may not be specified when `port` is not specified'));
  } else if (typeof port === 'string') {
    errors.push(invalidValue(`${path}.endPort`, endPort, 'may not be specified when `port` is non-numeric'));
  } else {
    if (endPort < port) errors.push(invalidValue(`${path}.endPort`, endPort, 'must be greater than or equal to `port`'));
    for (const text of checkPortNumber(endPort)) errors.push(invalidValue(`${path}.endPort`, endPort, text));
  }
  return errors;
}

function validatePeer({ ipBlock, podSelector, namespaceSelector }: PolicyPeer, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (podSelector !== undefined) errors.push(...validateLabelSelector(podSelector, `${path}.podSelector`));
  if (namespaceSelector !== undefined) errors.push(...validateLabelSelector(namespaceSelector, `${path}.namespaceSelector`));
  const selectors = [podSelector, namespaceSelector].filter((selector) => selector !== undefined).length;
  if (ipBlock !== undefined) errors.push(...validateBlock(ipBlock, `${path}.ipBlock`));
  if (ipBlock === undefined && selectors === 0) errors.push(requiredValue(path, 'must specify a peer'));
  if (ipBlock !== undefined && selectors > 0) errors.push(forbiddenField(path, 'may not specify both ipBlock and another peer'));
  return errors;
}

function validateBlock({ cidr = '', except = [] }: NonNullable<PolicyPeer['ipBlock']>, path: string): FieldError[] {
  if (cidr === '') return [requiredValue(`${path}.cidr`)];
  const whole = parseCidr(cidr);
  if (whole === undefined) return [invalidValue(`${path}.cidr`, cidr, NOT_A_CIDR)];
  return except.flatMap((text, index) => {
    const place = `${path}.except[${index}]`;
    const part = parseCidr(text);
    if (part === undefined) return [invalidValue(place, text, NOT_A_CIDR)];
    const isWithin = part.family === whole.family && part.prefix > whole.prefix && contains(whole, part.address);
    return isWithin ? [] : [invalidValue(place, text, 'must be a strict subset of `cidr`')];
  });
}

interface Cidr {
  readonly address: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

function parseCidr(text: string): Cidr | undefined {
  const [, address = '', digits = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const version = isIP(address);
  if (version === 0 || Number(digits) > (version === 4 ? 32 : 128)) return undefined;
  return { address, prefix: Number(digits), family: version === 4 ? 'ipv4' : 'ipv6' };
}

function contains({ address, prefix, family }: Cidr, other: string): boolean {
  const list = new BlockList();
  list.addSubnet(address, prefix, family);
  return list.check(other, family);
}
