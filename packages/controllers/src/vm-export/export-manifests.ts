import type { kubevirt, PersistentVolumeClaim, VirtualMachine } from '@slipway/api';
import { IDENTITY_ANNOTATION, identityOf, stableMac } from '@slipway/virt';
import { TOKEN_HEADER, type VmExport } from './export-plan.ts';

type Link = kubevirt.VirtualMachineExportLink;

export interface ManifestSource {
  readonly vmExport: VmExport;
  readonly link: Link;
  /** The VM as it was, absent for the export of a claim. */
  readonly vm: kubevirt.V1beta1VirtualMachine | undefined;
  readonly claims: readonly PersistentVolumeClaim[];
}

const headerSecretName = ({ metadata }: VmExport): string => `header-secret-${metadata.name}`;
const certMapName = ({ metadata }: VmExport): string => `export-ca-cm-${metadata.name}`;

/** Everything that makes the VM again elsewhere: certificate, VM, and disks that are imported from the export. */
export function manifestList({ vmExport, link, vm, claims }: ManifestSource): object {
  const certMap = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: certMapName(vmExport) },
    data: { 'ca.pem': link.cert },
  };
  const templates = new Set((vm?.spec?.dataVolumeTemplates ?? []).map(({ metadata }) => metadata.name ?? ''));
  const disks = claims.map((claim) => ({ claim, dataVolume: dataVolumeFor(vmExport, link, claim) }));
  // a disk from a template comes with its VM
  const apart = disks.filter(({ claim }) => !templates.has(originalName(vmExport, claim))).map(({ dataVolume }) => dataVolume);
  return {
    apiVersion: 'v1',
    kind: 'List',
    items: [certMap, ...(vm === undefined ? [] : [cleanVm(vmExport, vm, disks)]), ...apart],
  };
}

/** The secret that the importer of the manifests needs. */
export function headerSecret(vmExport: VmExport, token: string): object {
  return {
    apiVersion: 'v1',
    kind: 'List',
    items: [
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: headerSecretName(vmExport) },
        stringData: { token: `${TOKEN_HEADER}:${token}` },
      },
    ],
  };
}

/** Claims of a snapshot were made for the export and have its name before their own. */
function originalName({ metadata, spec }: VmExport, claim: PersistentVolumeClaim): string {
  const name = claim.metadata.name ?? '';
  const prefix = `${metadata.name}-`;
  return spec.source.kind === 'VirtualMachineSnapshot' && name.startsWith(prefix) ? name.slice(prefix.length) : name;
}

function sourceOf(vmExport: VmExport, { volumes = [] }: Link, claim: PersistentVolumeClaim): object {
  const formats = volumes.find(({ name }) => name === claim.metadata.name)?.formats ?? [];
  const url = (formats.find(({ format }) => format === 'gzip') ?? formats[0])?.url ?? '';
  return { http: { url, certConfigMap: certMapName(vmExport), secretExtraHeaders: [headerSecretName(vmExport)] } };
}

function dataVolumeFor(vmExport: VmExport, link: Link, claim: PersistentVolumeClaim) {
  const storage = claim.spec?.resources?.requests?.['storage'] ?? claim.status?.capacity?.['storage'];
  return {
    apiVersion: 'cdi.kubevirt.io/v1beta1',
    kind: 'DataVolume',
    metadata: { name: originalName(vmExport, claim) },
    spec: {
      source: sourceOf(vmExport, link, claim),
      storage: { resources: { requests: { storage } }, volumeMode: claim.spec?.volumeMode ?? 'Filesystem' },
    },
  };
}

function cleanVm(
  vmExport: VmExport,
  { metadata, spec }: kubevirt.V1beta1VirtualMachine,
  disks: readonly { readonly claim: PersistentVolumeClaim; readonly dataVolume: ReturnType<typeof dataVolumeFor> }[],
): object {
  const source = (metadata ?? {}) as VirtualMachine['metadata']; // the same shape
  const { name, labels, annotations } = source;
  const { 'kubectl.kubernetes.io/last-applied-configuration': _, ...kept } = annotations ?? {};
  const uid = identityOf(source);
  const identified = uid === undefined ? kept : { ...kept, [IDENTITY_ANNOTATION]: uid };
  const dataVolumeTemplates = (spec?.dataVolumeTemplates ?? []).map((template) => {
    const disk = disks.find(({ claim }) => originalName(vmExport, claim) === template.metadata.name);
    return disk === undefined ? template : { metadata: { name: template.metadata.name }, spec: disk.dataVolume.spec };
  });
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name, ...(labels && { labels }), ...(Object.keys(identified).length > 0 && { annotations: identified }) },
    spec: {
      ...spec,
      ...(dataVolumeTemplates.length > 0 && { dataVolumeTemplates }),
      ...(spec && { template: withMacs(spec.template, uid) }),
    },
  };
}

type Template = kubevirt.VirtualMachineSpec['template'];

/** With the addresses that the interfaces have, so that the VM keeps them on any cluster. */
function withMacs(template: Template, uid: string | undefined): Template {
  const interfaces = template.spec?.domain.devices.interfaces;
  if (template.spec === undefined || interfaces === undefined || uid === undefined) return template;
  const named = interfaces.map((nic) => (nic.macAddress || nic.sriov ? nic : { ...nic, macAddress: stableMac(uid, nic.name) }));
  const { domain } = template.spec;
  return {
    ...template,
    spec: { ...template.spec, domain: { ...domain, devices: { ...domain.devices, interfaces: named } } },
  };
}
