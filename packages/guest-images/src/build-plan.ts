import type { GuestScript } from './tiny/guest-scripts.ts';

/** One step of building an image. Paths are relative to the work directory; packages are unpacked below `root/`. */
export type BuildStep =
  | {
      readonly kind: 'packages';
      readonly title: string;
      readonly names: readonly string[];
      readonly withLibraries: readonly string[];
      /** Where they are unpacked. */
      readonly target: string;
    }
  | {
      readonly kind: 'debootstrap';
      readonly title: string;
      readonly suite: string;
      readonly include: readonly string[];
      readonly target: string;
    }
  | { readonly kind: 'initrd'; readonly title: string; readonly contents: InitrdContents; readonly path: string }
  | { readonly kind: 'kernel'; readonly title: string; readonly boot: string; readonly path: string; readonly initrd?: string }
  | { readonly kind: 'file'; readonly title: string; readonly path: string; readonly content: string; readonly mode?: number }
  | { readonly kind: 'command'; readonly title: string; readonly argv: readonly [string, ...string[]] }
  | { readonly kind: 'disk'; readonly title: string; readonly path: string; readonly layout: DiskLayout };

/** What goes into the initramfs of a tiny guest besides busybox and its applets. */
export interface InitrdContents {
  readonly scripts: readonly GuestScript[];
  /** Dynamically linked programs; their libraries are found and added. Path in the package tree to path in the guest. */
  readonly programs: readonly { readonly from: string; readonly to: string }[];
  /** Loaded at boot, in this order. */
  readonly bootModules: readonly string[];
  /** Loaded when a device with a matching modalias is present. */
  readonly demandModules: readonly string[];
}

/** A disk with an MBR whose partitions are files placed at offsets; GRUB's BIOS part lies in the gap before the first. */
export interface DiskLayout {
  readonly sizeMiB: number;
  readonly bootImage: string;
  readonly coreImage: string;
  readonly partitions: readonly Partition[];
}

export interface Partition {
  /** Absent: the step before wrote the partition into the disk already. */
  readonly image?: string;
  readonly startMiB: number;
  readonly sizeMiB: number;
  /** MBR type byte. */
  readonly type: number;
  readonly active: boolean;
}

/** A program the build needs on the host and the Debian package that has it. */
export interface HostTool {
  readonly program: string;
  readonly package: string;
}

/** A build as data: equal plans make equal images up to the versions of the Debian packages. */
export interface BuildPlan {
  readonly tools: readonly HostTool[];
  readonly steps: readonly BuildStep[];
  /** Files of the work directory that make up the result. */
  readonly results: { readonly raw: string; readonly kernel: string; readonly initrd: string };
}
