import type { kubevirt } from '@slipway/api';
import type { Client } from '@slipway/client';
import type { UserInfo } from '@slipway/runtime';
import type { ClusterConfig } from '@slipway/virt';

/** What admission of the KubeVirt kinds needs; handlers keep no state of their own. */
export interface AdmissionDeps {
  readonly client: Client;
  readonly config: () => ClusterConfig;
  /** Presets of a namespace from a cache; absent, or undefined while the cache is empty: they are asked for. */
  readonly presets?: (namespace: string) => readonly kubevirt.VirtualMachineInstancePreset[] | undefined;
  readonly now: () => Date;
  readonly newUuid: () => string;
  /** Whether this user is one of the platform's own components. */
  readonly isPlatform: (user: UserInfo) => boolean;
}

const PLATFORM_USERS = [/^system:apiserver$/, /^system:node:/];
const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):(.+)$/;

/** Service accounts that KubeVirt's own components have, in the namespace of the KubeVirt object. */
const KUBEVIRT_ACCOUNTS: readonly string[] = [
  'kubevirt-operator',
  'kubevirt-apiserver',
  'kubevirt-controller',
  'kubevirt-handler',
  'kubevirt-synchronization-controller',
];

/**
 * Recognises the platform's components: the API server itself, node agents, every service account of the namespaces
 * the platform is installed in, and those of KubeVirt's components where the KubeVirt object is. Name no namespace
 * that a tenant could create; the KubeVirt object is only an administrator's to create.
 */
export function platformUserIn(
  namespaces: readonly string[],
  kubeVirtNamespace: () => string | undefined = () => undefined,
): (user: UserInfo) => boolean {
  return ({ username }) => {
    const [, namespace, account = ''] = SERVICE_ACCOUNT.exec(username) ?? [];
    if (namespace === undefined) return PLATFORM_USERS.some((pattern) => pattern.test(username));
    return namespaces.includes(namespace) || (KUBEVIRT_ACCOUNTS.includes(account) && namespace === kubeVirtNamespace());
  };
}

/** With the namespaces that KubeVirt and its operator are installed in by convention. */
export const isPlatformUser = platformUserIn(['kubevirt', 'openshift-cnv']);
