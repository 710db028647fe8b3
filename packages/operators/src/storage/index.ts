import { deepEqual, ignoreAlreadyExists } from '@slipway/apimachinery';
import {
  type cdi,
  isLocalProvisioner,
  LOCAL_PROVISIONER,
  CDIKind,
  SHARED_PROVISIONER,
  type StorageClass,
  StorageClassKind,
  DEFAULT_SNAPSHOT_CLASS,
  type VolumeSnapshotClass,
  VolumeSnapshotClassKind,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { allow, type ControllerRegistration, done, type PlatformSettings, watchFor } from '@slipway/runtime';
import { activeCdi, CONFIG_AUTHORITY } from '../cdi/active-cdi.ts';
import { CDIConfigKind } from '../kinds.ts';

const CONFIG_KEY = { namespace: '', name: 'config' };
/** Share of a file system volume that is kept back for the file system itself. */
const FILESYSTEM_OVERHEAD = '0.06';

/** Keeps `CDIConfig/config`: the spec of the CDI object with everything that was left open filled in. */
export const cdiConfigController: ControllerRegistration = {
  name: 'cdi-config-controller',
  rules: [...allow('create update', CDIConfigKind), ...allow('update', [CDIConfigKind, 'status'])],
  create(deps) {
    const { client, informers, settings } = deps;
    const configs = informers.lister(CDIConfigKind);
    const cdis = informers.lister(CDIKind);
    const classes = informers.lister(StorageClassKind);
    return {
      watches: [watchFor(CDIConfigKind, CONFIG_KEY), watchFor(CDIKind, CONFIG_KEY), watchFor(StorageClassKind, CONFIG_KEY)],
      concurrency: 1,
      reconciler: {
        async reconcile(_, signal) {
          const cdi = activeCdi(cdis);
          // until then what the object says may still become the configuration
          if (cdi?.metadata.annotations?.[CONFIG_AUTHORITY] === undefined) return done;
          const spec = cdi.spec.config ?? {};
          const current = configs.get(CONFIG_KEY);
          // the kinds of CDI have no status subresource: one write carries both
          const next: cdi.CDIConfig = { ...(current ?? newConfig()), spec };
          next.status = { ...configStatus(next, classes.list()), ...uploadProxy(settings, spec.uploadProxyURLOverride) };
          if (current === undefined) await client.create(CDIConfigKind, next, { signal });
          else if (!deepEqual(next, current)) await client.update(CDIConfigKind, next, { signal });
          return done;
        },
      },
    };
  },
};

const newConfig = (): cdi.CDIConfig => ({
  apiVersion: 'cdi.kubevirt.io/v1beta1',
  kind: 'CDIConfig',
  metadata: { name: CONFIG_KEY.name, labels: { app: 'containerized-data-importer', 'cdi.kubevirt.io': '' } },
  spec: {},
});

/** Uploads are taken at the address of the API itself, whose authority clients can check. */
function uploadProxy(
  { apiUrl, caBundle }: PlatformSettings,
  override: string | undefined,
): { uploadProxyURL?: string; uploadProxyCA?: string } {
  if (override) return { uploadProxyURL: override, ...(caBundle !== '' && { uploadProxyCA: caBundle }) };
  if (apiUrl === undefined) return {};
  // KubeVirt-compat: without a scheme, which clients put in front
  return { uploadProxyURL: apiUrl.replace(/^https:\/\//, ''), ...(caBundle !== '' && { uploadProxyCA: caBundle }) };
}

function configStatus({ spec }: cdi.CDIConfig, classes: readonly StorageClass[]): NonNullable<cdi.CDIConfig['status']> {
  const global = spec.filesystemOverhead?.global ?? FILESYSTEM_OVERHEAD;
  const names = classes.map(({ metadata }) => metadata.name ?? '').sort();
  // node-local volumes are directories: nothing is taken away from what was asked for
  const withoutOverhead = new Set(
    classes.filter(({ provisioner }) => isLocalProvisioner(provisioner)).map(({ metadata }) => metadata.name),
  );
  const overheadOf = (name: string): string =>
    spec.filesystemOverhead?.storageClass?.[name] ?? (withoutOverhead.has(name) ? '0' : global);
  const scratch = names.find((name) => name === spec.scratchSpaceStorageClass);
  return {
    defaultPodResourceRequirements: spec.podResourceRequirements ?? {
      limits: { cpu: '750m', memory: '600M' },
      requests: { cpu: '100m', memory: '60M' },
    },
    filesystemOverhead: {
      global,
      storageClass: Object.fromEntries(names.map((name) => [name, overheadOf(name)])),
    },
    preallocation: spec.preallocation ?? false,
    ...(spec.importProxy && { importProxy: spec.importProxy }),
    ...(spec.imagePullSecrets && { imagePullSecrets: spec.imagePullSecrets }),
    ...(scratch && { scratchSpaceStorageClass: scratch }),
  };
}

/** Classes of the node-local provisioner; made when missing at start, and then the administrator's. */
const CLASSES: readonly StorageClass[] = [
  localClass('local', 'WaitForFirstConsumer', {
    'storageclass.kubernetes.io/is-default-class': 'true',
    'storageclass.kubevirt.io/is-default-virt-class': 'true',
  }),
  localClass('local-immediate', 'Immediate', {}),
  { ...localClass('shared', 'Immediate', {}), provisioner: SHARED_PROVISIONER },
];

function localClass(name: string, volumeBindingMode: string, annotations: Record<string, string>): StorageClass {
  return {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name, annotations },
    provisioner: LOCAL_PROVISIONER,
    reclaimPolicy: 'Delete',
    volumeBindingMode,
    allowVolumeExpansion: true,
  };
}

/** Snapshots of node-local volumes. */
const SNAPSHOT_CLASS: VolumeSnapshotClass = {
  apiVersion: 'snapshot.storage.k8s.io/v1',
  kind: 'VolumeSnapshotClass',
  metadata: { name: 'local', annotations: { [DEFAULT_SNAPSHOT_CLASS]: 'true' } },
  driver: LOCAL_PROVISIONER,
  deletionPolicy: 'Delete',
};

export const storageClassController: ControllerRegistration = {
  name: 'storage-class-installer',
  rules: [...allow('create', StorageClassKind, VolumeSnapshotClassKind)],
  create: ({ client }) => ({ install: (signal) => makeClasses(client, signal) }),
};

async function makeClasses(client: Client, signal: AbortSignal): Promise<void> {
  for (const storageClass of CLASSES) await client.create(StorageClassKind, storageClass, { signal }).catch(ignoreAlreadyExists);
  await client.create(VolumeSnapshotClassKind, SNAPSHOT_CLASS, { signal }).catch(ignoreAlreadyExists);
}
