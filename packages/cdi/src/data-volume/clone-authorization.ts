import { type DataSource, DataSourceKind, type DataVolume } from '@slipway/api';
import { ignoreNotFound, type ObjectKey } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type AccessQuestion, isAllowed, type UserInfo } from '@slipway/runtime';
import { Annotation } from '../constants.ts';

/** A claim or snapshot that somebody wants to clone. */
export interface CloneReference extends ObjectKey {
  readonly kind: 'PersistentVolumeClaim' | 'VolumeSnapshot';
}

type Question = Pick<AccessQuestion, 'group' | 'resource' | 'subresource'>;

const SOURCE: Question = { group: 'cdi.kubevirt.io', resource: 'datavolumes', subresource: 'source' };
const PODS: Question = { group: '', resource: 'pods' };
// KubeVirt-compat: there is no such resource, so that only wildcards grant it
const CLAIMS: Question = { group: '', resource: 'pvcs' };

/**
 * Asks whether somebody may clone a source of another namespace. `create` on `datavolumes/source` is the right for it;
 * who may create pods there can read its claims anyway, but not its snapshots.
 */
export async function mayClone(client: Client, user: UserInfo, source: CloneReference, signal?: AbortSignal): Promise<boolean> {
  const { namespace, name } = source;
  const ask = (question: Question): Promise<boolean> =>
    isAllowed(client, user, { ...question, namespace, name, verb: 'create' }, signal);
  if (await ask(SOURCE)) return true;
  if (!(await ask(PODS))) return false;
  return source.kind === 'PersistentVolumeClaim' || ask(CLAIMS);
}

/** What CDI says to whoever may not clone. */
export const denial = (username: string, namespace: string): string =>
  `User ${username} has insufficient permissions in clone source namespace ${namespace}`;

/** A claim or snapshot in `source`, with its kind. */
export function referenceIn(source: DataSource['spec']['source']): CloneReference | undefined {
  const { pvc, snapshot } = source;
  if (pvc) return { kind: 'PersistentVolumeClaim', namespace: pvc.namespace, name: pvc.name };
  return snapshot && { kind: 'VolumeSnapshot', namespace: snapshot.namespace, name: snapshot.name };
}

/**
 * What a new DataVolume would clone, as far as it can be known now; a DataSource that does not exist yet is looked at
 * again when the clone begins. Undefined too for a DataVolume whose claim is there already, or made elsewhere.
 */
export async function requestedSource({ spec, metadata }: DataVolume, client: Client): Promise<CloneReference | undefined> {
  const { annotations = {}, namespace = '' } = metadata;
  if (annotations[Annotation.prePopulated] !== undefined || annotations[Annotation.checkStaticVolume] !== undefined)
    return undefined;
  if (spec.sourceRef?.kind !== 'DataSource') return referenceIn(spec.source ?? {});
  const first = await find(client, { namespace: spec.sourceRef.namespace ?? namespace, name: spec.sourceRef.name });
  const next = first?.spec.source.dataSource;
  const source = next === undefined ? first : await find(client, next);
  return source && referenceIn(source.spec.source);
}

async function find(client: Client, key: ObjectKey): Promise<DataSource | undefined> {
  return client.get(DataSourceKind, key).catch(ignoreNotFound);
}
