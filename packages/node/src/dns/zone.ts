import { isIPv6 } from 'node:net';
import type { EndpointSlice, Service } from '@slipway/api';
import type { Answer, RecordType } from 'dns-packet';
import { addressBytes } from '../network/cidr.ts';
import { slicesByService } from '../services/service-ports.ts';

export const CLUSTER_DOMAIN = 'cluster.local';
/** Seconds for which an answer may be remembered. */
const TTL = 5;

/** A record's type, or all of them. */
export type QuestionType = RecordType | 'ANY';

/** What the cluster says to a question; `undefined` from `lookUp` when the name is not the cluster's. */
export interface ZoneAnswer {
  /** False: there is no such name. True without answers: the name has no records of this type. */
  readonly exists: boolean;
  readonly answers: readonly Answer[];
  /** A name outside whose addresses are to be answered too. */
  readonly alias?: string;
}

/** The names of the cluster, as the DNS specification of Kubernetes has them. */
export interface Zone {
  lookUp(name: string, type: QuestionType): ZoneAnswer | undefined;
}

interface ServiceNames {
  readonly service: Service;
  readonly slices: readonly EndpointSlice[];
}

const NOTHING: ZoneAnswer = { exists: false, answers: [] };
const EMPTY: ZoneAnswer = { exists: true, answers: [] };

/** Names of Services, of their endpoints and of pods by address; names of addresses of Services. */
export function clusterZone(services: readonly Service[], slices: readonly EndpointSlice[]): Zone {
  const byName = new Map<string, ServiceNames>();
  const namespaces = new Set<string>();
  const ofService = slicesByService(slices);
  for (const service of services) {
    const { name = '', namespace = '' } = service.metadata;
    byName.set(`${name}.${namespace}`, {
      service,
      slices: ofService.get(`${namespace}/${name}`) ?? [],
    });
    namespaces.add(namespace);
  }
  const pointers = pointersOf(byName);
  return {
    lookUp(asked, type) {
      const name = asked.toLowerCase().replace(/\.$/, '');
      if (name.endsWith('.arpa')) return pointerAnswer(pointers, name, type);
      if (name !== CLUSTER_DOMAIN && !name.endsWith(`.${CLUSTER_DOMAIN}`)) return undefined;
      const labels = name
        .slice(0, -CLUSTER_DOMAIN.length - 1)
        .split('.')
        .reverse();
      const [area = '', namespace, ...rest] = labels;
      if (area === '') return EMPTY;
      if (area === 'pod') return podAnswer(rest, name, type);
      if (area !== 'svc') return NOTHING;
      if (namespace === undefined) return EMPTY;
      const [service, ...inside] = rest;
      if (service === undefined) return namespaces.has(namespace) ? EMPTY : NOTHING;
      const found = byName.get(`${service}.${namespace}`);
      return found === undefined ? NOTHING : serviceAnswer(found, inside.reverse(), { name: asked, type });
    },
  };
}

interface Question {
  readonly name: string;
  readonly type: QuestionType;
}

function serviceAnswer(names: ServiceNames, inside: readonly string[], question: Question): ZoneAnswer {
  const { service } = names;
  if (service.spec?.type === 'ExternalName') {
    const alias = service.spec.externalName ?? '';
    if (inside.length > 0) return NOTHING;
    return { exists: true, answers: [{ name: question.name, type: 'CNAME', ttl: TTL, data: alias }], alias };
  }
  const [first = '', second = ''] = inside;
  if (inside.length === 0) return { exists: true, answers: addressRecords(question, addressesOf(names)) };
  if (inside.length === 2 && first.startsWith('_') && second.startsWith('_'))
    return portAnswer(names, first.slice(1), second.slice(1), question);
  if (inside.length > 1 || !isHeadless(service)) return NOTHING;
  const own = endpointsOf(names).filter((endpoint) => nameOfEndpoint(endpoint) === first);
  return own.length === 0
    ? NOTHING
    : {
        exists: true,
        answers: addressRecords(
          question,
          own.map(({ address }) => address),
        ),
      };
}

/** Ports by name: where a client finds what it asks for. */
function portAnswer(names: ServiceNames, port: string, protocol: string, question: Question): ZoneAnswer {
  const { service } = names;
  const ports = service.spec?.ports ?? [];
  const match = ports.find((one) => one.name === port && (one.protocol ?? 'TCP').toLowerCase() === protocol);
  if (match === undefined) return NOTHING;
  if (question.type !== 'SRV' && question.type !== 'ANY') return EMPTY;
  const base = `${service.metadata.name}.${service.metadata.namespace}.svc.${CLUSTER_DOMAIN}`;
  const record = (target: string, number: number): Answer => ({
    ...{ name: question.name, type: 'SRV', ttl: TTL },
    data: { priority: 0, weight: 100, port: number, target },
  });
  if (!isHeadless(service)) return { exists: true, answers: [record(base, match.port)] };
  const endpoints = endpointsOf(names, port);
  return {
    exists: true,
    answers: endpoints.map((endpoint) => record(`${nameOfEndpoint(endpoint)}.${base}`, endpoint.port ?? match.port)),
  };
}

interface NamedEndpoint {
  readonly address: string;
  readonly hostname?: string;
  readonly port?: number;
}

const isHeadless = ({ spec }: Service): boolean => spec?.clusterIP === 'None';
const nameOfEndpoint = ({ address, hostname }: NamedEndpoint): string => hostname ?? address.replaceAll(/[.:]/g, '-');

function endpointsOf({ slices }: ServiceNames, port?: string): NamedEndpoint[] {
  return slices.flatMap(({ endpoints, ports }) => {
    const number = (ports ?? []).find(({ name }) => name === port)?.port;
    return (endpoints ?? [])
      .filter(({ conditions }) => conditions?.ready !== false)
      .flatMap(({ addresses, hostname }) =>
        addresses.map((address) => ({ address, ...(hostname && { hostname }), ...(number && { port: number }) })),
      );
  });
}

function addressesOf(names: ServiceNames): readonly string[] {
  const { spec } = names.service;
  if (isHeadless(names.service)) return endpointsOf(names).map(({ address }) => address);
  return spec?.clusterIPs ?? (spec?.clusterIP ? [spec.clusterIP] : []);
}

function addressRecords({ name, type }: Question, addresses: readonly string[]): Answer[] {
  return [...new Set(addresses)].flatMap((data): Answer[] => {
    const own = data.includes(':') ? 'AAAA' : 'A';
    return type === own || type === 'ANY' ? [{ name, type: own, ttl: TTL, data }] : [];
  });
}

/** `10-244-0-7.NAMESPACE.pod`: the address is in the name. */
function podAnswer(labels: readonly string[], name: string, type: QuestionType): ZoneAnswer {
  const [label] = labels;
  if (label === undefined) return EMPTY;
  if (labels.length > 1) return NOTHING;
  const address = /^\d{1,3}(-\d{1,3}){3}$/.test(label) ? label.replaceAll('-', '.') : label.replaceAll('-', ':');
  if (!/^[\d.]+$/.test(address) && !/^[\da-f:]*::?[\da-f:]*$/.test(address)) return NOTHING;
  return { exists: true, answers: addressRecords({ name, type }, [address]) };
}

function pointersOf(byName: ReadonlyMap<string, ServiceNames>): Map<string, string> {
  const pointers = new Map<string, string>();
  for (const names of byName.values()) {
    const { metadata } = names.service;
    const base = `${metadata.name}.${metadata.namespace}.svc.${CLUSTER_DOMAIN}`;
    if (isHeadless(names.service))
      for (const endpoint of endpointsOf(names))
        if (endpoint.hostname) pointers.set(pointerOf(endpoint.address), `${endpoint.hostname}.${base}`);
    if (!isHeadless(names.service)) for (const address of addressesOf(names)) pointers.set(pointerOf(address), base);
  }
  return pointers;
}

/** The name of an address backwards, the same however the address is written; slices that users write may have anything. */
function pointerOf(address: string): string {
  if (!isIPv6(address) || /[^\da-f:]/i.test(address)) return `${address.split('.').reverse().join('.')}.in-addr.arpa`;
  return `${addressBytes(address).toString('hex').split('').reverse().join('.')}.ip6.arpa`;
}

/** Only addresses that the cluster has a name for are answered here. */
function pointerAnswer(pointers: ReadonlyMap<string, string>, name: string, type: QuestionType): ZoneAnswer | undefined {
  const data = pointers.get(name);
  if (data === undefined) return undefined;
  return { exists: true, answers: type === 'PTR' || type === 'ANY' ? [{ name, type: 'PTR', ttl: TTL, data }] : [] };
}
