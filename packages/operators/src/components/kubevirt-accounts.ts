import { ClusterRoleBindingKind, ServiceAccountKind } from '@slipway/api';
import { isNotFound } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { allow, type PolicyRule } from '@slipway/runtime';
import { createOnce } from './create-once.ts';

/** Service accounts of KubeVirt's components; each has a cluster role of its name. */
const ACCOUNTS = ['kubevirt-apiserver', 'kubevirt-controller', 'kubevirt-handler', 'kubevirt-operator'] as const;

const LABELS = { 'kubevirt.io': '', 'app.kubernetes.io/managed-by': 'virt-operator' };
const RBAC = 'rbac.authorization.k8s.io';

/** What making and removing them needs. */
export const ACCOUNT_RULES: readonly PolicyRule[] = [
  ...allow('get create delete', ServiceAccountKind, ClusterRoleBindingKind),
  { apiGroups: [RBAC], resources: ['clusterroles'], verbs: ['bind'], resourceNames: ACCOUNTS },
];

/** Makes the accounts where the KubeVirt object is, and gives them their roles. */
export async function createAccounts(client: Client, namespace: string, signal: AbortSignal): Promise<void> {
  for (const name of ACCOUNTS) {
    const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace, labels: LABELS } };
    await createOnce(client, ServiceAccountKind, account, signal);
    const subjects = [{ kind: 'ServiceAccount', name, namespace }];
    const roleRef = { apiGroup: RBAC, kind: 'ClusterRole', name };
    const binding = { apiVersion: `${RBAC}/v1`, kind: 'ClusterRoleBinding', metadata: { name, labels: LABELS } };
    await createOnce(client, ClusterRoleBindingKind, { ...binding, roleRef, subjects }, signal);
  }
}

/** Takes them away again: who makes the namespace anew must not inherit their rights. */
export async function deleteAccounts(client: Client, namespace: string, signal: AbortSignal): Promise<void> {
  const ignoreMissing = (error: unknown): void => {
    if (!isNotFound(error)) throw error;
  };
  for (const name of ACCOUNTS) {
    await client.delete(ClusterRoleBindingKind, { namespace: '', name }, { signal }).catch(ignoreMissing);
    await client.delete(ServiceAccountKind, { namespace, name }, { signal }).catch(ignoreMissing);
  }
}
