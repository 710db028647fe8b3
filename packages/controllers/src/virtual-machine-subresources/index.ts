import type { AggregatedApi } from '@slipway/runtime';
import type { SubresourceDeps } from './deps.ts';
import { platformRoutes } from './platform-routes.ts';
import { streamRoutes } from './streams.ts';
import { vmRoutes } from './vm-routes.ts';
import { vmiRoutes } from './vmi-routes.ts';

export type { SubresourceDeps, VersionInfo } from './deps.ts';

/** `subresources.kubevirt.io`: what people and virtctl do with a VM besides reading and writing it. */
export function virtualMachineSubresources(deps: SubresourceDeps): AggregatedApi {
  return {
    group: 'subresources.kubevirt.io',
    versions: ['v1', 'v1alpha3'],
    routes: [...platformRoutes(deps), ...vmRoutes(deps), ...vmiRoutes(deps), ...streamRoutes(deps)],
  };
}
export { virtApiRules } from './virt-api-rules.ts';
