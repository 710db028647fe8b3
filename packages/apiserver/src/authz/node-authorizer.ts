import { isLocalProvisioner, parseLocalHandle, PROVISIONING_NODE, SHARED_PROVISIONER } from '@slipway/api';
import { type UnstructuredObject, isObject } from '@slipway/apimachinery';
import { type AuthorizationRequest, type Authorizer, NO_OPINION } from './authorizer.ts';
import type { RbacSource } from './rbac.ts';

export const NODES_GROUP = 'system:nodes';
const NODE_USER = 'system:node:';

/** Name of the node a user is, undefined for everybody else. */
export function nodeNameOf(user: { readonly username: string; readonly groups: readonly string[] }): string | undefined {
  if (!user.username.startsWith(NODE_USER) || !user.groups.includes(NODES_GROUP)) return undefined;
  return user.username.slice(NODE_USER.length) || undefined;
}

const READ: readonly string[] = ['get', 'list', 'watch'];
const CHANGE: readonly string[] = ['get', 'update', 'patch'];

/** What an agent may do with a kind: everywhere, or only where the object belongs to its node. */
interface NodeRule {
  readonly group: string;
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly scope: 'any' | 'own-node' | 'referenced' | 'own-name' | 'own-source' | 'own-request';
}

/**
 * Lists and watches of pods and instances are allowed as a whole, since a selector decides what they show; secrets and
 * configuration are readable one by one, when something on the node refers to them.
 */
const RULES: readonly NodeRule[] = [
  { group: '', resources: ['nodes', 'nodes/status'], verbs: [...CHANGE, 'create', 'delete'], scope: 'own-name' },
  {
    group: '',
    resources: ['nodes', 'services', 'endpoints', 'persistentvolumes', 'persistentvolumeclaims', 'namespaces'],
    verbs: READ,
    scope: 'any',
  },
  { group: '', resources: ['pods'], verbs: READ, scope: 'any' },
  // what the packet filter of a node is made from
  { group: 'discovery.k8s.io', resources: ['endpointslices'], verbs: READ, scope: 'any' },
  { group: 'networking.k8s.io', resources: ['networkpolicies'], verbs: READ, scope: 'any' },
  { group: '', resources: ['pods', 'pods/status'], verbs: ['update', 'patch', 'delete'], scope: 'own-node' },
  { group: '', resources: ['secrets', 'configmaps', 'serviceaccounts'], verbs: ['get'], scope: 'referenced' },
  { group: '', resources: ['serviceaccounts/token'], verbs: ['create'], scope: 'referenced' },
  {
    group: '',
    resources: ['persistentvolumes'],
    verbs: ['create', 'update', 'patch', 'delete'],
    scope: 'own-node',
  },
  { group: '', resources: ['events'], verbs: ['create', 'update', 'patch'], scope: 'own-source' },
  { group: 'coordination.k8s.io', resources: ['leases'], verbs: [...CHANGE, 'create', 'delete'], scope: 'own-name' },
  {
    group: 'storage.k8s.io',
    resources: ['storageclasses', 'volumeattachments', 'csidrivers', 'csinodes'],
    verbs: READ,
    scope: 'any',
  },
  {
    group: 'kubevirt.io',
    resources: ['virtualmachineinstances', 'kubevirts', 'virtualmachineinstancemigrations'],
    verbs: READ,
    scope: 'any',
  },
  {
    group: 'kubevirt.io',
    resources: ['virtualmachineinstances', 'virtualmachineinstances/status'],
    verbs: ['update', 'patch'],
    scope: 'own-node',
  },
  {
    group: 'cdi.kubevirt.io',
    // a VolumeCloneSource is the permission to clone a claim of its namespace
    resources: ['datavolumes', 'storageprofiles', 'cdiconfigs', 'volumeclonesources'],
    verbs: READ,
    scope: 'any',
  },
  {
    group: 'snapshot.storage.k8s.io',
    resources: ['volumesnapshots', 'volumesnapshotcontents'],
    verbs: READ,
    scope: 'any',
  },
  {
    group: 'snapshot.storage.k8s.io',
    resources: ['volumesnapshotcontents', 'volumesnapshotcontents/status'],
    verbs: ['update', 'patch'],
    scope: 'own-node',
  },
  { group: 'certificates.k8s.io', resources: ['certificatesigningrequests'], verbs: ['create'], scope: 'any' },
  { group: 'certificates.k8s.io', resources: ['certificatesigningrequests'], verbs: READ, scope: 'own-request' },
  { group: 'hostpathprovisioner.kubevirt.io', resources: ['hostpathprovisioners'], verbs: READ, scope: 'any' },
  { group: 'k8s.cni.cncf.io', resources: ['network-attachment-definitions', 'multi-networkpolicies'], verbs: READ, scope: 'any' },
  { group: 'node.slipway.dev', resources: ['nodes/tunnel', 'nodes/streams'], verbs: ['get', 'create'], scope: 'own-name' },
];

/** Rights of node agents: only what belongs to the node whose certificate is shown. */
export function nodeAuthorizer(source: RbacSource): Authorizer {
  return (request) => {
    const node = nodeNameOf(request.user);
    if (node === undefined || !request.isResource) return NO_OPINION;
    const wanted = request.subresource === '' ? request.resource : `${request.resource}/${request.subresource}`;
    const allows = RULES.some(
      (rule) =>
        rule.group === request.group &&
        rule.resources.includes(wanted) &&
        rule.verbs.includes(request.verb) &&
        isInScope(rule, request, node, source),
    );
    return allows
      ? { verdict: 'allow', reason: '' }
      : { verdict: 'no-opinion', reason: `node ${JSON.stringify(node)} may not do this` };
  };
}

function isInScope({ scope }: NodeRule, request: AuthorizationRequest, node: string, source: RbacSource): boolean {
  switch (scope) {
    case 'any':
      return true;
    case 'own-name':
      if (request.group === 'coordination.k8s.io' && request.namespace !== 'kube-node-lease') return false;
      // a create names its object in the body: admission compares it
      return request.name === node || (request.verb === 'create' && request.name === '');
    case 'own-node':
    case 'own-source': {
      const object = source.lookup(request.group, request.resource, request.namespace, request.name);
      // what does not exist is answered with 404 further on; admission looks again at what a write really meets
      if (object === undefined) return true;
      return scope === 'own-node' ? isOfNode(object, node) : sourceHostOf(object) === node;
    }
    case 'own-request':
      return request.name !== '' && isOwnRequest(request, source);
    case 'referenced':
      return request.name !== '' && isReferenced(request, node, source);
  }
}

/** A node sees the requests for certificates that it made itself. */
function isOwnRequest({ group, resource, name, user }: AuthorizationRequest, source: RbacSource): boolean {
  const object = source.lookup(group, resource, '', name);
  return object === undefined || fieldOf(object['spec'], 'username') === user.username;
}

/** Node an object belongs to: where a pod is bound, where an instance runs, where a volume is. */
export function nodeOfObject(object: UnstructuredObject): string | undefined {
  const { spec, status } = object;
  if (object.kind === 'PersistentVolume') return nodeOfVolume(object);
  if (object.kind === 'VolumeSnapshotContent') return nodeOfSnapshot(spec);
  return fieldOf(spec, 'nodeName') ?? fieldOf(status, 'nodeName');
}

/** On an instance: the node that its guest moves to. */
export const MIGRATION_TARGET_LABEL = 'kubevirt.io/migrationTargetNodeName';

/** Node to which the guest of an instance moves just now: its migration's controller has said so. */
export function targetOfGuest({ kind, metadata }: UnstructuredObject): string | undefined {
  return kind === 'VirtualMachineInstance' ? metadata.labels?.[MIGRATION_TARGET_LABEL] : undefined;
}

/** What belongs to the node, or comes to it. */
const isOfNode = (object: UnstructuredObject, node: string): boolean =>
  nodeOfObject(object) === node || targetOfGuest(object) === node;

/** Node that reported an event. */
export function sourceHostOf(event: UnstructuredObject): string | undefined {
  return fieldOf(event['source'], 'host');
}

function fieldOf(part: unknown, name: string): string | undefined {
  return isObject(part) && typeof part[name] === 'string' ? part[name] : undefined;
}

const HOSTNAME_LABEL = 'kubernetes.io/hostname';

/**
 * The one node on which a volume can be used, or whose agent made it for all nodes; undefined when there may be more or
 * when it is bound to none.
 */
function nodeOfVolume({ spec, metadata }: UnstructuredObject): string | undefined {
  if (isObject(spec) && isObject(spec['csi']) && spec['csi']['driver'] === SHARED_PROVISIONER)
    return metadata.annotations?.[PROVISIONING_NODE];
  if (!isObject(spec) || !isObject(spec['nodeAffinity']) || !isObject(spec['nodeAffinity']['required'])) return undefined;
  const terms = listOf(spec['nodeAffinity']['required']['nodeSelectorTerms']);
  const names = terms.flatMap((term) => {
    const wanted = listOf(term['matchExpressions']).find((one) => one['key'] === HOSTNAME_LABEL && one['operator'] === 'In');
    const values: unknown = wanted?.['values'];
    return Array.isArray(values) && values.length > 0 ? values : [undefined];
  });
  const [first] = names;
  return typeof first === 'string' && names.every((name) => name === first) ? first : undefined;
}

/** Node whose provisioner keeps a snapshot: its handle says so. */
function nodeOfSnapshot(spec: unknown): string | undefined {
  if (!isObject(spec) || !isLocalProvisioner(fieldOf(spec, 'driver'))) return undefined;
  const handle = fieldOf(spec['source'], 'volumeHandle') ?? fieldOf(spec['source'], 'snapshotHandle');
  return parseLocalHandle(handle)?.node;
}

function listOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** True when a pod or instance of the node names the object anywhere in its spec. */
function isReferenced({ namespace, name, resource }: AuthorizationRequest, node: string, source: RbacSource): boolean {
  const users = [
    ...source.lookupAll('', 'pods', namespace),
    ...source.lookupAll('kubevirt.io', 'virtualmachineinstances', namespace),
  ].filter((object) => isOfNode(object, node));
  return users.some((object) => mentions(object['spec'], resource, name));
}

const REFERENCE_FIELDS: Readonly<Record<string, readonly string[]>> = {
  secrets: [
    'secret',
    'secretRef',
    'secretKeyRef',
    'imagePullSecrets',
    'userDataSecretRef',
    'networkDataSecretRef',
    'sysprep',
    'accessCredentials',
  ],
  configmaps: ['configMap', 'configMapRef', 'configMapKeyRef', 'sysprep'],
  serviceaccounts: ['serviceAccount', 'serviceAccountName'],
};

function mentions(value: unknown, resource: string, name: string): boolean {
  const fields = REFERENCE_FIELDS[resource] ?? [];
  const visit = (node: unknown, isInside: boolean): boolean => {
    if (Array.isArray(node)) return node.some((item) => visit(item, isInside));
    if (!isObject(node)) return isInside && node === name;
    if (isInside && (node['name'] === name || node['secretName'] === name)) return true;
    return Object.entries(node).some(
      ([key, child]) =>
        visit(child, isInside || fields.includes(key)) && (isObject(child) || Array.isArray(child) || fields.includes(key)),
    );
  };
  return visit(value, false);
}
