/** Provisioner of node-local volumes; a class that names it is an alias of `local`. */
export const LOCAL_PROVISIONER = 'local.slipway.dev';

/** Provisioner names of the hostpath provisioner: the CSI driver, and the one before it. */
export const HOSTPATH_PROVISIONERS = ['kubevirt.io.hostpath-provisioner', 'kubevirt.io/hostpath-provisioner'] as const;

/** The pool of a class of the hostpath provisioner that names none, which is also that of `spec.pathConfig`. */
export const LEGACY_POOL = 'legacy';

/** Provisioner of volumes in a directory that all nodes of an installation reach. */
export const SHARED_PROVISIONER = 'shared.slipway.dev';

/** On a volume of `SHARED_PROVISIONER`: the node whose agent made it, and grows and removes it. */
export const PROVISIONING_NODE = 'slipway.dev/provisioning-node';

/** On a volume, by the agent of its node: the node to which its content went with a guest. */
export const MOVED_TO = 'slipway.dev/moved-to';

/** On a volume, by the agent of its node: the claim whose whole content it has, since a running guest was copied into it. */
export const COPIED_FROM = 'slipway.dev/copied-from';

/** Reason of a volume's status, by the agent of its guest: how much of it is copied into another claim. */
export const COPY_REASON = 'VolumeMigrating';

/**
 * Name of the directory of a claim's volume that all nodes reach: the claim's uid as a UUID of version 8, so that nobody
 * has to look up which of the two kinds a volume is.
 */
export const sharedVolumeUid = (claimUid: string): string => `${claimUid.slice(0, 14)}8${claimUid.slice(15)}`;

/** Whether this is the name of a volume that all nodes reach. */
export const isSharedVolumeUid = (volumeUid: string): boolean => volumeUid.charAt(14) === '8';

/** Whether the node agents make the volumes of this provisioner, in directories of their node or in one of all nodes. */
export const isLocalProvisioner = (provisioner: string | undefined): boolean =>
  provisioner === LOCAL_PROVISIONER ||
  provisioner === SHARED_PROVISIONER ||
  HOSTPATH_PROVISIONERS.some((name) => name === provisioner);
