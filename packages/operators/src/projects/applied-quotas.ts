import { type ClusterResourceQuota, ClusterResourceQuotaKind, NamespaceKind } from '@slipway/api';
import { notFound } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type AggregatedApi, type RouteRequest, type RouteResponse, selectsNamespace } from '@slipway/runtime';

const { group, version } = ClusterResourceQuotaKind;
const RESOURCE = 'appliedclusterresourcequotas';
const KIND = 'AppliedClusterResourceQuota';

/** The quotas of several namespaces as those see them that may look into one namespace alone. */
export function appliedQuotasApi({ client }: { readonly client: Client }): AggregatedApi {
  return {
    group,
    versions: [version],
    routes: [
      {
        resource: RESOURCE,
        namespaced: true,
        subresource: '',
        discoverable: true,
        listing: { kind: KIND, singularName: 'appliedclusterresourcequota' },
        methods: { GET: (request) => answer(client, request) },
      },
    ],
  };
}

async function answer(client: Client, { namespace, name, signal }: RouteRequest): Promise<RouteResponse> {
  const selected = await client.get(NamespaceKind, { namespace: '', name: namespace }, { signal });
  const { items, metadata } = await client.list(ClusterResourceQuotaKind, { signal });
  const applied = items.filter((quota) => selectsNamespace(quota, selected)).map((quota) => asApplied(quota, namespace));
  if (name === '')
    return { status: 200, body: { apiVersion: `${group}/${version}`, kind: `${KIND}List`, metadata, items: applied } };
  const found = applied.find((quota) => quota.metadata.name === name);
  if (found === undefined) throw notFound({ group, resource: RESOURCE }, name);
  return { status: 200, body: found };
}

/** What other namespaces take each is not shown, only what all take together. */
function asApplied({ metadata, spec, status }: ClusterResourceQuota, namespace: string) {
  const namespaces = (status?.namespaces ?? []).filter((entry) => entry.namespace === namespace);
  return {
    apiVersion: `${group}/${version}`,
    kind: KIND,
    metadata: { ...metadata, namespace },
    spec,
    status: { ...(status?.total && { total: status.total }), namespaces },
  };
}
