import { badRequest, notFound } from '@slipway/apimachinery';
import type { AggregatedApi, RouteRequest, RouteResponse } from '@slipway/runtime';
import { type CataloguePackage, csvName, csvOf, MARKETPLACE, PACKAGES } from './catalogue.ts';

const GROUP = 'packages.operators.coreos.com';

/** What the built-in catalogue offers, as consoles and `kubectl get packagemanifests` read it. */
export function packageManifestsApi({ version }: { readonly version: string }): AggregatedApi {
  return {
    group: GROUP,
    versions: ['v1'],
    routes: [
      {
        resource: 'packagemanifests',
        namespaced: true,
        subresource: '',
        discoverable: true,
        listing: { kind: 'PackageManifest', singularName: 'packagemanifest' },
        methods: { GET: async (request) => answer(request, version) },
      },
    ],
  };
}

function answer({ name, namespace, query }: RouteRequest, version: string): RouteResponse {
  if (query.get('watch') === 'true' || query.get('watch') === '1')
    throw badRequest('packagemanifests cannot be watched: they change with the platform');
  // the catalogues are for the whole cluster, so that they are seen from each namespace
  const all = PACKAGES.map((found) => manifestOf(found, namespace || MARKETPLACE, version));
  if (name === '')
    return { status: 200, body: { apiVersion: `${GROUP}/v1`, kind: 'PackageManifestList', metadata: {}, items: all } };
  const one = all.find(({ metadata }) => metadata.name === name);
  if (one === undefined) throw notFound({ group: GROUP, resource: 'packagemanifests' }, name);
  return { status: 200, body: one };
}

function manifestOf(found: CataloguePackage, namespace: string, version: string) {
  const { name, source, displayName, provider, channels, defaultChannel } = found;
  const description = csvOf(found, version, undefined);
  const { installModes, customresourcedefinitions, keywords, maturity } = description;
  return {
    apiVersion: `${GROUP}/v1`,
    kind: 'PackageManifest',
    metadata: { name, namespace, labels: { catalog: source, 'catalog-namespace': MARKETPLACE } },
    spec: {},
    status: {
      catalogSource: source,
      catalogSourceDisplayName: `Built in (${source})`,
      catalogSourceNamespace: MARKETPLACE,
      catalogSourcePublisher: 'Slipway',
      packageName: name,
      provider: { name: provider },
      defaultChannel,
      channels: channels.map((channel) => ({
        name: channel,
        currentCSV: csvName(version),
        currentCSVDesc: {
          displayName,
          version,
          provider: { name: provider },
          annotations: { 'operatorframework.io/suggested-namespace': 'openshift-cnv' },
          ...{ installModes, customresourcedefinitions, keywords, maturity },
        },
        entries: [{ name: csvName(version), version }],
      })),
    },
  };
}
