import { isIP } from 'node:net';
import {
  type FieldError,
  checkDns1123Label,
  checkDns1123Subdomain,
  duplicateValue,
  invalidValue,
  requiredValue,
  tooMany,
  unsupportedValue,
} from '@slipway/apimachinery';
import { specialAddress } from '../core/others.ts';

export interface EndpointSlice {
  addressType?: string;
  endpoints?: Endpoint[];
  ports?: { name?: string; port?: number; protocol?: string }[];
}

interface Endpoint {
  addresses?: string[];
  hostname?: string;
  conditions?: unknown;
}

const TYPES = ['FQDN', 'IPv4', 'IPv6'];
const MAX_ADDRESSES = 100;
const MAX_PORTS = 100;
const MAX_ENDPOINTS = 1000;

/** Findings in an EndpointSlice. */
export function validateEndpointSlice({ addressType = '', endpoints = [], ports = [] }: EndpointSlice): FieldError[] {
  const errors: FieldError[] = [];
  if (addressType === '') errors.push(requiredValue('addressType'));
  else if (!TYPES.includes(addressType)) errors.push(unsupportedValue('addressType', addressType, TYPES));
  if (endpoints.length > MAX_ENDPOINTS) return [...errors, tooMany('endpoints', endpoints.length, MAX_ENDPOINTS)];
  endpoints.forEach((endpoint, index) => errors.push(...validateEndpoint(endpoint, addressType, `endpoints[${index}]`)));
  if (ports.length > MAX_PORTS) return [...errors, tooMany('ports', ports.length, MAX_PORTS)];
  const names = new Set<string>();
  ports.forEach(({ name = '', protocol = '' }, index) => {
    const path = `ports[${index}]`;
    if (name !== '') for (const text of checkDns1123Label(name)) errors.push(invalidValue(`${path}.name`, name, text));
    if (names.has(name)) errors.push(duplicateValue(`${path}.name`, name));
    names.add(name);
    if (!['TCP', 'UDP', 'SCTP'].includes(protocol)) {
      errors.push(unsupportedValue(`${path}.protocol`, protocol, ['SCTP', 'TCP', 'UDP']));
    }
  });
  return errors;
}

function validateEndpoint({ addresses = [], hostname }: Endpoint, type: string, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const place = `${path}.addresses`;
  if (addresses.length === 0) errors.push(requiredValue(place, 'must contain at least 1 address'));
  else if (addresses.length > MAX_ADDRESSES) errors.push(tooMany(place, addresses.length, MAX_ADDRESSES));
  addresses.forEach((address, index) => errors.push(...validateAddress(address, type, `${place}[${index}]`)));
  if (hostname !== undefined)
    for (const text of checkDns1123Label(hostname)) errors.push(invalidValue(`${path}.hostname`, hostname, text));
  return errors;
}

function validateAddress(address: string, type: string, path: string): FieldError[] {
  if (type === 'FQDN') return checkDns1123Subdomain(address).map((text) => invalidValue(path, address, text));
  if (type !== 'IPv4' && type !== 'IPv6') return [];
  const errors: FieldError[] = [];
  if (isIP(address) !== (type === 'IPv4' ? 4 : 6)) errors.push(invalidValue(path, address, `must be a valid ${type} address`));
  const special = isIP(address) === 0 ? undefined : specialAddress(address);
  if (special !== undefined) errors.push(invalidValue(path, address, special));
  return errors;
}
