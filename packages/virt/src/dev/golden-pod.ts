import type { kubevirt, PersistentVolumeClaim, VirtualMachineInstance } from '@slipway/api';
import { clusterConfig } from '../config.ts';
import { autoLimits, type PodNamespace } from '../pod/auto-limits.ts';
import type { LauncherContext, NetworkResource, RenderedPod } from '../pod/context.ts';
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
  readonly resourceQuotas?: PodNamespace['quotas'];
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

function recordedLimits({ resourceQuotas, namespaces }: RecordedPod, configuration: kubevirt.KubeVirtConfiguration) {
  return autoLimits({ labels: namespaces?.[0]?.metadata?.labels ?? {}, quotas: resourceQuotas ?? [] }, configuration);
}

function configurationOf({ config }: RecordedPod, text: string | undefined): kubevirt.KubeVirtConfiguration {
  if (typeof config === 'object') return config;
  if (text !== undefined) return JSON.parse(text);
  return config === 'default' ? {} : RECORDED_PERMISSIVE;
}

/** The pod of one recorded case. `config` is the KubeVirt configuration as JSON text, for cases that only name theirs. */
export function goldenLauncherPod(document: object, extra: { readonly config?: string | undefined } = {}): RenderedPod {
  const recorded = document as RecordedPod; // a case of the recording
  const { vmi } = recorded;
  const configuration = configurationOf(recorded, extra.config);
  const context: LauncherContext = {
    config: clusterConfig(configuration),
    profile: KUBEVIRT_1_1_PROFILE,
    claims: new Map((recorded.pvcs ?? []).map((claim) => [claim.metadata.name ?? '', claim])),
    networkResources: recordedNetworks(vmi),
    autoLimits: recordedLimits(recorded, configuration),
  };
  return renderRecorded(recorded, context);
}

function renderRecorded(recorded: RecordedPod, context: LauncherContext): RenderedPod {
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
