import type { ClientPart } from '@slipway/apiserver';
import { cdiControllers } from '@slipway/cdi';

const CDI = new Set(cdiControllers.map(({ name }) => name));
/** Controllers that are virt-controller's elsewhere. */
const VIRT_CONTROLLER =
  /^(?:virtualmachine|migration-|evacuation-|hotplug-|memorydump-|kubevirt-metrics|workload-|volume-migration|volume-relocation|snapshot-content|instancetype)/;
const VIRT: Readonly<Record<string, string>> = { node: 'virt-handler', 'virt-api': 'virt-api', 'virt-operator': 'virt-operator' };

/** The part of the platform whose requests and queues those of a client of the API are; undefined for users. */
export function clientPartOf(client: string): ClientPart | undefined {
  if (client === 'other') return undefined;
  const virt = VIRT[client] ?? (VIRT_CONTROLLER.test(client) ? 'virt-controller' : undefined);
  if (virt !== undefined) return { container: virt, prefix: 'kubevirt_' };
  return { container: CDI.has(client) ? 'cdi-deployment' : client, prefix: '' };
}
