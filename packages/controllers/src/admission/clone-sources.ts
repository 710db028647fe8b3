import { DataSourceKind, type kubevirt, type VirtualMachine } from '@slipway/api';
import type { Cause } from '@slipway/virt';
import type { AdmissionDeps } from './deps.ts';
import { find } from './look-up.ts';

interface CloneSource {
  readonly namespace: string;
  readonly name: string;
}

async function sourceOf(deps: AdmissionDeps, spec: kubevirt.DataVolumeSpec, namespace: string): Promise<CloneSource | undefined> {
  const { source, sourceRef } = spec;
  const direct = source?.pvc ?? source?.snapshot;
  if (direct) return { namespace: direct.namespace ?? namespace, name: direct.name ?? '' };
  if (sourceRef?.kind !== 'DataSource') return undefined;
  const home = sourceRef.namespace ?? namespace;
  const dataSource = await find(deps.client, DataSourceKind, { namespace: home, name: sourceRef.name });
  const pvc = dataSource?.spec.source.pvc;
  return pvc && { namespace: pvc.namespace ?? home, name: pvc.name };
}

function serviceAccountOf(vm: VirtualMachine): string {
  const spec = vm.spec.template.spec;
  const fromVolume = spec?.volumes?.find(({ serviceAccount }) => serviceAccount)?.serviceAccount?.serviceAccountName;
  return spec?.serviceAccountName || fromVolume || 'default';
}

interface ReviewAnswer {
  readonly status?: { readonly allowed?: boolean };
}

async function mayClone(deps: AdmissionDeps, user: string, namespace: string, source: CloneSource): Promise<boolean> {
  const resourceAttributes = {
    group: 'cdi.kubevirt.io',
    verb: 'create',
    resource: 'datavolumes',
    subresource: 'source',
    namespace: source.namespace,
    name: source.name,
  };
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'];
  const answer = await deps.client.raw({
    method: 'POST',
    path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
    body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec: { user, groups, resourceAttributes } },
  });
  return (answer.body as ReviewAnswer).status?.allowed === true; // a SubjectAccessReview
}

/** Clones from other namespaces need the right to read there; the VM's service account must have it. */
export async function cloneSourceCauses(deps: AdmissionDeps, vm: VirtualMachine): Promise<readonly Cause[]> {
  const namespace = vm.metadata.namespace ?? 'default';
  const user = `system:serviceaccount:${namespace}:${serviceAccountOf(vm)}`;
  const causes: Cause[] = [];
  for (const [index, template] of (vm.spec.dataVolumeTemplates ?? []).entries()) {
    const source = await sourceOf(deps, template.spec, namespace);
    if (!source || source.namespace === namespace || (await mayClone(deps, user, namespace, source))) continue;
    causes.push({
      reason: 'FieldValueInvalid',
      field: `spec.dataVolumeTemplates[${index}]`,
      message: `Authorization failed, message is: User ${user} has insufficient permissions in clone source namespace ${source.namespace}`,
    });
  }
  return causes;
}
