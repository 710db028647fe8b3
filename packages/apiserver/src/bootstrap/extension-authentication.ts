import type { UnstructuredObject } from '@slipway/apimachinery';
import { EXTRA_PREFIX, FRONT_PROXY_NAMES, GROUP_HEADER, USERNAME_HEADER } from '../authn/request-header.ts';
import { RBAC_GROUP } from '../authz/rbac.ts';

/** Authorities that servers behind APIServices need to know whom to believe. */
export interface ExtensionAuthorities {
  /** PEM of the authority of client certificates. */
  readonly client: string;
  /** PEM of the authority of the front proxy, which is this server. */
  readonly requestHeader: string;
}

export const EXTENSION_NAMESPACE = 'kube-system';
const CONFIG_MAP = 'extension-apiserver-authentication';
const READER = 'extension-apiserver-authentication-reader';

/** The ConfigMap every extension server reads at its start. */
export function extensionConfigMap({ client, requestHeader }: ExtensionAuthorities): UnstructuredObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: CONFIG_MAP, namespace: EXTENSION_NAMESPACE },
    data: {
      'client-ca-file': client,
      'requestheader-allowed-names': JSON.stringify(FRONT_PROXY_NAMES),
      'requestheader-client-ca-file': requestHeader,
      'requestheader-extra-headers-prefix': JSON.stringify([EXTRA_PREFIX]),
      'requestheader-group-headers': JSON.stringify([GROUP_HEADER]),
      'requestheader-username-headers': JSON.stringify([USERNAME_HEADER]),
    },
  };
}

/** The right to read it, to be bound to the service accounts of extension servers. */
export function extensionReaderRole(): UnstructuredObject {
  return {
    apiVersion: `${RBAC_GROUP}/v1`,
    kind: 'Role',
    metadata: {
      name: READER,
      namespace: EXTENSION_NAMESPACE,
      labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' },
      annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'true' },
    },
    rules: [{ apiGroups: [''], resources: ['configmaps'], resourceNames: [CONFIG_MAP], verbs: ['get', 'list', 'watch'] }],
  };
}
