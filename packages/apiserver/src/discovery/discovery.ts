import { type AggregatedApi, isServed } from '@slipway/runtime';
import { negotiate } from '../pipeline/negotiate.ts';
import { resourceNotFound } from '../pipeline/resource-handler.ts';
import type { Answer, Call, ServerContext } from '../pipeline/server-context.ts';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { toYaml } from '@slipway/apimachinery';
import { isAvailable, serviceOf } from '../api-services/plan-api-services.ts';
import { compareVersions } from './versions.ts';

interface ApiResource {
  readonly name: string;
  readonly singularName: string;
  readonly namespaced: boolean;
  readonly group?: string;
  readonly version?: string;
  readonly kind: string;
  readonly verbs: readonly string[];
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly storageVersionHash?: string;
}

/** Versions of each group, or of one that is named, preferred first. */
function groupsOf(server: ServerContext, wanted?: string): Map<string, string[]> {
  const groups = new Map<string, Set<string>>();
  const add = (group: string, version: string): void => {
    if (wanted !== undefined && group !== wanted) return;
    groups.set(group, (groups.get(group) ?? new Set()).add(version));
  };
  for (const { group, version } of server.registry.all()) add(group, version);
  for (const { group, versions, routes } of server.aggregatedApis.filter(isServed)) {
    // a group with nothing to list would be an error for clients that read every group
    if (routes.some(({ discoverable }) => discoverable)) for (const version of versions) add(group, version);
  }
  for (const { object } of server.registry.cache.collection({ group: 'apiregistration.k8s.io', plural: 'apiservices' }).list()) {
    if (serviceOf(object) === undefined || !isAvailable(object)) continue;
    const { group = '', version = '' } = object['spec'] as { group?: string; version?: string }; // validated on write
    add(group, version);
  }
  return new Map([...groups].map(([group, versions]) => [group, [...versions].sort(compareVersions)]));
}

const groupEntry = (name: string, versions: readonly string[]) => {
  const entries = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: entries, preferredVersion: entries[0] };
};

/** Lists of groups, versions and resources. Undefined when the path is none of discovery's. */
export function handleDiscovery(call: Call): Answer | undefined {
  const segments = call.request.path.split('/').filter((segment) => segment !== '');
  const [root, group = '', version] = segments;
  if ((root !== 'api' && root !== 'apis') || segments.length > 3) return undefined;
  const value =
    root === 'api' ? coreDiscovery(call.server, segments) : groupDiscovery(call.server, segments.length, group, version);
  if (value === undefined) return undefined;
  const { format } = negotiate(call.request.headers['accept'], { isCustom: false, hasProtobuf: () => true });
  return format === 'yaml'
    ? { status: 200, text: toYaml(value), headers: { 'content-type': 'application/yaml' } }
    : { status: 200, value };
}

function coreDiscovery(server: ServerContext, segments: readonly string[]): unknown {
  if (segments.length > 2) return undefined;
  if (segments.length === 1) return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
  if (segments[1] !== 'v1') throw resourceNotFound();
  return resourceList(server, '', 'v1');
}

function groupDiscovery(server: ServerContext, depth: number, group: string, version: string | undefined): unknown {
  const groups = groupsOf(server, depth === 1 ? undefined : group);
  groups.delete('');
  if (depth === 1) {
    return { kind: 'APIGroupList', apiVersion: 'v1', groups: [...groups].map(([name, versions]) => groupEntry(name, versions)) };
  }
  const versions = groups.get(group);
  if (versions === undefined) return undefined;
  if (version === undefined) return { kind: 'APIGroup', apiVersion: 'v1', ...groupEntry(group, versions) };
  if (!versions.includes(version)) throw resourceNotFound();
  return resourceList(server, group, version);
}

function resourceList(server: ServerContext, group: string, version: string): unknown {
  const definitions = server.registry.all().filter((definition) => definition.group === group && definition.version === version);
  const aggregated = server.aggregatedApis
    .filter(isServed)
    .filter((api) => api.group === group && api.versions.includes(version));
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: group === '' ? version : `${group}/${version}`,
    // of two resources of one kind clients take the last for objects: the stored one
    resources: [...aggregated.flatMap(aggregatedResources), ...definitions.flatMap(resourcesOf)],
  };
}

function resourcesOf(definition: ResourceDefinition): ApiResource[] {
  const { plural, singular, namespaced, kind, verbs, shortNames, categories, subresources, storageVersionHash } = definition;
  const sub = (name: string, rest: Partial<ApiResource>): ApiResource => ({
    name: `${plural}/${name}`,
    singularName: '',
    namespaced,
    kind,
    verbs: ['get', 'patch', 'update'],
    ...rest,
  });
  return [
    {
      name: plural,
      singularName: singular,
      namespaced,
      kind,
      verbs,
      ...(shortNames.length > 0 && { shortNames }),
      ...(categories.length > 0 && { categories }),
      ...(storageVersionHash !== undefined && { storageVersionHash }),
    },
    ...(subresources.status ? [sub('status', {})] : []),
    ...(subresources.scale ? [sub('scale', { group: 'autoscaling', version: 'v1', kind: 'Scale' })] : []),
    ...(subresources.custom ?? []).map(({ name, ...rest }) => sub(name, rest)),
  ];
}

const METHOD_VERBS: Readonly<Record<string, string>> = {
  GET: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

function aggregatedResources(api: AggregatedApi): ApiResource[] {
  return api.routes
    .filter(({ discoverable }) => discoverable)
    .map(({ resource, subresource, namespaced, methods, connect, listing }) => ({
      name: subresource === '' ? resource : `${resource}/${subresource}`,
      singularName: '',
      namespaced,
      kind: '',
      verbs: [
        ...new Set([...Object.keys(methods).map((method) => METHOD_VERBS[method] ?? 'get'), ...(connect ? ['get'] : [])]),
      ].sort(),
      ...listing,
    }));
}

/** Paths of all group versions, for the list at `/`. */
export function groupVersionPaths(server: ServerContext): string[] {
  return [...groupsOf(server)].flatMap(([group, versions]) =>
    group === '' ? [] : [`/apis/${group}`, ...versions.map((version) => `/apis/${group}/${version}`)],
  );
}
