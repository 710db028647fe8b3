import { parseCidr } from './cidr.ts';

/** Networks that the pods of all nodes are in: what comes from elsewhere comes from outside of the cluster. */
export const POD_NETWORKS = { v4: '10.244.0.0/16', v6: 'fd10:244::/32' } as const;

/** A node's addresses as the router of its pods, IPv4 first; it serves names there too. */
export const gatewaysOf = (node: { readonly podCidrV4: string; readonly podCidrV6: string }): readonly string[] =>
  [node.podCidrV4, node.podCidrV6].map((network) => parseCidr(network).addressAt(1));
