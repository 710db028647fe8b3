import { type cdi, CDIKind, type KubeVirt, KubeVirtKind, NamespaceKind } from '@slipway/api';
import { ignoreAlreadyExists, type KubeObject, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { PlatformSettings } from '@slipway/runtime';
import { HCO_FINALIZER, HCO_NAME, type HyperConverged, HyperConvergedKind } from '../kinds.ts';

/** On the namespace of the installation: its first objects have been made. */
const MADE = 'slipway.dev/platform';

/**
 * One machine runs what a rack does elsewhere, and guests rarely touch all their memory: placement counts a third of it
 * (docs/decisions/0005-memory-overcommit.md). Everything else is HyperConverged's or KubeVirt's own default.
 */
const MEMORY_OVERCOMMIT = 300;

/** Boot images are gigabytes from a registry of the Internet: they come when somebody asks for them. */
const BOOT_IMAGES = { enableCommonBootImageImport: false };

/** The object that asks for everything else, in an installation with the operator above KubeVirt and CDI. */
const hyperConverged = (key: ObjectKey): HyperConverged => ({
  apiVersion: 'hco.kubevirt.io/v1',
  kind: 'HyperConverged',
  metadata: { ...key, labels: { app: HCO_NAME }, finalizers: [HCO_FINALIZER] },
  spec: {
    virtualization: { higherWorkloadDensity: { memoryOvercommitPercentage: MEMORY_OVERCOMMIT } },
    workloadSources: BOOT_IMAGES,
  },
});

/** The objects of an installation without it, named as KubeVirt's and CDI's own manifests name them. */
const kubeVirt = (key: ObjectKey): KubeVirt => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'KubeVirt',
  metadata: { ...key },
  spec: { configuration: { developerConfiguration: { memoryOvercommit: MEMORY_OVERCOMMIT } } },
});
const dataImporter = (name: string): cdi.CDI => ({
  apiVersion: 'cdi.kubevirt.io/v1beta1',
  kind: 'CDI',
  metadata: { name },
  spec: { config: { featureGates: ['HonorWaitForFirstConsumer'] } },
});

/** Makes the first objects of an installation, once: what an administrator deletes later stays deleted. */
export async function makeFirstObjects(client: Client, settings: PlatformSettings, signal: AbortSignal): Promise<void> {
  const { installNamespace, withHyperConverged = true } = settings;
  const create = async <T extends KubeObject>(kind: ResourceKind<T>, object: T): Promise<void> => {
    await client.create(kind, object, { signal }).catch(ignoreAlreadyExists);
  };
  const namespace = (name: string) => create(NamespaceKind, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  const home = { namespace: '', name: installNamespace };
  await namespace(installNamespace);
  const { metadata } = await client.get(NamespaceKind, home, { signal });
  if (metadata.annotations?.[MADE] !== undefined) return;
  if (withHyperConverged) {
    await create(HyperConvergedKind, hyperConverged({ namespace: installNamespace, name: HCO_NAME }));
  } else {
    await namespace('kubevirt');
    await create(KubeVirtKind, kubeVirt({ namespace: 'kubevirt', name: 'kubevirt' }));
    await create(CDIKind, dataImporter('cdi'));
  }
  const annotations = { [MADE]: withHyperConverged ? 'hyperconverged' : 'kubevirt' };
  await client.patch(NamespaceKind, home, { metadata: { annotations } }, { type: 'merge', signal });
}
