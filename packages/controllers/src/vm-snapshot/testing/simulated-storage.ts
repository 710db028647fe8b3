import {
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  StorageClassKind,
  SnapshotFinalizer,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  type VolumeSnapshotContent,
  VolumeSnapshotClassKind,
  VolumeSnapshotContentKind,
} from '@slipway/api';
import { apiVersionOf, formatTime, ignoreNotFound, keyOf, type KubeObject, type ResourceKind } from '@slipway/apimachinery';
import { type ControllerRegistration, done } from '@slipway/runtime';
import { removeFinalizer } from '../objects.ts';

interface Built<T extends KubeObject = KubeObject> {
  readonly kind: ResourceKind<T>;
  readonly object: T;
}

/** An object of this path with the fields that its kind needs. */
function built<T extends KubeObject>(kind: ResourceKind<T>, path: string, fields: object): Built<T> {
  const [first = '', second] = path.split('/');
  const place = second === undefined ? { name: first } : { namespace: first, name: second };
  const { metadata, ...rest } = fields as { metadata?: object };
  const object = { apiVersion: apiVersionOf(kind), kind: kind.kind, metadata: { ...place, ...metadata }, ...rest };
  return { kind, object: object as unknown as T };
}

const localVolume = (name: string, claim: { readonly namespace: string; readonly name: string }) =>
  built(PersistentVolumeKind, name, {
    metadata: { annotations: { 'pv.kubernetes.io/provisioned-by': 'local.slipway.dev' } },
    spec: {
      accessModes: ['ReadWriteOnce'],
      capacity: { storage: '1Gi' },
      storageClassName: 'local',
      local: { path: `/var/lib/x/volumes/${VOLUME_UID}` },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['node1'] }] }],
        },
      },
      claimRef: { kind: 'PersistentVolumeClaim', ...claim },
    },
  });

export const VOLUME_UID = '00000000-1111-4222-8333-444444444444';

/** Plays the snapshotter and the provisioner of a node; tests change it while it runs. */
export interface SimulatedStorage {
  /** What the next snapshots meet. */
  fate: 'taken' | 'cut' | 'waits' | 'fails';
  readonly registrations: readonly ControllerRegistration[];
}

export function simulatedStorage(): SimulatedStorage {
  const storage: SimulatedStorage = { fate: 'taken', registrations: [] };
  const snapshotter: ControllerRegistration = {
    name: 'simulated-snapshotter',
    create: ({ client, clock, informers }) => {
      const contents = informers.lister(VolumeSnapshotContentKind);
      return {
        kind: VolumeSnapshotContentKind,
        reconciler: {
          async reconcile(key, signal) {
            const content = contents.get(key);
            if (content === undefined) return done;
            if (content.metadata.deletionTimestamp !== undefined)
              await removeFinalizer(client, VolumeSnapshotContentKind, content, SnapshotFinalizer.content, signal);
            else if (content.status?.readyToUse !== true && storage.fate !== 'waits') {
              const status = statusOf(storage.fate, clock.now());
              if (JSON.stringify(content.status) === JSON.stringify(status)) return done;
              await client.patch(VolumeSnapshotContentKind, key, { status }, { type: 'merge', subresource: 'status', signal });
            }
            return done;
          },
        },
      };
    },
  };
  return Object.assign(storage, { registrations: [snapshotter, provisioner] });
}

function statusOf(fate: SimulatedStorage['fate'], nowMs: number): NonNullable<VolumeSnapshotContent['status']> {
  if (fate === 'fails') return { readyToUse: false, error: { message: 'no space left', time: formatTime(nowMs) } };
  const snapshotHandle = `node1/${VOLUME_UID}`;
  return { snapshotHandle, creationTime: nowMs * 1_000_000, restoreSize: 1 << 30, readyToUse: fate === 'taken' };
}

/** Binds claims that a node was chosen for. */
const provisioner: ControllerRegistration = {
  name: 'simulated-provisioner',
  create: ({ client, informers }) => {
    const claims = informers.lister(PersistentVolumeClaimKind);
    return {
      kind: PersistentVolumeClaimKind,
      reconciler: {
        async reconcile(key) {
          const claim = claims.get(key);
          const isChosen = claim?.metadata.annotations?.['volume.kubernetes.io/selected-node'] !== undefined;
          if (claim === undefined || !isChosen || claim.spec?.volumeName !== undefined) return done;
          const { kind, object } = volumeOf(claim, `pv-${claim.metadata.name}`);
          await client.create(kind, object).catch(() => {}); // made by an earlier pass
          await bind(client, claim, `pv-${claim.metadata.name}`);
          return done;
        },
      },
    };
  },
};

type Writer = Parameters<typeof removeFinalizer>[0];

async function bind(client: Writer, claim: PersistentVolumeClaim, volumeName: string): Promise<void> {
  const key = keyOf(claim);
  await client.patch(PersistentVolumeClaimKind, key, { spec: { volumeName } }, { type: 'merge' }).catch(ignoreNotFound);
  const status = { phase: 'Bound', capacity: { storage: '1Gi' } };
  await client.patch(PersistentVolumeClaimKind, key, { status }, { type: 'merge', subresource: 'status' }).catch(ignoreNotFound);
}

const volumeOf = ({ metadata }: PersistentVolumeClaim, name: string) =>
  localVolume(name, { namespace: metadata.namespace ?? '', name: metadata.name ?? '' });

export const snapshotClass: Built = built(VolumeSnapshotClassKind, 'local', {
  driver: 'local.slipway.dev',
  deletionPolicy: 'Delete',
});

/** A class, and a claim `a/disk` that is bound to a local volume. */
export const boundDisk = (name = 'disk'): readonly Built[] => [
  localVolume(`pv-${name}`, { namespace: 'a', name }),
  built(PersistentVolumeClaimKind, `a/${name}`, {
    metadata: { annotations: { 'cdi.kubevirt.io/storage.import.source': 'http', 'example.com/kept': 'yes' } },
    spec: {
      accessModes: ['ReadWriteOnce'],
      storageClassName: 'local',
      volumeName: `pv-${name}`,
      resources: { requests: { storage: '1Gi' } },
    },
    status: { phase: 'Bound', capacity: { storage: '1Gi' } },
  }),
];

const localClass = built(StorageClassKind, 'local', {
  provisioner: 'local.slipway.dev',
  volumeBindingMode: 'WaitForFirstConsumer',
});

export const storageObjects: readonly Built[] = [localClass, snapshotClass, ...boundDisk()];

/** Spec of a VM template with the claim's disk and one that has no claim. */
export const templateSpec = {
  domain: {
    devices: {
      disks: [
        { name: 'root', disk: { bus: 'virtio' as const } },
        { name: 'seed', disk: { bus: 'virtio' as const } },
      ],
      interfaces: [{ name: 'default', masquerade: {}, macAddress: '02:00:00:00:00:01' }],
    },
    memory: { guest: '128Mi' },
    firmware: { uuid: '5d307ca9-b3ef-428c-8861-06e72d69f223', serial: 'abc' },
  },
  networks: [{ name: 'default', pod: {} }],
  volumes: [
    { name: 'root', persistentVolumeClaim: { claimName: 'disk' } },
    { name: 'seed', cloudInitNoCloud: { userData: '#cloud-config\n' } },
  ],
};

export const machine = (name = 'web', parts: { spec?: object; status?: object } = {}): Built<VirtualMachine> =>
  built(VirtualMachineKind, `a/${name}`, {
    metadata: { labels: { team: 'blue', tier: 'web' }, annotations: { note: 'x' } },
    spec: { runStrategy: 'Halted', template: { metadata: { labels: { l: 'v' } }, spec: templateSpec }, ...parts.spec },
    ...(parts.status && { status: parts.status }),
  });

/** The VM's running instance. */
export const instance = (conditions: readonly string[]): Built<VirtualMachineInstance> =>
  built(VirtualMachineInstanceKind, 'a/web', {
    spec: templateSpec,
    status: {
      phase: 'Running',
      nodeName: 'node1',
      conditions: conditions.map((type) => ({ type, status: 'True' })),
    },
  });
