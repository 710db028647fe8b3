import type { Service } from '@slipway/api';

/** What becomes of a Service's address. */
export type AddressPlan =
  | { readonly kind: 'keep' }
  /** No longer a load balancer of ours, with an address of ours. */
  | { readonly kind: 'release' }
  | { readonly kind: 'assign'; readonly addresses: readonly string[] }
  | { readonly kind: 'wait'; readonly message: string };

export interface AddressInputs {
  readonly service: Service;
  readonly pool: readonly string[];
  /** Addresses that other Services have. */
  readonly taken: ReadonlySet<string>;
}

/** Class of load balancers that this platform serves besides those without a class. */
export const LOAD_BALANCER_CLASS = 'slipway.dev/local';

/** Addresses that a Service has been given. */
export const addressesOf = ({ status }: Service): readonly string[] =>
  (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => (ip ? [ip] : []));

/** Decides the addresses of one Service: one for each of its families that the pool has. */
export function planAddress({ service, pool, taken }: AddressInputs): AddressPlan {
  const own = addressesOf(service);
  const { type, loadBalancerClass = LOAD_BALANCER_CLASS, loadBalancerIP: wanted, ipFamilies = [] } = service.spec ?? {};
  if (type !== 'LoadBalancer') return own.length === 0 ? { kind: 'keep' } : { kind: 'release' };
  if (loadBalancerClass !== LOAD_BALANCER_CLASS) return { kind: 'keep' };
  const problem = wanted ? problemOf(wanted, pool, taken) : undefined;
  if (problem !== undefined) return { kind: 'wait', message: problem };
  const families = ipFamilies.length > 0 ? ipFamilies : ['IPv4'];
  const addresses = families.flatMap((family) => {
    const candidates = pool.filter((address) => familyOf(address) === family && !taken.has(address));
    const named = wanted && familyOf(wanted) === family ? wanted : own.find((address) => candidates.includes(address));
    return named ?? candidates[0] ?? [];
  });
  const isKept = addresses.length === own.length && addresses.every((address, index) => address === own[index]);
  if (addresses.length > 0) return isKept ? { kind: 'keep' } : { kind: 'assign', addresses };
  const known = pool.filter((address) => families.includes(familyOf(address)));
  return {
    kind: 'wait',
    message: `All ${known.length} addresses for load balancers are in use; delete a Service of type LoadBalancer`,
  };
}

const familyOf = (address: string): string => (address.includes(':') ? 'IPv6' : 'IPv4');

function problemOf(address: string, pool: readonly string[], taken: ReadonlySet<string>): string | undefined {
  const range = pool.filter((one) => familyOf(one) === familyOf(address));
  if (!range.includes(address))
    return `spec.loadBalancerIP ${address} is not among the addresses for load balancers, ${range[0]} to ${range.at(-1)}; name one of them or none`;
  return taken.has(address)
    ? `spec.loadBalancerIP ${address} belongs to another Service; name another address or none`
    : undefined;
}
