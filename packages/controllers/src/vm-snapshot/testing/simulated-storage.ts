import {
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  SnapshotFinalizer,
  type VirtualMachine,
  type VirtualMachineInstance,
  type VolumeSnapshotContent,
  VolumeSnapshotClassKind,
  VolumeSnapshotContentKind,
} from '@slipway/api';
import { formatTime, keyOf } from '@slipway/apimachinery';
import { type ControllerRegistration, done } from '@slipway/runtime';
import { type Built, built, onNode, pv, pvc, storageClass, vm, vmi } from '@slipway/testkit';
import { ignoreNotFound, removeFinalizer } from '../objects.ts';

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
  pv(name, {
    metadata: { name, annotations: { 'pv.kubernetes.io/provisioned-by': 'local.slipway.dev' } },
    spec: {
      capacity: { storage: '1Gi' },
      local: { path: `/var/lib/x/volumes/${VOLUME_UID}` },
      nodeAffinity: onNode('node1'),
      claimRef: { kind: 'PersistentVolumeClaim', namespace: metadata.namespace ?? '', name: metadata.name ?? '' },
    },
  });

export const snapshotClass: Built = built(VolumeSnapshotClassKind, 'local', {
  driver: 'local.slipway.dev',
  deletionPolicy: 'Delete',
});

/** A class, and a claim `a/disk` that is bound to a local volume. */
export const boundDisk = (name = 'disk'): readonly Built[] => [
  pv(`pv-${name}`, {
    metadata: { name: `pv-${name}`, annotations: { 'pv.kubernetes.io/provisioned-by': 'local.slipway.dev' } },
    spec: {
      capacity: { storage: '1Gi' },
      local: { path: `/var/lib/x/volumes/${VOLUME_UID}` },
      nodeAffinity: onNode('node1'),
      claimRef: { kind: 'PersistentVolumeClaim', namespace: 'a', name },
    },
  }),
  pvc(`a/${name}`, {
    metadata: {
      name,
      namespace: 'a',
      annotations: { 'cdi.kubevirt.io/storage.import.source': 'http', 'example.com/kept': 'yes' },
    },
    spec: { storageClassName: 'local', volumeName: `pv-${name}`, resources: { requests: { storage: '1Gi' } } },
    status: { phase: 'Bound', capacity: { storage: '1Gi' } },
  }),
];

export const storageObjects: readonly Built[] = [storageClass('local'), snapshotClass, ...boundDisk()];

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
  vm(`a/${name}`, {
    metadata: { name, namespace: 'a', labels: { team: 'blue', tier: 'web' }, annotations: { note: 'x' } },
    spec: { runStrategy: 'Halted', template: { metadata: { labels: { l: 'v' } }, spec: templateSpec }, ...parts.spec },
    ...(parts.status && { status: parts.status }),
  } as Parameters<typeof vm>[1]);

/** The VM's running instance. */
export const instance = (conditions: readonly string[], status: object = {}): Built<VirtualMachineInstance> =>
  vmi('a/web', {
    spec: templateSpec as VirtualMachineInstance['spec'],
    status: {
      phase: 'Running',
      nodeName: 'node1',
      conditions: conditions.map((type) => ({ type, status: 'True' })),
      ...status,
    },
  });
