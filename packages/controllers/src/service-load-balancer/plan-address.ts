import type { Service } from '@slipway/api';

/** What becomes of a Service's address. */
export type AddressPlan =
  | { readonly kind: 'keep' }
  /** No longer a load balancer of ours, with an address of ours. */
  | { readonly kind: 'release' }
  | { readonly kind: 'assign'; readonly address: string }
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

/** Decides the address of one Service. */
export function planAddress({ service, pool, taken }: AddressInputs): AddressPlan {
  const [own] = addressesOf(service);
  const { type, loadBalancerClass = LOAD_BALANCER_CLASS, loadBalancerIP: wanted } = service.spec ?? {};
  if (type !== 'LoadBalancer') return own === undefined ? { kind: 'keep' } : { kind: 'release' };
  if (loadBalancerClass !== LOAD_BALANCER_CLASS) return { kind: 'keep' };
  const mayKeep = own !== undefined && pool.includes(own) && !taken.has(own);
  if (mayKeep && (!wanted || wanted === own)) return { kind: 'keep' };
  if (wanted) return planWanted(wanted, pool, taken);
  const address = pool.find((candidate) => !taken.has(candidate));
  if (address !== undefined) return { kind: 'assign', address };
  return {
    kind: 'wait',
    message: `All ${pool.length} addresses for load balancers are in use; delete a Service of type LoadBalancer`,
  };
}

function planWanted(address: string, pool: readonly string[], taken: ReadonlySet<string>): AddressPlan {
  if (!pool.includes(address)) {
    const range = `${pool[0]} to ${pool.at(-1)}`;
    return {
      kind: 'wait',
      message: `spec.loadBalancerIP ${address} is not among the addresses for load balancers, ${range}; name one of them or none`,
    };
  }
  if (taken.has(address))
    return { kind: 'wait', message: `spec.loadBalancerIP ${address} belongs to another Service; name another address or none` };
  return { kind: 'assign', address };
}
