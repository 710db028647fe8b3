import { DataSourceKind, type kubevirt, type VirtualMachine } from '@slipway/api';
import { isAllowed, serviceAccountUser, type UserInfo } from '@slipway/runtime';
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

function mayClone({ client }: AdmissionDeps, user: UserInfo, { namespace, name }: CloneSource): Promise<boolean> {
  const question = { verb: 'create', group: 'cdi.kubevirt.io', resource: 'datavolumes', subresource: 'source', namespace, name };
  return isAllowed(client, user, question);
}

/** Clones from other namespaces need the right to read there; the VM's service account must have it. */
export async function cloneSourceCauses(deps: AdmissionDeps, vm: VirtualMachine): Promise<readonly Cause[]> {
  const namespace = vm.metadata.namespace ?? 'default';
  const user = serviceAccountUser(namespace, serviceAccountOf(vm));
  const causes: Cause[] = [];
  for (const [index, template] of (vm.spec.dataVolumeTemplates ?? []).entries()) {
    const source = await sourceOf(deps, template.spec, namespace);
    if (!source || source.namespace === namespace || (await mayClone(deps, user, source))) continue;
    causes.push({
      reason: 'FieldValueInvalid',
      field: `spec.dataVolumeTemplates[${index}]`,
      message: `Authorization failed, message is: User ${user.username} has insufficient permissions in clone source namespace ${source.namespace}`,
    });
  }
  return causes;
}
