const MIB = 1024 * 1024;

/** Memory that a guest costs beyond its own, by part. */
export interface OverheadFigures {
  /** Processes around QEMU, and QEMU without its guest. */
  readonly fixedBytes: number;
  readonly perVcpuBytes: number;
  readonly ioBytes: number;
  readonly graphicsBytes: number;
  readonly tpmBytes: number;
  /** Reserved for real-time and other guests that may not be squeezed. */
  readonly guaranteedBytes: number;
  /** Guest memory divided by this is added for page tables; 0: not added. */
  readonly pageTableDivisor: number;
  /** Bounded translation cache of software emulation; 0 under KVM. */
  readonly translationCacheBytes: number;
}

/** How a release lays out its launcher pods; everything else is the same in all of them. */
export interface LauncherProfile {
  readonly overhead: OverheadFigures;
  /** Where the serial console is copied to the pod's log: its own container, a side-car init container, or by the node agent. */
  readonly consoleLog: 'container' | 'init-container' | 'node-agent';
  /** Container disks as image volumes instead of containers that serve them over a socket. */
  readonly imageVolumes: boolean;
  /** Container disks and hooks need helper containers at all; the node agent of this product does their work. */
  readonly helperContainers: boolean;
  /**
   * Also the version of the launcher: guests whose pod has another image count as outdated (`kubevirt.io/outdatedLauncherImage`)
   * and are moved as `workloadUpdateStrategy` says. So it gets a new tag (`…:v2`) in a build whose launcher they should have, and
   * only then; the node agent does not look at tags.
   */
  readonly image: string;
  /** Labels and annotations that came after the first supported release. */
  readonly currentMetadata: boolean;
  /** Node label that marks nodes with dedicated CPUs. */
  readonly cpuManagerLabel: string;
}

const kubevirtFigures = (fixedMiB: number, graphicsMiB: number): OverheadFigures => ({
  fixedBytes: fixedMiB * MIB,
  perVcpuBytes: 8 * MIB,
  ioBytes: 8 * MIB,
  graphicsBytes: graphicsMiB * MIB,
  tpmBytes: 53 * MIB,
  guaranteedBytes: 100 * MIB,
  pageTableDivisor: 512,
  translationCacheBytes: 0,
});

/**
 * Measured here: QEMU's base 35 MiB, private libvirtd 9 MiB, framebuffer and VNC 8 MiB, swtpm 7 MiB, and under software
 * emulation the translation cache that the domain's `tb-cache` bounds. The one place for these figures.
 */
const SLIPWAY_FIGURES: OverheadFigures = {
  fixedBytes: 44 * MIB,
  perVcpuBytes: 0,
  ioBytes: 0,
  graphicsBytes: 8 * MIB,
  tpmBytes: 7 * MIB,
  guaranteedBytes: 0,
  pageTableDivisor: 512,
  translationCacheBytes: 32 * MIB,
};

/** Pods of the embedded platform: one container, whose image the node agent recognises. */
export const SLIPWAY_PROFILE: LauncherProfile = {
  overhead: SLIPWAY_FIGURES,
  consoleLog: 'node-agent',
  imageVolumes: false,
  helperContainers: false,
  image: 'slipway/virt-launcher',
  currentMetadata: true,
  cpuManagerLabel: 'kubevirt.io/cpumanager',
};

/** Pods as KubeVirt at the supported API level renders them. */
export const KUBEVIRT_PROFILE: LauncherProfile = {
  overhead: kubevirtFigures(240, 32),
  consoleLog: 'init-container',
  imageVolumes: true,
  helperContainers: true,
  image: 'slipway/virt-launcher',
  currentMetadata: true,
  cpuManagerLabel: 'kubevirt.io/cpumanager',
};

/** Pods as KubeVirt 1.1 rendered them: what recorded pods are compared with. */
export const KUBEVIRT_1_1_PROFILE: LauncherProfile = {
  overhead: kubevirtFigures(210, 16),
  consoleLog: 'container',
  imageVolumes: false,
  helperContainers: true,
  image: 'example.org/kubevirt/virt-launcher:v1.1.0',
  currentMetadata: false,
  cpuManagerLabel: 'cpumanager',
};
