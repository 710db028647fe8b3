import type { ResourceDefinition } from '@slipway/apiserver';
import type { AggregatedApi, AggregatedRoute } from '@slipway/runtime';
import type { Attempt } from './expected-rights.ts';

/** An attempt and the request that makes it. */
export interface Route extends Attempt {
  readonly method: string;
  readonly query: Readonly<Record<string, string>>;
  /** Opened as a WebSocket. */
  readonly isStream: boolean;
}

const METHODS: Readonly<Record<string, string>> = {
  get: 'GET',
  list: 'GET',
  watch: 'GET',
  create: 'POST',
  update: 'PUT',
  patch: 'PATCH',
  delete: 'DELETE',
  deletecollection: 'DELETE',
};
const NAMED: ReadonlySet<string> = new Set(['get', 'update', 'patch', 'delete']);
const NOTHING = { dryRun: 'All', labelSelector: 'matches=nothing' };

/** Names of objects of a node and of another one, by `group/resource`; anything else is called `absent`. */
export type ObjectNames = ReadonlyMap<string, string>;

const nameOf = (names: ObjectNames, group: string, plural: string): string => names.get(`${group}/${plural}`) ?? 'absent';

/** Every route of a stored or computed resource. */
export function resourceRoutes(definition: ResourceDefinition, names: ObjectNames): Route[] {
  const { group, version, plural, namespaced, verbs, subresources, virtual } = definition;
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const name = nameOf(names, group, plural);
  const places: (readonly [Attempt['scope'], string])[] = namespaced
    ? [
        ['team', `${root}/namespaces/team/${plural}`],
        ['foreign', `${root}/namespaces/foreign/${plural}`],
        ...(plural === 'leases' ? ([['leases', `${root}/namespaces/kube-node-lease/${plural}`]] as const) : []),
      ]
    : [['cluster', `${root}/${plural}`]];
  // an object of the kind Namespace belongs to itself
  const isOwnNamespace = group === '' && plural === 'namespaces';
  const routes = places.flatMap(([scope, collection]) => {
    const route = (verb: string, subresource = ''): Route => {
      const isNamed = NAMED.has(verb) || subresource !== '';
      const path = `${collection}${isNamed ? `/${name}` : ''}${subresource === '' ? '' : `/${subresource}`}`;
      const resource = subresource === '' ? plural : `${plural}/${subresource}`;
      const query = {
        ...(verb === 'watch' && { watch: '1', timeoutSeconds: '1' }),
        ...(verb === 'deletecollection' ? NOTHING : { dryRun: 'All' }),
      };
      const placed = isOwnNamespace && isNamed ? 'team' : scope;
      return { verb, group, resource, scope: placed, path, query, method: METHODS[verb] ?? '', isNamed, isStream: false };
    };
    const nested = [
      ...(subresources.status ? ['get', 'update', 'patch'].map((verb) => route(verb, 'status')) : []),
      ...(subresources.scale ? ['get', 'update', 'patch'].map((verb) => route(verb, 'scale')) : []),
      ...(subresources.custom ?? []).flatMap((custom) => custom.verbs.map((verb) => route(verb, custom.name))),
    ];
    return [...(virtual ? ['create'] : verbs).map((verb) => route(verb)), ...nested];
  });
  if (!namespaced || virtual) return routes;
  const everywhere = verbs.filter((verb) => verb === 'list' || verb === 'watch');
  const shared = { group, resource: plural, scope: 'cluster', path: `${root}/${plural}`, method: 'GET' } as const;
  return [
    ...routes,
    ...everywhere.map((verb) => ({
      ...{ ...shared, verb, isNamed: false, isStream: false },
      query: verb === 'watch' ? { watch: '1', timeoutSeconds: '1' } : {},
    })),
  ];
}

/** Every route of an API that is answered by code. */
export function aggregatedRoutes({ group, versions, routes }: AggregatedApi, names: ObjectNames): Route[] {
  return versions.flatMap((version) =>
    routes.flatMap((route) => {
      const scopes: readonly Attempt['scope'][] = route.namespaced ? ['team', 'foreign'] : ['cluster'];
      return scopes.flatMap((scope) => attemptsOf(group, version, route, scope, names));
    }),
  );
}

function attemptsOf(
  group: string,
  version: string,
  route: AggregatedRoute,
  scope: Attempt['scope'],
  names: ObjectNames,
): Route[] {
  const { resource: plural, subresource, methods, connect, allowsRest } = route;
  const place = scope === 'cluster' ? '' : `/namespaces/${scope}`;
  const hasName = subresource !== '';
  const tail = hasName ? `/${nameOf(names, group, plural)}/${subresource}` : '';
  const path = `/apis/${group}/${version}${place}/${plural}${tail}${allowsRest ? '/1' : ''}`;
  const resource = subresource === '' ? plural : `${plural}/${subresource}`;
  const verbOf = (method: string): string => {
    if (method === 'GET') return hasName ? 'get' : 'list';
    return method === 'POST' ? 'create' : method === 'PUT' ? 'update' : method.toLowerCase();
  };
  const shared = { group, resource, scope, path, query: { dryRun: 'All' }, isNamed: hasName };
  return [
    ...Object.keys(methods).map((method) => ({ ...shared, method, verb: verbOf(method), isStream: false })),
    ...(connect === undefined ? [] : [{ ...shared, method: 'GET', verb: 'get', isStream: true }]),
  ];
}

export const PATHS: readonly string[] = [
  ...['/version', '/healthz', '/livez', '/readyz', '/healthz/ping', '/api', '/apis', '/api/v1', '/apis/apps', '/apis/apps/v1'],
  ...['/openapi/v2', '/openapi/v3', '/openapi/v3/api/v1', '/', '/metrics', '/logs', '/debug/pprof', '/unknown'],
];

export const pathRoutes = (): Route[] =>
  PATHS.map((path) => ({
    ...{
      verb: 'get',
      group: '',
      resource: '',
      scope: 'cluster',
      path,
      method: 'GET',
      query: {},
      isNamed: false,
      isStream: false,
    },
  }));
