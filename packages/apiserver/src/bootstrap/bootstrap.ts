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

/**
 * Puts the namespaces, roles and bindings every cluster has into the store. What is there stays as it is, but that default
 * roles and their bindings get what this version adds, unless they are marked to be left alone.
 */
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
  const [roles, bindings] = [defaultClusterRoles(), defaultClusterRoleBindings()];
  const operations = [
    ...create('', 'namespaces', NAMESPACES.map(namespaceObject)),
    ...create(RBAC_GROUP, 'clusterroles', roles),
    ...create(RBAC_GROUP, 'clusterrolebindings', bindings),
    ...roles.flatMap((role) => extended(store, { group: RBAC_GROUP, plural: 'clusterroles', field: 'rules' }, role)),
    ...bindings.flatMap((one) => extended(store, { group: RBAC_GROUP, plural: 'clusterrolebindings', field: 'subjects' }, one)),
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
  readonly field: 'rules' | 'subjects' | 'data';
}

const AUTO_UPDATE = 'rbac.authorization.kubernetes.io/autoupdate';

/** Adds the entries that a stored default object lacks; what administrators have added stays, as with Kubernetes. */
function extended(store: Store, part: Part, object: UnstructuredObject): Operation[] {
  const stored = storedObject(store, part, object);
  // the rules of an aggregated role are those of its parts
  if (stored === undefined || stored.metadata.annotations?.[AUTO_UPDATE] === 'false' || 'aggregationRule' in object) return [];
  const [has, wanted] = [stored, object].map((one) => (one[part.field] ?? []) as readonly unknown[]); // lists, by schema
  const missing = (wanted ?? []).filter((entry) => !has?.some((known) => deepEqual(known, entry)));
  return missing.length === 0 ? [] : renewed(store, part, { ...object, [part.field]: [...(has ?? []), ...missing] });
}

function storedObject(store: Store, { group, plural }: Part, { metadata }: UnstructuredObject): UnstructuredObject | undefined {
  const entry = store.get(storeKey({ group, plural }, metadata.namespace ?? '', metadata.name ?? ''));
  return entry && (JSON.parse(entry.value.toString()) as UnstructuredObject); // only objects are ever stored
}

/** Replaces the content of a stored object of the platform when this version has another. */
function renewed(store: Store, part: Part, object: UnstructuredObject): Operation[] {
  const { group, plural, field } = part;
  const stored = storedObject(store, part, object);
  if (stored === undefined || deepEqual(stored[field], object[field])) return [];
  const key = storeKey({ group, plural }, object.metadata.namespace ?? '', object.metadata.name ?? '');
  return [{ type: 'put', key, value: (revision) => putValue(key, { ...stored, [field]: object[field] }, revision) }];
}

/** The text and the frozen value of an object under its new revision. */
export function putValue(key: string, object: UnstructuredObject, revision: number): { value: string; attachment: StoredObject } {
  object.metadata.resourceVersion = String(revision);
  const value = serializeObject(object);
  return { value, attachment: new StoredObject(key, revision, value, deepFreeze(object)) };
}
