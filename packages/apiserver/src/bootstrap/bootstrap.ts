import { type UnstructuredObject, deepEqual, formatTime } from '@slipway/apimachinery';
import type { Operation, Store } from '@slipway/store';
import { defaultFlowSchemas, defaultPriorityLevels, FLOW_CONTROL_GROUP } from '../flow-control/default-objects.ts';
import { RBAC_GROUP } from '../authz/rbac.ts';
import { StoredObject, deepFreeze, serializeObject, storeKey } from '../watch-cache/stored-object.ts';
import { type Component, componentObjects } from './component-roles.ts';
import { extensionConfigMap, extensionReaderRole, type ExtensionAuthorities } from './extension-authentication.ts';
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

export interface BootstrapDeps {
  readonly nowMs: () => number;
  readonly uid: () => string;
  /** Parts of the platform, whose roles are brought up to date. */
  readonly components?: readonly Component[];
  /** Published for servers behind APIServices; kept up to date. */
  readonly authorities?: ExtensionAuthorities;
}

/** Puts the namespaces, roles and bindings every cluster has into the store; what is there stays as it is. */
export async function bootstrap(store: Store, deps: BootstrapDeps): Promise<void> {
  const now = formatTime(deps.nowMs());
  const create = (group: string, plural: string, objects: readonly UnstructuredObject[]): Operation[] =>
    objects.flatMap((object) => {
      const key = storeKey({ group, plural }, object.metadata.namespace ?? '', object.metadata.name ?? '');
      if (store.get(key) !== undefined) return [];
      const complete = { ...object, metadata: { ...object.metadata, uid: deps.uid(), creationTimestamp: now } };
      return [{ type: 'put', key, value: (revision) => putValue(key, complete, revision) }];
    });
  const components = componentObjects(deps.components ?? []);
  const published = deps.authorities === undefined ? [] : [extensionConfigMap(deps.authorities)];
  const operations = [
    ...create('', 'namespaces', NAMESPACES.map(namespaceObject)),
    ...create(RBAC_GROUP, 'clusterroles', defaultClusterRoles()),
    ...create(RBAC_GROUP, 'clusterrolebindings', defaultClusterRoleBindings()),
    ...create(RBAC_GROUP, 'roles', [extensionReaderRole()]),
    ...create(FLOW_CONTROL_GROUP, 'prioritylevelconfigurations', defaultPriorityLevels()),
    ...create(FLOW_CONTROL_GROUP, 'flowschemas', defaultFlowSchemas()),
    ...create('', 'configmaps', published),
    ...create(RBAC_GROUP, 'clusterroles', components.roles),
    ...create(RBAC_GROUP, 'clusterrolebindings', components.bindings),
    ...components.roles.flatMap((role) => renewed(store, { group: RBAC_GROUP, plural: 'clusterroles', field: 'rules' }, role)),
    ...published.flatMap((object) => renewed(store, { group: '', plural: 'configmaps', field: 'data' }, object)),
  ];
  if (operations.length > 0) await store.transact([], operations);
}

interface Part {
  readonly group: string;
  readonly plural: string;
  readonly field: 'rules' | 'data';
}

/** Replaces the content of a stored object of the platform when this version has another. */
function renewed(store: Store, { group, plural, field }: Part, object: UnstructuredObject): Operation[] {
  const key = storeKey({ group, plural }, object.metadata.namespace ?? '', object.metadata.name ?? '');
  const entry = store.get(key);
  if (entry === undefined) return [];
  const stored = JSON.parse(entry.value.toString()) as UnstructuredObject; // only objects are ever stored
  if (deepEqual(stored[field], object[field])) return [];
  return [{ type: 'put', key, value: (revision) => putValue(key, { ...stored, [field]: object[field] }, revision) }];
}

/** The text and the frozen value of an object under its new revision. */
export function putValue(key: string, object: UnstructuredObject, revision: number): { value: string; attachment: StoredObject } {
  object.metadata.resourceVersion = String(revision);
  const value = serializeObject(object);
  return { value, attachment: new StoredObject(key, revision, value, deepFreeze(object)) };
}
