import { type Namespace, NamespaceKind, type NetworkPolicy, NetworkPolicyKind, RoleBindingKind } from '@slipway/api';
import { badRequest, ignoreNotFound, isAlreadyExists, isObject, StatusError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  type AccessQuestion,
  accessReviewRules,
  type AggregatedApi,
  allow,
  INFORMER_RULES,
  isAllowed,
  type PolicyRule,
  type RouteRequest,
  type RouteResponse,
  type UserInfo,
} from '@slipway/runtime';

const GROUP = 'project.openshift.io';
const RBAC = 'rbac.authorization.k8s.io';
const REQUESTER = 'openshift.io/requester';
const DISPLAY_NAME = 'openshift.io/display-name';
/** On a ProjectRequest: `isolated` keeps pods of other projects out. */
const NETWORK_ANNOTATION = 'slipway.dev/network-policy';
/** Of users and groups that the platform itself has: a request cannot be in their name. */
const ADMIN_ROLE = 'admin';

/** What the API does on its own account, for users who may ask it to. */
export const PROJECTS_COMPONENT: { readonly name: string; readonly rules: readonly PolicyRule[] } = {
  name: 'projects',
  rules: [
    ...INFORMER_RULES,
    ...accessReviewRules,
    ...allow('create delete', NamespaceKind),
    ...allow('create', RoleBindingKind, NetworkPolicyKind),
    { apiGroups: [RBAC], resources: ['clusterroles'], resourceNames: [ADMIN_ROLE], verbs: ['bind'] },
  ],
};

/** Projects: the namespaces that a user may see, and requests for new ones. */
export function projectsApi({ client }: { readonly client: Client }): AggregatedApi {
  const route = { namespaced: false, subresource: '', discoverable: true } as const;
  return {
    group: GROUP,
    versions: ['v1'],
    routes: [
      {
        ...route,
        resource: 'projectrequests',
        listing: { kind: 'ProjectRequest', singularName: 'projectrequest' },
        methods: { POST: (request) => create(client, request), GET: async () => ({ status: 200, body: MAY_REQUEST }) },
      },
      {
        ...route,
        resource: 'projects',
        listing: { kind: 'Project', singularName: 'project' },
        columns: [
          { name: 'Display Name', cell: ({ metadata }) => metadata.annotations?.[DISPLAY_NAME] ?? '' },
          {
            name: 'Status',
            cell: ({ status }) => (isObject(status) && typeof status['phase'] === 'string' ? status['phase'] : ''),
          },
        ],
        methods: {
          GET: (request) => (request.name === '' ? list(client, request) : get(client, request)),
          DELETE: (request) => remove(client, request),
        },
      },
    ],
  };
}

/** Clients ask before they create; who may not was refused already. */
const MAY_REQUEST = { apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Success' };

const asProject = ({ metadata, spec, status }: Namespace) => ({
  apiVersion: `${GROUP}/v1`,
  kind: 'Project',
  metadata,
  ...(spec && { spec }),
  ...(status && { status }),
});

const question = (verb: string, group: string, resource: string, name: string): AccessQuestion => ({
  verb,
  group,
  resource,
  namespace: name,
  name,
});
const maySee = (client: Client, user: UserInfo, name: string): Promise<boolean> =>
  isAllowed(client, user, question('get', '', 'namespaces', name));

async function list(client: Client, { user }: RouteRequest): Promise<RouteResponse> {
  const { items, metadata } = await client.list(NamespaceKind);
  const visible = await Promise.all(items.map(({ metadata: { name = '' } }) => maySee(client, user, name)));
  const projects = items.filter((_, index) => visible[index]).map(asProject);
  return { status: 200, body: { apiVersion: `${GROUP}/v1`, kind: 'ProjectList', metadata, items: projects } };
}

async function get(client: Client, { user, name }: RouteRequest): Promise<RouteResponse> {
  if (!(await maySee(client, user, name))) throw forbidden(user, 'get', name);
  return { status: 200, body: asProject(await client.get(NamespaceKind, { namespace: '', name })) };
}

async function remove(client: Client, { user, name }: RouteRequest): Promise<RouteResponse> {
  if (!(await isAllowed(client, user, question('delete', GROUP, 'projects', name)))) throw forbidden(user, 'delete', name);
  await client.delete(NamespaceKind, { namespace: '', name });
  return { status: 200, body: MAY_REQUEST };
}

const forbidden = ({ username }: UserInfo, verb: string, name: string): StatusError =>
  new StatusError({
    code: 403,
    reason: 'Forbidden',
    message: `projects.${GROUP} "${name}" is forbidden: User "${username}" cannot ${verb} resource "projects" in API group "${GROUP}" in the namespace "${name}"`,
  });

interface ProjectRequest {
  readonly name: string;
  readonly displayName: string;
  readonly description: string;
  readonly isIsolated: boolean;
}

function parseRequest(body: unknown): ProjectRequest {
  const metadata = isObject(body) && isObject(body['metadata']) ? body['metadata'] : undefined;
  const name = metadata?.['name'];
  if (!isObject(body) || typeof name !== 'string' || name === '') throw badRequest('a ProjectRequest needs metadata.name');
  if (/^(?:kube|openshift)(?:-|$)|^default$/.test(name))
    throw new StatusError({
      code: 403,
      reason: 'Forbidden',
      message: `project.${GROUP} "${name}" is forbidden: cannot request a project starting with "${name.split('-')[0]}-"`,
    });
  const annotations = isObject(metadata?.['annotations']) ? metadata['annotations'] : {};
  const text = (field: string): string => (typeof body[field] === 'string' ? body[field] : '');
  const isIsolated = annotations[NETWORK_ANNOTATION] === 'isolated';
  return { name, displayName: text('displayName'), description: text('description'), isIsolated };
}

/** A namespace with its requester as administrator; all of it or nothing. */
async function create(client: Client, { user, body }: RouteRequest): Promise<RouteResponse> {
  const { name, displayName, description, isIsolated } = parseRequest(body);
  const annotations = {
    'openshift.io/description': description,
    [DISPLAY_NAME]: displayName,
    [REQUESTER]: user.username,
  };
  const namespace = await client
    .create(NamespaceKind, { apiVersion: 'v1', kind: 'Namespace', metadata: { name, annotations } })
    .catch((error: unknown) => {
      if (!isAlreadyExists(error)) throw error;
      throw new StatusError({ code: 409, reason: 'AlreadyExists', message: `project.${GROUP} "${name}" already exists` });
    });
  try {
    await client.create(RoleBindingKind, {
      apiVersion: `${RBAC}/v1`,
      kind: 'RoleBinding',
      metadata: { name: 'admin', namespace: name },
      roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name: ADMIN_ROLE },
      subjects: [{ apiGroup: RBAC, kind: 'User', name: user.username }],
    });
    if (isIsolated) await client.create(NetworkPolicyKind, isolation(name));
  } catch (error) {
    await client.delete(NamespaceKind, { namespace: '', name }).catch(ignoreNotFound);
    throw error;
  }
  return { status: 201, body: asProject(namespace) };
}

const isolation = (namespace: string): NetworkPolicy => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'allow-same-namespace', namespace },
  spec: { podSelector: {}, policyTypes: ['Ingress'], ingress: [{ from: [{ podSelector: {} }] }] },
});
