import type { ClusterResourceQuota, ResourceQuota } from '@slipway/api';
import { cloneJson, conflict, forbidden, type UnstructuredObject } from '@slipway/apimachinery';
import { type AdmissionRequest, asResourceQuota, chargedClusterStatus, selectsNamespace, type Usage } from '@slipway/runtime';
import type { Registry } from '../../registry/registry.ts';
import { type WriteContext, putObject } from '../../registry/write-context.ts';
import type { AdmissionPlugin } from '../admission-chain.ts';
import { chargeOf, judgeQuota } from './plan-quota.ts';

export interface QuotaDeps {
  readonly registry: Registry;
  /** Writes quotas as the server itself. */
  readonly quotaContext: (namespace: string) => WriteContext | undefined;
  /** Writes quotas of several namespaces as the server itself. */
  readonly clusterQuotaContext: () => WriteContext | undefined;
}

const MAX_ATTEMPTS = 10;

/** Holds namespaces to their quotas: what a write takes is entered before it goes to the store. */
export function quotaPlugin(deps: QuotaDeps): AdmissionPlugin {
  const { cache } = deps.registry;
  return {
    name: 'ResourceQuota',
    async validate(request) {
      const { operation, namespace, subresource, group, resource } = request;
      if (namespace === '' || subresource !== '' || (operation !== 'CREATE' && operation !== 'UPDATE')) return;
      if (group === '' && resource === 'resourcequotas' && operation === 'UPDATE') return;
      const own = cache.collection({ group: '', plural: 'resourcequotas' }).list(namespace);
      const wide = cache.collection({ group: 'quota.openshift.io', plural: 'clusterresourcequotas' }).list();
      for (const { name } of own) await chargeOne(deps.registry, deps.quotaContext(namespace), quotaOf(namespace, name), request);
      for (const { name, object } of wide)
        if (isSelected(deps.registry, object, namespace))
          await chargeOne(deps.registry, deps.clusterQuotaContext(), clusterQuotaOf(name, namespace), request);
    },
  };
}

function isSelected(registry: Registry, quota: UnstructuredObject, namespace: string): boolean {
  const object = registry.lookup('', 'namespaces', '', namespace);
  return object !== undefined && selectsNamespace(quota as unknown as ClusterResourceQuota, object); // validated on write
}

/** One kind of quota: where it is, how it is judged, and its status once it is charged. */
interface QuotaForm {
  readonly namespace: string;
  readonly name: string;
  asQuota(object: UnstructuredObject): ResourceQuota;
  charged(object: UnstructuredObject, used: Readonly<Record<string, string>>, charge: Usage): unknown;
}

const quotaOf = (namespace: string, name: string): QuotaForm => ({
  ...{ namespace, name },
  asQuota: (object) => object as unknown as ResourceQuota, // validated on write
  charged: (object, used) => ({ ...(object['status'] as Record<string, unknown> | undefined), used }),
});

const clusterQuotaOf = (name: string, charged: string): QuotaForm => {
  const typed = (object: UnstructuredObject) => object as unknown as ClusterResourceQuota; // validated on write
  return {
    ...{ namespace: '', name },
    asQuota: (object) => asResourceQuota(typed(object)),
    charged: (object, used, charge) => chargedClusterStatus(typed(object), charged, used, charge),
  };
};

async function chargeOne(
  registry: Registry,
  context: WriteContext | undefined,
  form: QuotaForm,
  request: AdmissionRequest,
): Promise<void> {
  if (context === undefined) return;
  const ref = { resource: request.resource, group: request.group };
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const stored = registry.latest(context.definition, form.namespace, form.name);
    if (stored === undefined) return;
    const charge = chargeOf(request);
    const verdict = judgeQuota(form.asQuota(stored.object), request, charge);
    if (verdict.type === 'untouched') return;
    if (verdict.type === 'refused') throw forbidden(ref, request.name, verdict.why);
    if (request.dryRun) return;
    const next = cloneJson(stored.object);
    next['status'] = form.charged(stored.object, verdict.used, charge);
    if ((await putObject(context, stored.key, next, stored.revision)) !== undefined) return;
  }
  throw conflict(ref, request.name, `the quota ${JSON.stringify(form.name)} is being changed by others; please try again`);
}
