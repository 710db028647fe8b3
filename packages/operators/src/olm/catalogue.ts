import type { Fields } from '../kinds.ts';
import type { CatalogSource, ClusterServiceVersion } from './kinds.ts';

/** An operator as a catalogue offers it. */
export interface CataloguePackage {
  readonly name: string;
  /** The default CatalogSource that has it. */
  readonly source: string;
  readonly displayName: string;
  readonly provider: string;
  readonly channels: readonly string[];
  readonly defaultChannel: string;
  readonly installModes: readonly string[];
}

/** Where the catalogues are that every cluster has. */
export const MARKETPLACE = 'openshift-marketplace';
const CSV_PREFIX = 'kubevirt-hyperconverged-operator.v';

/** What can be subscribed to: the operator that this platform runs, by the names that manifests use for it. */
export const PACKAGES: readonly CataloguePackage[] = [
  {
    name: 'kubevirt-hyperconverged',
    source: 'redhat-operators',
    displayName: 'OpenShift Virtualization',
    provider: 'Slipway',
    channels: ['stable'],
    defaultChannel: 'stable',
    installModes: ['OwnNamespace', 'SingleNamespace', 'AllNamespaces'],
  },
  {
    name: 'community-kubevirt-hyperconverged',
    source: 'community-operators',
    displayName: 'KubeVirt HyperConverged Cluster Operator',
    provider: 'Slipway',
    channels: ['stable'],
    defaultChannel: 'stable',
    installModes: ['AllNamespaces'],
  },
];

/** The CatalogSources that manifests take for granted; their content is the table above, no image is pulled. */
export const defaultCatalogSources = (): readonly CatalogSource[] =>
  PACKAGES.map(({ source }) => ({
    apiVersion: 'operators.coreos.com/v1alpha1',
    kind: 'CatalogSource',
    metadata: { name: source, namespace: MARKETPLACE },
    spec: { sourceType: 'internal', displayName: `Built in (${source})`, publisher: 'Slipway' },
  }));

export const findPackage = (name: string): CataloguePackage | undefined => PACKAGES.find((one) => one.name === name);

/** Name of the newest ClusterServiceVersion: that of the program that runs. */
export const csvName = (version: string): string => `${CSV_PREFIX}${version}`;
export const isOurCsv = (name: string | undefined): boolean => name?.startsWith(CSV_PREFIX) ?? false;

const INSTALL_MODES = ['OwnNamespace', 'SingleNamespace', 'MultiNamespace', 'AllNamespaces'];

/** The ClusterServiceVersion of a package; its deployments are parts of the server, so that it lists none. */
export function csvOf(
  { displayName, provider, installModes }: CataloguePackage,
  version: string,
  replaces: string | undefined,
): ClusterServiceVersion['spec'] {
  return {
    displayName,
    version,
    ...(replaces !== undefined && { replaces }),
    maturity: 'stable',
    provider: { name: provider },
    keywords: ['KubeVirt', 'Virtualization'],
    description: 'Runs virtual machines. The operator is a part of the platform and runs whether it is subscribed to or not.',
    installModes: INSTALL_MODES.map((type) => ({ type, supported: installModes.includes(type) })),
    install: { strategy: 'deployment', spec: { deployments: [] } },
    customresourcedefinitions: { owned: OWNED },
  };
}

const owned = (name: string, version: string, kind: string, displayName: string): Fields => ({
  name,
  version,
  kind,
  displayName,
});
const OWNED: readonly Fields[] = [
  owned('hyperconvergeds.hco.kubevirt.io', 'v1beta1', 'HyperConverged', 'OpenShift Virtualization Deployment'),
  owned('kubevirts.kubevirt.io', 'v1', 'KubeVirt', 'KubeVirt deployment'),
  owned('cdis.cdi.kubevirt.io', 'v1beta1', 'CDI', 'CDI deployment'),
  owned('ssps.ssp.kubevirt.io', 'v1beta3', 'SSP', 'SSP deployment'),
  owned('networkaddonsconfigs.networkaddonsoperator.network.kubevirt.io', 'v1', 'NetworkAddonsConfig', 'Cluster network addons'),
  owned(
    'hostpathprovisioners.hostpathprovisioner.kubevirt.io',
    'v1beta1',
    'HostPathProvisioner',
    'HostPathProvisioner deployment',
  ),
];
