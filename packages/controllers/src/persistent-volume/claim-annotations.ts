/** Node whose provisioner is to make the volume. */
export const SELECTED_NODE = 'volume.kubernetes.io/selected-node';
export const BIND_COMPLETED = 'pv.kubernetes.io/bind-completed';
export const BOUND_BY_CONTROLLER = 'pv.kubernetes.io/bound-by-controller';
export const PROVISIONED_BY = 'pv.kubernetes.io/provisioned-by';
export const STORAGE_PROVISIONER = 'volume.kubernetes.io/storage-provisioner';
const BETA_STORAGE_PROVISIONER = 'volume.beta.kubernetes.io/storage-provisioner';

/** Asks a provisioner for a volume; both names are read by provisioners in the field. */
export const provisionerAnnotations = (provisioner: string): Record<string, string> => ({
  [STORAGE_PROVISIONER]: provisioner,
  [BETA_STORAGE_PROVISIONER]: provisioner,
});
