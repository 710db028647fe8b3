import platformTable from '../../schemas/platform.json' with { type: 'json' };
import { type CompactDefinitions, type CompactNode, compactExpander } from './compact-schemas.ts';
import { type CrdRow, type CustomResourceDefinition, customResourceDefinition } from './crd-table.ts';
import { rootSchema } from './openapi-schemas.ts';

type Row = Omit<CrdRow, 'schema'>;

/** Groups below k8s.io need a reason to exist outside of Kubernetes. */
const APPROVED = { 'api-approved.kubernetes.io': 'https://github.com/kubernetes-csi/external-snapshotter/pull/814' };
const snapshotGroup = { group: 'snapshot.storage.k8s.io', versions: 'v1*', annotations: APPROVED };

const ROWS: readonly Row[] = [
  {
    kind: 'HyperConverged',
    group: 'hco.kubevirt.io',
    plural: 'hyperconvergeds',
    versions: 'v1* v1beta1',
    shortNames: 'hco hcos',
    all: true,
    status: true,
    columns: 'Age',
  },
  {
    kind: 'SSP',
    group: 'ssp.kubevirt.io',
    plural: 'ssps',
    versions: 'v1beta3* v1beta2',
    status: true,
    columns: 'Age; Phase=.status.phase',
  },
  {
    kind: 'NetworkAddonsConfig',
    group: 'networkaddonsoperator.network.kubevirt.io',
    plural: 'networkaddonsconfigs',
    versions: 'v1* v1alpha1',
    cluster: true,
    status: true,
    columns: 'Age',
  },
  // its columns are more than JSONPath can say
  { kind: 'Template', group: 'template.openshift.io', plural: 'templates', versions: 'v1*' },
  {
    kind: 'ClusterResourceQuota',
    group: 'quota.openshift.io',
    plural: 'clusterresourcequotas',
    versions: 'v1*',
    shortNames: 'clusterquota',
    cluster: true,
    status: true,
    columns: 'Age',
  },
  {
    kind: 'AAQ',
    group: 'aaq.kubevirt.io',
    plural: 'aaqs',
    versions: 'v1alpha1*',
    shortNames: 'aaq',
    cluster: true,
    status: true,
    columns: 'Age; Phase=.status.phase',
  },
  {
    kind: 'ApplicationAwareResourceQuota',
    group: 'aaq.kubevirt.io',
    plural: 'applicationawareresourcequotas',
    versions: 'v1alpha1*',
    shortNames: 'arq arqs',
    status: true,
    columns: 'Age',
  },
  {
    kind: 'ApplicationAwareClusterResourceQuota',
    group: 'aaq.kubevirt.io',
    plural: 'applicationawareclusterresourcequotas',
    versions: 'v1alpha1*',
    shortNames: 'acrq acrqs',
    cluster: true,
    status: true,
    columns: 'Age',
  },
  {
    kind: 'PrometheusRule',
    group: 'monitoring.coreos.com',
    plural: 'prometheusrules',
    versions: 'v1*',
    shortNames: 'promrule',
    columns: 'Age',
  },
  {
    kind: 'ServiceMonitor',
    group: 'monitoring.coreos.com',
    plural: 'servicemonitors',
    versions: 'v1*',
    shortNames: 'smon',
    columns: 'Age',
  },
  {
    kind: 'NetworkAttachmentDefinition',
    group: 'k8s.cni.cncf.io',
    plural: 'network-attachment-definitions',
    versions: 'v1*',
    shortNames: 'net-attach-def',
  },
  {
    kind: 'MultiNetworkPolicy',
    group: 'k8s.cni.cncf.io',
    plural: 'multi-networkpolicies',
    versions: 'v1beta1* v1beta2',
    shortNames: 'multi-policy',
  },
  {
    ...snapshotGroup,
    kind: 'VolumeSnapshot',
    plural: 'volumesnapshots',
    shortNames: 'vs',
    status: true,
    columns: [
      'ReadyToUse:boolean=.status.readyToUse; SourcePVC=.spec.source.persistentVolumeClaimName',
      'SourceSnapshotContent=.spec.source.volumeSnapshotContentName; RestoreSize=.status.restoreSize',
      'SnapshotClass=.spec.volumeSnapshotClassName; SnapshotContent=.status.boundVolumeSnapshotContentName',
      'CreationTime:date=.status.creationTime; Age',
    ].join('; '),
  },
  {
    ...snapshotGroup,
    kind: 'VolumeSnapshotContent',
    plural: 'volumesnapshotcontents',
    shortNames: 'vsc vscs',
    cluster: true,
    status: true,
    columns: [
      'ReadyToUse:boolean=.status.readyToUse; RestoreSize:integer=.status.restoreSize',
      'DeletionPolicy=.spec.deletionPolicy; Driver=.spec.driver; VolumeSnapshotClass=.spec.volumeSnapshotClassName',
      'VolumeSnapshot=.spec.volumeSnapshotRef.name; VolumeSnapshotNamespace=.spec.volumeSnapshotRef.namespace; Age',
    ].join('; '),
  },
  {
    ...snapshotGroup,
    kind: 'VolumeSnapshotClass',
    plural: 'volumesnapshotclasses',
    shortNames: 'vsclass vsclasses',
    cluster: true,
    columns: 'Driver=.driver; DeletionPolicy=.deletionPolicy; Age',
  },
  {
    kind: 'Application',
    group: 'argoproj.io',
    plural: 'applications',
    versions: 'v1alpha1*',
    shortNames: 'app apps',
    columns:
      'Sync Status=.status.sync.status; Health Status=.status.health.status; Revision/10=.status.sync.revision; Project/10=.spec.project',
  },
  {
    kind: 'AppProject',
    group: 'argoproj.io',
    plural: 'appprojects',
    versions: 'v1alpha1*',
    shortNames: 'appproj appprojs',
  },
];

const SINGULARS: Readonly<Record<string, string>> = {
  NetworkAttachmentDefinition: 'network-attachment-definition',
  MultiNetworkPolicy: 'multi-networkpolicy',
};

/** HyperConverged, SSP, network add-ons, networks, volume snapshots and GitOps kinds. */
export function platformCustomResourceDefinitions(): CustomResourceDefinition[] {
  // a table of our own in the compact notation
  const table = platformTable as unknown as { definitions: CompactDefinitions; kinds: Readonly<Record<string, CompactNode>> };
  const expand = compactExpander(table.definitions);
  return ROWS.map((row) => {
    const crd = customResourceDefinition({
      ...row,
      schema: (version) => rootSchema(expand(table.kinds[`${row.kind}/${version}`] ?? table.kinds[row.kind] ?? 'object')),
    });
    const singular = SINGULARS[row.kind];
    if (singular !== undefined) crd.spec.names.singular = singular;
    return crd;
  });
}
