import type { kubevirt } from '@slipway/api';
import type { Resolver } from './host-resolver.ts';

/** What one guest interface is told by DHCP, DHCPv6 and router advertisements. */
export interface GuestConfig {
  /** Bridge in the pod that the guest's tap is connected to. */
  readonly link: string;
  /** Only this client is answered. */
  readonly mac: string;
  readonly hostname: string;
  readonly mtu: number;
  readonly resolver: Resolver;
  readonly v4: {
    readonly address: string;
    readonly prefix: number;
    /** Absent: the network leads nowhere else. */
    readonly gateway?: string;
    /** Address of the responder, in the pod. */
    readonly server: string;
    readonly routes: readonly { readonly destination: string; readonly gateway: string }[];
  };
  /** Absent: nothing is said of IPv6. */
  readonly v6?: {
    readonly address: string;
    readonly prefix: number;
    readonly network: string;
    /** Absent: the pod itself is the router and says so in advertisements. */
    readonly gateway?: string;
  };
  readonly dhcpOptions?: kubevirt.DHCPOptions;
}
