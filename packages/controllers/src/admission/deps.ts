import type { Client } from '@slipway/client';
import type { UserInfo } from '@slipway/runtime';
import type { ClusterConfig } from '@slipway/virt';

/** What admission of the KubeVirt kinds needs; handlers keep no state of their own. */
export interface AdmissionDeps {
  readonly client: Client;
  readonly config: () => ClusterConfig;
  readonly now: () => Date;
  readonly newUuid: () => string;
  /** Whether this user is one of the platform's own components. */
  readonly isPlatform: (user: UserInfo) => boolean;
}

const PLATFORM_USERS = [
  /^system:apiserver$/,
  /^system:node:/,
  /^system:slipway:/,
  /^system:serviceaccount:(kubevirt|openshift-cnv|slipway-system):/,
];

/** The users that the platform's components run as, in this product and on a cluster with KubeVirt's names. */
export function isPlatformUser({ username }: UserInfo): boolean {
  return PLATFORM_USERS.some((pattern) => pattern.test(username));
}
