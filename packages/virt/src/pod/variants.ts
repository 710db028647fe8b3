import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { LAUNCHER_UID, type LauncherContext, type RenderedPod } from './context.ts';
import { helperResources } from './resources.ts';

/** Image of attachment pods on a platform whose node agent does the helpers' work: nothing runs in them. */
export const HOTPLUG_IMAGE = 'slipway/hotplug-disk';
/** Said explicitly, because a quota of the namespace may demand that every pod says what it needs. */
const NOTHING = { cpu: '0', memory: '0' };

export interface AttachedVolume {
  readonly name: string;
  readonly claimName: string;
  readonly isBlock: boolean;
}

function selinuxLevel(vmi: VirtualMachineInstance): string | undefined {
  const context = vmi.status?.selinuxContext;
  return context === undefined || context === 'none' ? undefined : context.split(':').slice(3).join(':');
}

/** The pod that holds hotplugged claims on the node of a running guest. */
export function renderHotplugPod(
  vmi: VirtualMachineInstance,
  owner: Pick<Pod, 'metadata' | 'spec'>,
  volumes: readonly AttachedVolume[],
  context: LauncherContext,
): RenderedPod {
  const level = selinuxLevel(vmi);
  const blocks = volumes.filter(({ isBlock }) => isBlock);
  const files = volumes.filter(({ isBlock }) => !isBlock);
  const { profile } = context;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      generateName: 'hp-volume-',
      namespace: vmi.metadata.namespace ?? 'default',
      labels: { 'kubevirt.io': 'hotplug-disk' },
      ...(profile.currentMetadata && {
        annotations: {
          'kubevirt.io/owner-vmi-name': vmi.metadata.name ?? '',
          'kubevirt.io/owner-vmi-uid': vmi.metadata.uid ?? '',
        },
      }),
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: 'Pod',
          name: owner.metadata.name ?? '',
          uid: owner.metadata.uid ?? '',
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      containers: [
        {
          name: 'hotplug-disk',
          image: profile.helperContainers ? profile.image : HOTPLUG_IMAGE,
          command: ['/usr/bin/container-disk', '--copy-path', '/path/hp'],
          resources: profile.helperContainers
            ? helperResources('hotplug-disk', !profile.currentMetadata, context)
            : { limits: NOTHING, requests: NOTHING },
          securityContext: {
            allowPrivilegeEscalation: false,
            runAsNonRoot: true,
            runAsUser: LAUNCHER_UID,
            seccompProfile: { type: 'RuntimeDefault' },
            capabilities: { drop: ['ALL'] },
            ...(level !== undefined && { seLinuxOptions: { level } }),
          },
          volumeMounts: [
            { name: 'hotplug-disks', mountPath: '/path', mountPropagation: 'HostToContainer' },
            ...files.map(({ name }) => ({ name, mountPath: `/${name}` })),
          ],
          ...(blocks.length > 0 && { volumeDevices: blocks.map(({ name }) => ({ name, devicePath: `/path/${name}/` })) }),
        },
      ],
      volumes: [
        { name: 'hotplug-disks', emptyDir: {} },
        ...volumes.map(({ name, claimName }) => ({ name, persistentVolumeClaim: { claimName } })),
      ],
      terminationGracePeriodSeconds: 0,
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [
              { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [owner.spec?.nodeName ?? ''] }] },
            ],
          },
        },
      },
      ...(owner.spec?.tolerations && { tolerations: owner.spec.tolerations }),
    },
  };
}
