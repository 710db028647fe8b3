import {
  Annotation,
  type ControllerRevision,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VmCondition,
} from '@slipway/api';
import { keyOf, TerminalError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { Lister } from '@slipway/runtime';
import { identityOf } from '@slipway/virt';
import type { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { isDeleting, isFinal } from '../virtual-machine-instance/instance-state.ts';
import { dynamicMetadata, type DynamicMetadataConfig } from '../virtual-machine-instance/dynamic-metadata.ts';
import { hasClaimsOf } from './claims-of-guest.ts';
import { templateChange, type TemplateChange } from './restart-required.ts';
import { recordedSpec } from './start-revision.ts';

export interface TemplateFollowerDeps {
  readonly client: Client;
  readonly vmis: FreshObjects<VirtualMachineInstance>;
  readonly revisions: Lister<ControllerRevision>;
  /** What a VM's spec asks for, whatever the VM would start with now; throws TerminalError when it cannot be rendered. */
  readonly renderTemplate: (vm: VirtualMachine, signal: AbortSignal) => Promise<VirtualMachineInstance>;
  /** `configuration.vmRolloutStrategy` of the KubeVirt object. */
  readonly rolloutStrategy: () => 'LiveUpdate' | 'Stage';
  /** Whether hotpluggable volumes of a running instance follow the template (default) or requests in the status. */
  readonly volumesFollow?: () => 'template' | 'requests';
  /** `developerConfiguration.cpuAllocationRatio`; default 10. */
  readonly cpuAllocationRatio?: () => number;
  /** Labels and annotations that running instances take over; default: the descheduler's and Velero's. */
  readonly dynamicMetadata?: () => DynamicMetadataConfig;
}

export const NO_CHANGE: TemplateChange = { restartReason: undefined, liveUpdate: undefined };
const DEFAULT_CPU_RATIO = 10;

/** Claims are exchanged, or cannot be, without a change of the VM's spec. */
const isCurrent = ({ metadata, spec }: VirtualMachine, vmi: VirtualMachineInstance): boolean =>
  vmi.metadata.annotations?.[Annotation.vmGeneration] === String(metadata.generation) && hasClaimsOf(vmi, spec.template.spec);

/** Why claims of the guest cannot be exchanged while it runs. */
function moveRefusal({ status }: VirtualMachine): string | undefined {
  const change = status?.conditions?.find(({ type }) => type === VmCondition.volumesChange);
  return change?.reason === 'VolumesUpdateError' ? change.message : undefined;
}

/** What the VM asks for now that its running instance was not started with. */
export async function changeOf(
  deps: TemplateFollowerDeps,
  vm: VirtualMachine,
  vmi: VirtualMachineInstance,
  signal: AbortSignal,
): Promise<TemplateChange> {
  const name = vmi.status?.virtualMachineRevisionName;
  if (name === undefined || isCurrent(vm, vmi) || isFinal(vmi)) return NO_CHANGE;
  const started = recordedSpec(deps.revisions.get({ namespace: vm.metadata.namespace ?? '', name }));
  if (started === undefined) return NO_CHANGE;
  const [from, to] = [await whole(deps, { ...vm, spec: started }, signal), await whole(deps, vm, signal)];
  const refusal = moveRefusal(vm);
  return templateChange({
    started,
    current: vm.spec,
    ...(from !== undefined && to !== undefined && { whole: { started: from, current: to } }),
    vmi,
    rolloutStrategy: deps.rolloutStrategy(),
    volumesFollow: deps.volumesFollow?.() ?? 'template',
    cpuAllocationRatio: deps.cpuAllocationRatio?.() ?? DEFAULT_CPU_RATIO,
    vmUid: identityOf(vm.metadata) ?? '',
    ...(refusal !== undefined && { moveRefused: refusal }),
  });
}

/** The template with instance type and preference applied; undefined when they cannot be found or do not fit. */
async function whole(
  { renderTemplate }: TemplateFollowerDeps,
  vm: VirtualMachine,
  signal: AbortSignal,
): Promise<VirtualMachineInstance['spec'] | undefined> {
  try {
    return (await renderTemplate(vm, signal)).spec;
  } catch (error) {
    if (error instanceof TerminalError) return undefined;
    throw error;
  }
}

/**
 * Brings what can change while the guest runs to its instance, and notes the generation once nothing is left to restart
 * for.
 */
export async function followTemplate(
  { client, vmis, dynamicMetadata: config }: TemplateFollowerDeps,
  vm: VirtualMachine,
  vmi: VirtualMachineInstance,
  change: TemplateChange,
  signal: AbortSignal,
): Promise<VirtualMachineInstance> {
  if (isDeleting(vmi) || isFinal(vmi)) return vmi;
  const generation = String(vm.metadata.generation ?? '');
  const noted = vmi.metadata.annotations?.[Annotation.vmGeneration];
  // what can change now does, also while something else waits for a restart
  const isFollowed = noted !== undefined && noted !== generation && isWhole(change);
  const { liveUpdate } = change;
  const { labels, annotations } = dynamicMetadata(vm, vmi, config?.());
  const newAnnotations = { ...annotations, ...(isFollowed && { [Annotation.vmGeneration]: generation }) };
  const metadata = {
    ...(labels && { labels }),
    ...(Object.keys(newAnnotations).length > 0 && { annotations: newAnnotations }),
  };
  if (Object.keys(metadata).length === 0 && liveUpdate === undefined) return vmi;
  const patch = {
    metadata: { ...metadata, ...(liveUpdate && { resourceVersion: vmi.metadata.resourceVersion }) },
    ...(liveUpdate && { spec: liveUpdate }),
  };
  return vmis.remember(await client.patch(VirtualMachineInstanceKind, keyOf(vmi), patch, { type: 'merge', signal }));
}

/** Nothing of the change is left for a restart or for later. */
const isWhole = ({ restartReason, failure }: TemplateChange): boolean => restartReason === undefined && failure === undefined;
