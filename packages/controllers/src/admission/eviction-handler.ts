import { type Pod, PodKind, type VirtualMachineInstance, VirtualMachineInstanceKind } from '@slipway/api';
import { controllerOf, keyOf, StatusError } from '@slipway/apimachinery';
import type { AdmissionHandler, AdmissionRequest } from '@slipway/runtime';
import { EVICTION_SOURCE } from '../evacuation/plan-evacuation.ts';
import { evictionVerdict } from '../evacuation/eviction-verdict.ts';
import { isFinal } from '../virtual-machine-instance/instance-state.ts';
import type { AdmissionDeps } from './deps.ts';
import { find } from './look-up.ts';

const INTERCEPTOR = 'virt-launcher-eviction-interceptor.kubevirt.io';

/** Guests are moved instead of evicted, where their eviction strategy asks for it. */
export function evictionHandler(deps: AdmissionDeps): AdmissionHandler {
  return {
    name: 'launcher-eviction',
    rules: [{ group: '', resources: ['pods/eviction'], operations: ['CREATE'] }],
    async validate(request) {
      const { namespace, name } = request;
      const pod = await find(deps.client, PodKind, { namespace, name });
      const app = pod?.metadata.labels?.['kubevirt.io'];
      if (pod === undefined) return [];
      if (app === 'hotplug-disk') await refuseAttachment(deps, pod);
      if (app === 'virt-launcher') await decide(deps, request, pod);
      return [];
    },
  };
}

async function decide(deps: AdmissionDeps, request: AdmissionRequest, pod: Pod): Promise<void> {
  const owner = controllerOf(pod);
  if (owner?.kind !== 'VirtualMachineInstance') return;
  const vmi = await find(deps.client, VirtualMachineInstanceKind, { namespace: request.namespace, name: owner.name });
  const verdict = evictionVerdict(pod, vmi, deps.config().configuration.evictionStrategy);
  if (verdict.type === 'evict' || vmi === undefined) return;
  if (verdict.type === 'move') await requestEvacuation(deps, request, vmi, pod);
  throw tooManyRequests(verdict.message);
}

/** The evacuation controller does the rest. */
async function requestEvacuation(
  { client }: AdmissionDeps,
  { user, dryRun }: AdmissionRequest,
  vmi: VirtualMachineInstance,
  pod: Pod,
): Promise<void> {
  const isDescheduler = user.username.includes('descheduler');
  const patch = {
    metadata: {
      uid: vmi.metadata.uid,
      ...(isDescheduler && { annotations: { [EVICTION_SOURCE]: 'descheduler' } }),
    },
    status: { evacuationNodeName: pod.spec?.nodeName },
  };
  await client.patch(VirtualMachineInstanceKind, keyOf(vmi), patch, { type: 'merge', dryRun });
}

/** A disk leaves its guest when it is unplugged, not when somebody clears a node. */
async function refuseAttachment({ client }: AdmissionDeps, pod: Pod): Promise<void> {
  const { annotations, namespace = '' } = pod.metadata;
  const name = annotations?.['kubevirt.io/owner-vmi-name'] ?? '';
  const vmi = await find(client, VirtualMachineInstanceKind, { namespace, name });
  if (vmi === undefined || isFinal(vmi)) return;
  throw tooManyRequests(
    `cannot evict hotplug pod: ${pod.metadata.name} associated with running vmi: ${name} in namespace ${namespace}`,
  );
}

const tooManyRequests = (message: string): StatusError =>
  new StatusError({
    code: 429,
    reason: 'TooManyRequests',
    message: `admission webhook "${INTERCEPTOR}" denied the request: ${message}`,
  });
