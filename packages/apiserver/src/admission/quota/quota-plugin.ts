import type { ResourceQuota } from '@slipway/api';
import { cloneJson, conflict, forbidden } from '@slipway/apimachinery';
import type { AdmissionRequest } from '@slipway/runtime';
import type { Registry } from '../../registry/registry.ts';
import { type WriteContext, putObject } from '../../registry/write-context.ts';
import type { AdmissionPlugin } from '../admission-chain.ts';
import { chargeOf, judgeQuota } from './plan-quota.ts';

export interface QuotaDeps {
  readonly registry: Registry;
  /** Writes quotas as the server itself. */
  readonly quotaContext: (namespace: string) => WriteContext | undefined;
}

const MAX_ATTEMPTS = 10;

/** Holds namespaces to their quotas: what a write takes is entered before it goes to the store. */
export function quotaPlugin(deps: QuotaDeps): AdmissionPlugin {
  return {
    name: 'ResourceQuota',
    async validate(request) {
      const { operation, namespace, subresource } = request;
      if (namespace === '' || subresource !== '' || (operation !== 'CREATE' && operation !== 'UPDATE')) return;
      if (request.group === '' && request.resource === 'resourcequotas' && operation === 'UPDATE') return;
      const quotas = deps.registry.cache.collection({ group: '', plural: 'resourcequotas' }).list(namespace);
      if (quotas.length === 0) return;
      for (const { name } of quotas) await chargeOne(deps, name, request);
    },
  };
}

async function chargeOne({ registry, quotaContext }: QuotaDeps, name: string, request: AdmissionRequest): Promise<void> {
  const context = quotaContext(request.namespace);
  if (context === undefined) return;
  const ref = { resource: request.resource, group: request.group };
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const stored = registry.latest(context.definition, request.namespace, name);
    if (stored === undefined) return;
    const charge = chargeOf(request);
    const verdict = judgeQuota(stored.object as unknown as ResourceQuota, request, charge); // validated on write
    if (verdict.type === 'untouched') return;
    if (verdict.type === 'refused') throw forbidden(ref, request.name, verdict.why);
    if (request.dryRun) return;
    const next = cloneJson(stored.object);
    next['status'] = { ...(next['status'] as Record<string, unknown> | undefined), used: verdict.used };
    if ((await putObject(context, stored.key, next, stored.revision)) !== undefined) return;
  }
  throw conflict(ref, request.name, `the quota ${JSON.stringify(name)} is being changed by others; please try again`);
}
