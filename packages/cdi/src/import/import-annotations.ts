import type { DataVolume } from '@slipway/api';
import { Annotation } from '../constants.ts';

type Sources = NonNullable<DataVolume['spec']['source']>;

/** A source as annotations of a claim: CDI's API for imports without a DataVolume. */
export function importAnnotations(source: Sources): Record<string, string> {
  const { http, s3, gcs, registry, imageio, vddk, blank, upload } = source;
  if (blank) return { [Annotation.importSource]: 'none' };
  if (upload) return { [Annotation.uploadTarget]: '' };
  if (registry) return registryAnnotations(registry);
  if (s3) return remoteAnnotations('s3', s3);
  if (gcs) return remoteAnnotations('gcs', gcs);
  if (imageio) return imageioAnnotations(imageio);
  if (vddk) return vddkAnnotations(vddk);
  return http === undefined ? {} : httpAnnotations(http);
}

interface Remote {
  readonly url?: string;
  readonly secretRef?: string;
  readonly certConfigMap?: string;
}

const remoteAnnotations = (source: string, { url = '', secretRef, certConfigMap }: Remote): Record<string, string> => ({
  [Annotation.importSource]: source,
  [Annotation.importEndpoint]: url,
  ...(secretRef && { [Annotation.importSecret]: secretRef }),
  ...(certConfigMap && { [Annotation.importCertConfigMap]: certConfigMap }),
});

const httpAnnotations = (http: NonNullable<Sources['http']>): Record<string, string> => ({
  ...remoteAnnotations('http', http),
  ...(http.insecureSkipVerify && { [Annotation.importInsecure]: 'true' }),
  ...(http.checksum && { [Annotation.importChecksum]: http.checksum }),
  ...Object.fromEntries((http.extraHeaders ?? []).map((line, index) => [`${Annotation.importExtraHeader}${index}`, line])),
  ...Object.fromEntries(
    (http.secretExtraHeaders ?? []).map((name, index) => [`${Annotation.importSecretExtraHeader}${index}`, name]),
  ),
});

const registryAnnotations = (registry: NonNullable<Sources['registry']>): Record<string, string> => ({
  ...remoteAnnotations('registry', registry),
  ...(registry.pullMethod && { [Annotation.importPullMethod]: registry.pullMethod }),
  ...(registry.imageStream && { [Annotation.importImageStream]: registry.imageStream }),
  ...(registry.platform?.architecture && { [Annotation.importArchitecture]: registry.platform.architecture }),
});

const imageioAnnotations = (imageio: NonNullable<Sources['imageio']>): Record<string, string> => ({
  ...remoteAnnotations('imageio', imageio),
  [Annotation.importDiskId]: imageio.diskId,
  ...(imageio.insecureSkipVerify && { [Annotation.importInsecure]: 'true' }),
});

const vddkAnnotations = (vddk: NonNullable<Sources['vddk']>): Record<string, string> => ({
  ...remoteAnnotations('vddk', vddk),
  [Annotation.importUuid]: vddk.uuid ?? '',
  [Annotation.importBackingFile]: vddk.backingFile ?? '',
  [Annotation.importThumbprint]: vddk.thumbprint ?? '',
  ...(vddk.initImageURL && { [Annotation.vddkImage]: vddk.initImageURL }),
  ...(vddk.extraArgs && { [Annotation.vddkArguments]: vddk.extraArgs }),
});
