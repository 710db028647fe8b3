import { SHARED_PROVISIONER, sharedVolumeUid } from '@slipway/api';
import { deepEqual, forbidden, isObject, type UnstructuredObject } from '@slipway/apimachinery';
import type { AdmissionRequest } from '@slipway/runtime';
import { MIGRATION_TARGET_LABEL, nodeNameOf, nodeOfObject, sourceHostOf, targetOfGuest } from '../authz/node-authorizer.ts';
import type { RbacSource } from '../authz/rbac.ts';
import type { AdmissionPlugin } from './admission-chain.ts';

const SELECTED_NODE = 'volume.kubernetes.io/selected-node';
/** Kinds of volume sources that a node's provisioner may offer: directories of its own. */
const OWN_SOURCE = 'local';
/** What the fields of a volume other than its source are called. */
const VOLUME_FIELDS: readonly string[] = [
  'accessModes',
  'capacity',
  'claimRef',
  'mountOptions',
  'nodeAffinity',
  'persistentVolumeReclaimPolicy',
  'storageClassName',
  'volumeAttributesClassName',
  'volumeMode',
];

type Check = (request: AdmissionRequest, node: string, source: RbacSource) => string | undefined;

/** By `group/resource`: why a node may not write this; undefined when it may. */
const CHECKS: Readonly<Record<string, Check>> = {
  '/nodes': ownName,
  'coordination.k8s.io/leases': (request, node) =>
    ownName(request, node) ??
    (request.namespace === 'kube-node-lease' ? undefined : 'node leases are kept in the namespace "kube-node-lease"'),
  '/pods': (request, node) => onNode(request, node) ?? sameSpec(request),
  'kubevirt.io/virtualmachineinstances': (request, node) => guestComplaint(request, node) ?? sameSpec(request),
  '/persistentvolumes': (request, node, source) => onNode(request, node) ?? volumeComplaint(request, node, source),
  'snapshot.storage.k8s.io/volumesnapshotcontents': (request, node) => onNode(request, node) ?? sameSpec(request),
  '/events': ({ object, oldObject }, node) =>
    [object, oldObject].every((one) => one === undefined || sourceHostOf(one) === node)
      ? undefined
      : `it was not reported by node ${JSON.stringify(node)}`,
};

/**
 * Objects a node agent writes must be its own: its Node, its Lease, pods and instances bound to it, volumes that lie on
 * it, events that it reports. What others decide about them stays as it is.
 */
export function nodeRestriction(source: RbacSource): AdmissionPlugin {
  return {
    name: 'NodeRestriction',
    validate(request) {
      const { user, resource, group, name } = request;
      const node = nodeNameOf(user);
      const complaint = node === undefined ? undefined : CHECKS[`${group}/${resource}`]?.(request, node, source);
      if (complaint !== undefined) throw forbidden({ resource, group }, name, complaint);
    },
  };
}

function ownName({ resource, name }: AdmissionRequest, node: string): string | undefined {
  if (name === node) return undefined;
  return `node ${JSON.stringify(node)} is not allowed to modify ${resource} ${JSON.stringify(name)}`;
}

function onNode({ object, oldObject, operation }: AdmissionRequest, node: string): string | undefined {
  const isOwn = [object, oldObject].every((one) => one === undefined || nodeOfObject(one) === node);
  return isOwn ? undefined : `it is not on node ${JSON.stringify(node)} (${operation})`;
}

/** What the target of a migration writes of a guest that is still elsewhere. */
const TARGET_STATUS: readonly string[] = ['migrationState', 'nodeName'];
const NODE_NAME_LABEL = 'kubevirt.io/nodeName';
const TARGET_LABELS: readonly string[] = [NODE_NAME_LABEL, MIGRATION_TARGET_LABEL];

const without = (value: unknown, names: readonly string[]): object =>
  Object.fromEntries(Object.entries(isObject(value) ? value : {}).filter(([name]) => !names.includes(name)));

/** An instance belongs to the node of its guest; the node that its guest moves to writes how that goes, and takes it over. */
function guestComplaint(request: AdmissionRequest, node: string): string | undefined {
  const { object, oldObject } = request;
  const isComing = object !== undefined && oldObject !== undefined && targetOfGuest(oldObject) === node;
  if (!isComing || nodeOfObject(oldObject) === node) return onNode(request, node);
  const owner = nodeOfObject(object);
  if (owner !== node && owner !== nodeOfObject(oldObject)) return 'the target of a migration may take the guest for itself only';
  const label = object.metadata.labels?.[NODE_NAME_LABEL];
  if (owner === node ? label !== node : label !== oldObject.metadata.labels?.[NODE_NAME_LABEL])
    return 'the label of an instance names the node of its guest';
  const fixed = ({ metadata, status }: UnstructuredObject): object => ({
    status: without(status, TARGET_STATUS),
    labels: without(metadata.labels, TARGET_LABELS),
    annotations: metadata.annotations,
    finalizers: metadata.finalizers,
    ownerReferences: metadata.ownerReferences,
  });
  return deepEqual(fixed(object), fixed(oldObject)) ? undefined : 'the target of a migration may write its state only';
}

/** A node that could change what shall run could refer to secrets, and then read them. */
function sameSpec({ object, oldObject }: AdmissionRequest): string | undefined {
  if (object === undefined || oldObject === undefined) return undefined;
  return deepEqual(object['spec'], oldObject['spec']) ? undefined : 'a node may not change its spec';
}

/** A volume is made for the claim that was given to this node; afterwards only its size changes. */
function volumeComplaint({ object, oldObject }: AdmissionRequest, node: string, source: RbacSource): string | undefined {
  if (object === undefined) return undefined;
  if (oldObject !== undefined) {
    const fixed = (volume: UnstructuredObject): object => ({ ...specOf(volume), capacity: undefined });
    return deepEqual(fixed(object), fixed(oldObject)) ? undefined : 'a node may only change the capacity of a volume';
  }
  const spec = specOf(object);
  const { claimRef } = spec;
  if (!isObject(claimRef)) return 'a node makes volumes for claims only';
  const allowed = isSharedSource(spec['csi'], claimRef) ? 'csi' : OWN_SOURCE;
  const foreign = Object.keys(spec).find((field) => field !== allowed && !VOLUME_FIELDS.includes(field));
  if (foreign !== undefined) return `a node offers local volumes only, not ${JSON.stringify(foreign)}`;
  const claim = source.lookup('', 'persistentvolumeclaims', String(claimRef['namespace']), String(claimRef['name']));
  const isGiven = claim?.metadata.uid === claimRef['uid'] && claim?.metadata.annotations?.[SELECTED_NODE] === node;
  return isGiven ? undefined : `its claim was not given to node ${JSON.stringify(node)}`;
}

/** The directory that all nodes reach, and in it the volume of this claim alone. */
const isSharedSource = (csi: unknown, { uid }: Record<string, unknown>): boolean =>
  isObject(csi) && typeof uid === 'string' && deepEqual(csi, { driver: SHARED_PROVISIONER, volumeHandle: sharedVolumeUid(uid) });

function specOf(object: UnstructuredObject): Record<string, unknown> {
  return isObject(object['spec']) ? object['spec'] : {};
}
