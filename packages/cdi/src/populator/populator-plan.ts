import {
  type PersistentVolumeClaim,
  SNAPSHOT_GROUP,
  type VolumeCloneSource,
  type VolumeImportSource,
  type VolumeUploadSource,
} from '@slipway/api';
import { Annotation } from '../constants.ts';
import type { CloneReference } from '../data-volume/clone-authorization.ts';
import { importAnnotations } from '../import/import-annotations.ts';

const CDI_GROUP = 'cdi.kubevirt.io';

export type PopulationSource =
  | { readonly kind: 'VolumeImportSource'; readonly source: VolumeImportSource }
  | { readonly kind: 'VolumeUploadSource'; readonly source: VolumeUploadSource }
  | { readonly kind: 'VolumeCloneSource'; readonly source: VolumeCloneSource };

/** The population source that a claim names, when it is one of CDI's. */
export function populationRef({ spec }: PersistentVolumeClaim): { readonly kind: string; readonly name: string } | undefined {
  const source = spec?.dataSourceRef ?? spec?.dataSource;
  return source?.apiGroup === CDI_GROUP ? { kind: source.kind, name: source.name } : undefined;
}

/** The claim's request in CDI's annotations, by which the workers fill it; undefined when it has one already. */
export function populationRequest(
  { metadata }: PersistentVolumeClaim,
  { kind, source }: PopulationSource,
  planClone?: (reference: CloneReference) => Record<string, string>,
): Record<string, string> | undefined {
  const { annotations = {}, namespace = '' } = metadata;
  if (annotations[Annotation.populator] !== undefined) return undefined;
  const { preallocation } = source.spec;
  const shared = {
    [Annotation.populator]: kind,
    ...(preallocation !== undefined && { [Annotation.preallocation]: String(preallocation) }),
  };
  switch (kind) {
    case 'VolumeImportSource':
      return { ...shared, ...contentType(source.spec), ...importAnnotations(source.spec.source ?? {}) };
    case 'VolumeUploadSource':
      return { ...shared, ...contentType(source.spec), [Annotation.uploadTarget]: '' };
    case 'VolumeCloneSource': {
      const { apiGroup, kind: sourceKind, name } = source.spec.source;
      const isSnapshot = apiGroup === SNAPSHOT_GROUP && sourceKind === 'VolumeSnapshot';
      // a source of a claim's own namespace needs no further rights than the claim
      const reference = { kind: isSnapshot ? 'VolumeSnapshot' : 'PersistentVolumeClaim', namespace, name } as const;
      return planClone && { ...shared, ...planClone(reference) };
    }
    default:
      return undefined;
  }
}

const contentType = (spec: { readonly contentType?: string }): Record<string, string> => ({
  [Annotation.contentType]: spec.contentType || 'kubevirt',
});
