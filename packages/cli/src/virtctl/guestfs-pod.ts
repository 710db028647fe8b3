import type { core, Pod } from '@slipway/api';

export interface GuestfsPodOptions {
  readonly claim: string;
  readonly image: string;
  readonly pullPolicy: string;
  readonly isBlock: boolean;
  readonly kvm: boolean;
  readonly root?: boolean;
  readonly userId: number | undefined;
  readonly groupId: number | undefined;
  readonly fileGroupId: number | undefined;
}

/** Where a VM may run; the tools then run there too. */
export interface Placement {
  readonly labels?: Record<string, string> | undefined;
  readonly tolerations?: core.Toleration[];
  readonly affinity?: core.Affinity;
  readonly nodeSelector?: Record<string, string>;
}

const CONTAINER = 'libguestfs';
const SCRATCH = '/tmp/guestfs';
const HOME = '/home/guestfs';

export const podNameFor = (claim: string): string => `libguestfs-tools-${claim}`;

/** The pod that holds the tools and the claim (pure). */
export function guestfsPod(namespace: string, options: GuestfsPodOptions, placement: Placement = {}): Pod {
  const { claim, userId, groupId, fileGroupId } = options;
  const { labels, tolerations, affinity, nodeSelector } = placement;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: podNameFor(claim), namespace, ...(labels !== undefined && { labels }) },
    spec: {
      volumes: [
        { name: 'volume', persistentVolumeClaim: { claimName: claim } },
        { name: 'libguestfs-tmp-dir', emptyDir: {} },
        { name: 'guestfs', emptyDir: {} },
      ],
      containers: [container(options)],
      restartPolicy: 'Never',
      securityContext: {
        runAsNonRoot: options.root !== true,
        ...(userId !== undefined && { runAsUser: userId }),
        ...(groupId !== undefined && { runAsGroup: groupId }),
        ...(fileGroupId !== undefined && { fsGroup: fileGroupId }),
        seccompProfile: { type: 'RuntimeDefault' },
      },
      ...(tolerations !== undefined && { tolerations }),
      ...(affinity !== undefined && { affinity }),
      ...(nodeSelector !== undefined && { nodeSelector }),
    },
  };
}

function container({ image, pullPolicy, isBlock, kvm }: GuestfsPodOptions): core.Container {
  const disk = isBlock ? { volumeDevices: [{ name: 'volume', devicePath: '/dev/vda' }] } : { workingDir: '/disk' };
  return {
    name: CONTAINER,
    image,
    command: ['/entrypoint.sh'],
    ...disk,
    env: [
      { name: 'LIBGUESTFS_BACKEND', value: 'direct' }, // QEMU itself, without libvirt
      { name: 'LIBGUESTFS_PATH', value: '/usr/local/lib/guestfs/appliance' },
      { name: 'LIBGUESTFS_TMPDIR', value: SCRATCH },
      { name: 'HOME', value: HOME },
    ],
    resources: kvm ? { limits: { 'devices.kubevirt.io/kvm': '1' } } : {},
    volumeMounts: [
      { name: 'libguestfs-tmp-dir', mountPath: SCRATCH },
      { name: 'guestfs', mountPath: HOME },
      ...(isBlock ? [] : [{ name: 'volume', mountPath: '/disk' }]),
    ],
    imagePullPolicy: pullPolicy,
    securityContext: { capabilities: { drop: ['ALL'] }, allowPrivilegeEscalation: false },
    stdin: true,
    tty: true,
  };
}
