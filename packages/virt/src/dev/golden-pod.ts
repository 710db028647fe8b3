import type { kubevirt, PersistentVolumeClaim, VirtualMachineInstance } from '@slipway/api';
import { clusterConfig } from '../config.ts';
import type { LauncherContext, NetworkResource } from '../pod/context.ts';
import { renderLauncherPod } from '../pod/launcher-pod.ts';
import { KUBEVIRT_1_1_PROFILE } from '../pod/profile.ts';
import { renderHotplugPod } from '../pod/variants.ts';
import { claimNameOf } from '../pod/volumes.ts';

interface RecordedPod {
  readonly mode?: 'launcher' | 'migration-target' | 'hotplug-attachment';
  readonly config?: string | kubevirt.KubeVirtConfiguration;
  readonly hotplugVolume?: string;
  readonly vmi: VirtualMachineInstance;
  readonly pvcs?: readonly PersistentVolumeClaim[];
  readonly namespaces?: readonly { readonly metadata?: { readonly labels?: Readonly<Record<string, string>> } }[];
  readonly resourceQuotas?: readonly { readonly spec?: { readonly hard?: Readonly<Record<string, string>> } }[];
}

// What the recording's network attachment definitions named as resources.
const RECORDED_RESOURCES: Readonly<Record<string, string>> = {
  'sriov-net': 'example.com/sriov',
  'sriov/sriov-network': 'example.com/sriov',
  'macvtap-net': 'macvtap.network.kubevirt.io/eth0',
};

function recordedNetworks(vmi: VirtualMachineInstance): readonly NetworkResource[] {
  return (vmi.spec.networks ?? []).flatMap(({ name, multus }) =>
    multus ? [{ network: name, resourceName: RECORDED_RESOURCES[multus.networkName] ?? '' }] : [],
  );
}

function recordedLimits(recorded: RecordedPod, config: kubevirt.KubeVirtConfiguration): LauncherContext['autoLimits'] {
  const hard = Object.assign({}, ...(recorded.resourceQuotas ?? []).map((quota) => quota.spec?.hard)) as Record<string, string>; // merged lists
  const labels = recorded.namespaces?.[0]?.metadata?.labels ?? {};
  const wanted = Object.entries((config.autoCPULimitNamespaceLabelSelector?.matchLabels ?? {}) as Record<string, string>); // string map
  const selected = wanted.length > 0 && wanted.every(([key, value]) => labels[key] === value);
  const ratio = Number(labels['alpha.kubevirt.io/auto-memory-limits-ratio'] ?? 2);
  return {
    cpu: 'limits.cpu' in hard || selected,
    ...('limits.memory' in hard && { memoryRatio: ratio }),
  };
}

/** The pod of one recorded case, as JSON. `config` is the text of the KubeVirt configuration when the case only names it. */
export function goldenLauncherPod(text: string, extra: { readonly config?: string | undefined } = {}): string {
  const recorded: RecordedPod = JSON.parse(text);
  const { vmi } = recorded;
  const given = typeof recorded.config === 'object' ? recorded.config : undefined;
  const configuration: kubevirt.KubeVirtConfiguration =
    given ?? (extra.config === undefined ? RECORDED_PERMISSIVE : JSON.parse(extra.config));
  const autoLimits = recordedLimits(recorded, configuration);
  const context: LauncherContext = {
    config: clusterConfig(configuration),
    profile: KUBEVIRT_1_1_PROFILE,
    claims: new Map((recorded.pvcs ?? []).map((claim) => [claim.metadata.name ?? '', claim])),
    networkResources: recordedNetworks(vmi),
    ...(autoLimits && { autoLimits }),
  };
  return JSON.stringify(renderRecorded(recorded, context), undefined, 2);
}

function renderRecorded(recorded: RecordedPod, context: LauncherContext) {
  const { vmi, mode = 'launcher' } = recorded;
  // A recorded target is the plain rendering; labels and anti-affinity of the migration are added to it afterwards.
  if (mode !== 'hotplug-attachment') return renderLauncherPod(vmi, context);
  const volume = (vmi.spec.volumes ?? []).find(({ name }) => name === recorded.hotplugVolume);
  const claimName = volume && claimNameOf(volume);
  const isBlock = context.claims.get(claimName ?? '')?.spec?.volumeMode === 'Block';
  const launcher = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'virt-launcher-owner', uid: 'owner' } };
  return renderHotplugPod(vmi, launcher, volume ? [{ name: volume.name, claimName: claimName ?? '', isBlock }] : [], context);
}

/** Stands for the recording's configuration "all" when a case comes without one: every alpha gate, its devices and plugins. */
const RECORDED_PERMISSIVE: kubevirt.KubeVirtConfiguration = {
  developerConfiguration: {
    featureGates: ['CPUManager', 'HypervStrictCheck', 'Sidecar', 'HostDevices', 'HostDisk', 'DownwardMetrics', 'VSOCK'],
  },
  permittedHostDevices: {
    pciHostDevices: [
      { pciVendorSelector: '10DE:1EB8', resourceName: 'nvidia.com/TU104GL_Tesla_T4' },
      { pciVendorSelector: '8086:1521', resourceName: 'intel.com/nic' },
    ],
    mediatedDevices: [{ mdevNameSelector: 'GRID T4-1Q', resourceName: 'nvidia.com/GRID_T4-1Q' }],
    usb: [{ resourceName: 'kubevirt.io/storage', selectors: [{ vendor: '46f4', product: '0001' }] }],
  },
  network: {
    binding: { mybinding: { sidecarImage: 'example.org/net-binding:1', networkAttachmentDefinition: 'default/mybinding-nad' } },
  },
};
