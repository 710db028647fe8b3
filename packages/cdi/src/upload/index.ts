import { PersistentVolumeClaimKind, PodKind, SecretKind } from '@slipway/api';
import { allow, type PolicyRule } from '@slipway/runtime';

export { clusterUploadTokens } from './signing-key.ts';
export { uploadProxy } from './upload-proxy.ts';
export { uploadTokenApi } from './upload-token-api.ts';
export { uploadController } from './upload-controller.ts';

/** The component that answers uploads, and its rights: it reads claims and pods, and keeps its signing key. */
export const uploadServer: { readonly name: string; readonly rules: readonly PolicyRule[] } = {
  name: 'cdi-apiserver',
  rules: [...allow('get', PersistentVolumeClaimKind, PodKind), ...allow('get create', SecretKind)],
};
