import { NamespaceKind, RoleBindingKind, RoleKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { allow, type ControllerRegistration, type PolicyRule } from '@slipway/runtime';
import { SspKind } from '../kinds.ts';
import { statusReconciler } from './component-status.ts';
import { createOnce } from './create-once.ts';

export { kubeVirtOperator } from './kubevirt-operator.ts';

const VIEW_ROLE = 'os-images.kubevirt.io:view';
const RBAC_GROUP = 'rbac.authorization.k8s.io';

/** Makes the namespace of the golden images and lets every user see what is in it. */
export const sspOperator: ControllerRegistration = {
  name: 'ssp-operator',
  rules: [
    ...allow('update', SspKind, [SspKind, 'status']),
    ...allow('get create', NamespaceKind, RoleKind, RoleBindingKind),
    ...viewRoleRules(),
  ],
  create(deps) {
    const { client, settings } = deps;
    const { version, osImagesNamespace } = settings;
    return {
      kind: SspKind,
      concurrency: 1,
      reconciler: statusReconciler(SspKind, deps, async ({ metadata }, signal) => {
        await createImagesNamespace(client, osImagesNamespace, signal);
        return {
          conditions: [
            { type: 'Available', status: 'True', reason: 'Available', message: 'All SSP resources are available' },
            { type: 'Progressing', status: 'False', reason: 'Progressing', message: 'No SSP resources are progressing' },
            { type: 'Degraded', status: 'False', reason: 'Degraded', message: 'No SSP resources are degraded' },
          ],
          fields: {
            phase: 'Deployed',
            observedGeneration: metadata.generation ?? 1,
            operatorVersion: version,
            targetVersion: version,
            observedVersion: version,
          },
        };
      }),
    };
  },
};

async function createImagesNamespace(client: Client, namespace: string, signal: AbortSignal): Promise<void> {
  await createOnce(client, NamespaceKind, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, signal);
  const apiVersion = `${RBAC_GROUP}/v1`;
  const metadata = { name: VIEW_ROLE, namespace };
  const read = ['get', 'list', 'watch'];
  await createOnce(
    client,
    RoleKind,
    {
      apiVersion,
      kind: 'Role',
      metadata,
      rules: [
        { apiGroups: [''], resources: ['persistentvolumeclaims', 'persistentvolumeclaims/status'], verbs: read },
        { apiGroups: ['snapshot.storage.k8s.io'], resources: ['volumesnapshots'], verbs: read },
        { apiGroups: ['cdi.kubevirt.io'], resources: ['datavolumes', 'datasources', 'dataimportcrons'], verbs: read },
        { apiGroups: ['cdi.kubevirt.io'], resources: ['datavolumes/source'], verbs: ['create'] },
      ],
    },
    signal,
  );
  await createOnce(
    client,
    RoleBindingKind,
    {
      apiVersion,
      kind: 'RoleBinding',
      metadata,
      roleRef: { apiGroup: RBAC_GROUP, kind: 'Role', name: VIEW_ROLE },
      subjects: ['system:authenticated', 'system:serviceaccounts'].map((name) => ({ apiGroup: RBAC_GROUP, kind: 'Group', name })),
    },
    signal,
  );
}

/** The role for the golden images grants what the operator itself cannot do. */
function viewRoleRules(): readonly PolicyRule[] {
  return [{ apiGroups: [RBAC_GROUP], resources: ['roles'], resourceNames: [VIEW_ROLE], verbs: ['escalate', 'bind'] }];
}
