import type { PersistentVolume, PersistentVolumeClaim } from '@slipway/api';

/** CDI's request to fill a claim from another one, `namespace/name`. */
export const CLONE_REQUEST = 'k8s.io/CloneRequest';

export interface SourceFacts {
  readonly claim: (namespace: string, name: string) => PersistentVolumeClaim | undefined;
  readonly volume: (name: string) => PersistentVolume | undefined;
}

/** Nodes that hold the volume a claim is to be cloned from: a node-local volume is cloned where it is. Undefined: any node. */
export function nodesOfCloneSource(claim: PersistentVolumeClaim, facts: SourceFacts): readonly string[] | undefined {
  const source = cloneSourceOf(claim);
  const volumeName = source && facts.claim(source.namespace, source.name)?.spec?.volumeName;
  const volume = volumeName ? facts.volume(volumeName) : undefined;
  const nodes = volume ? nodesOf(volume) : [];
  return nodes.length > 0 ? nodes : undefined;
}

function cloneSourceOf({ metadata, spec = {} }: PersistentVolumeClaim): { namespace: string; name: string } | undefined {
  const [requested = '', name = ''] = metadata.annotations?.[CLONE_REQUEST]?.split('/') ?? [];
  if (name !== '') return { namespace: requested, name };
  const { dataSourceRef, dataSource } = spec;
  const { namespace = '' } = metadata;
  if (dataSourceRef?.kind === 'PersistentVolumeClaim')
    return { namespace: dataSourceRef.namespace || namespace, name: dataSourceRef.name };
  return dataSource?.kind === 'PersistentVolumeClaim' ? { namespace, name: dataSource.name } : undefined;
}

/** Nodes that a volume's affinity names. */
export function nodesOf({ spec }: PersistentVolume): readonly string[] {
  const terms = spec?.nodeAffinity?.required?.nodeSelectorTerms ?? [];
  return terms.flatMap(({ matchExpressions = [] }) =>
    matchExpressions.flatMap(({ key, operator, values = [] }) =>
      key === 'kubernetes.io/hostname' && operator === 'In' ? values : [],
    ),
  );
}
