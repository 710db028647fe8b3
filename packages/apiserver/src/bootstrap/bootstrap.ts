import { type UnstructuredObject, formatTime } from '@slipway/apimachinery';
import type { Operation, Store } from '@slipway/store';
import { RBAC_GROUP } from '../authz/rbac.ts';
import { StoredObject, deepFreeze, serializeObject, storeKey } from '../watch-cache/stored-object.ts';
import { defaultClusterRoleBindings, defaultClusterRoles } from './default-roles.ts';

const NAMESPACES = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];

function namespaceObject(name: string): UnstructuredObject {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels: { 'kubernetes.io/metadata.name': name } },
    spec: { finalizers: ['kubernetes'] },
    status: { phase: 'Active' },
  };
}

/** Puts the namespaces, roles and bindings every cluster has into the store; what is there stays as it is. */
export async function bootstrap(store: Store, deps: { readonly nowMs: () => number; readonly uid: () => string }): Promise<void> {
  const now = formatTime(deps.nowMs());
  const create = (group: string, plural: string, objects: readonly UnstructuredObject[]): Operation[] =>
    objects.flatMap((object) => {
      const key = storeKey({ group, plural }, '', object.metadata.name ?? '');
      if (store.get(key) !== undefined) return [];
      const complete = { ...object, metadata: { ...object.metadata, uid: deps.uid(), creationTimestamp: now } };
      return [{ type: 'put', key, value: (revision) => putValue(key, complete, revision) }];
    });
  const operations = [
    ...create('', 'namespaces', NAMESPACES.map(namespaceObject)),
    ...create(RBAC_GROUP, 'clusterroles', defaultClusterRoles()),
    ...create(RBAC_GROUP, 'clusterrolebindings', defaultClusterRoleBindings()),
  ];
  if (operations.length > 0) await store.transact([], operations);
}

/** The text and the frozen value of an object under its new revision. */
export function putValue(key: string, object: UnstructuredObject, revision: number): { value: string; attachment: StoredObject } {
  object.metadata.resourceVersion = String(revision);
  const value = serializeObject(object);
  return { value, attachment: new StoredObject(key, revision, value, deepFreeze(object)) };
}
