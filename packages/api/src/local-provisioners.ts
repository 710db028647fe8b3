/** Provisioner of node-local volumes; a class that names it is an alias of `local`. */
export const LOCAL_PROVISIONER = 'local.slipway.dev';

/** Provisioner names of the hostpath provisioner: the CSI driver, and the one before it. */
export const HOSTPATH_PROVISIONERS = ['kubevirt.io.hostpath-provisioner', 'kubevirt.io/hostpath-provisioner'] as const;

/** The pool of a class of the hostpath provisioner that names none, which is also that of `spec.pathConfig`. */
export const LEGACY_POOL = 'legacy';

/** Whether the node agents make the volumes of this provisioner, in directories of their node. */
export const isLocalProvisioner = (provisioner: string | undefined): boolean =>
  provisioner === LOCAL_PROVISIONER || HOSTPATH_PROVISIONERS.some((name) => name === provisioner);
