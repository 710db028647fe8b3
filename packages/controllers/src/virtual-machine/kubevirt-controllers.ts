import {
  ControllerRevisionKind,
  NamespaceKind,
  NetworkAttachmentDefinitionKind,
  PersistentVolumeClaimKind,
  ResourceQuotaKind,
  type VirtualMachine,
  type VirtualMachineInstance,
} from '@slipway/api';
import { TerminalError } from '@slipway/apimachinery';
import type { ControllerRegistration, Informers } from '@slipway/runtime';
import {
  autoLimits,
  InstancetypeConflict,
  type LauncherContext,
  type LauncherProfile,
  renderInstance,
  renderLauncherPod,
  renderMigrationTargetPod,
} from '@slipway/virt';
import { hotplugController } from '../hotplug/index.ts';
import { expandVm, InferenceError, pinTypes, resolveTypes, withInferredTypes } from '../instancetype/index.ts';
import { virtualMachineInstanceController } from '../virtual-machine-instance/index.ts';
import { networkResources } from '../virtual-machine-instance/network-resources.ts';
import { migrationController } from '../virtual-machine-instance-migration/index.ts';
import { workloadUpdateController } from '../workload-update/index.ts';
import { QUIET_START_MS } from '../workload/quiet-start.ts';
import { clusterFacts } from './cluster-facts.ts';
import { virtualMachineController } from './index.ts';

/** `expand` concerns VMs that have no records of their types yet, `expandAll` every VM. */
function wantsExpansion({ spec, status }: VirtualMachine, policy: string | undefined): boolean {
  if (!spec.instancetype && !spec.preference) return false;
  return policy === 'expandAll' || (policy === 'expand' && !status?.instancetypeRef && !status?.preferenceRef);
}

/** The VM and VMI controllers for the given kind of launcher pod. */
export function kubeVirtControllers(profile: LauncherProfile): readonly ControllerRegistration[] {
  return [
    virtualMachineController(({ client, informers }) => {
      const facts = clusterFacts(informers, {});
      const revisions = informers.lister(ControllerRevisionKind);
      return {
        pinTypes: (vm, signal) => pinTypes({ client, revisions }, vm, signal),
        expandTypes: async (vm, signal) => {
          if (!wantsExpansion(vm, facts.config().configuration.instancetype?.referencePolicy)) return undefined;
          const named = await withInferredTypes(client, vm, signal);
          return expandVm(named, facts.config(), await resolveTypes(client, named, signal));
        },
        preferredStorageClass: async (vm, signal) => {
          const { preference } = await resolveTypes(client, await withInferredTypes(client, vm, signal), signal);
          return preference?.spec.volumes?.preferredStorageClassName;
        },
        rolloutStrategy: facts.rolloutStrategy,
        volumesFollow: () => (facts.config().hasGate('HotplugVolumes') ? 'requests' : 'template'),
        dynamicMetadata: facts.dynamicMetadata,
        cpuAllocationRatio: () => facts.config().configuration.developerConfiguration?.cpuAllocationRatio ?? 10,
        quietStartMs: QUIET_START_MS,
        renderInstance: async (vm, signal) => {
          try {
            const named = await withInferredTypes(client, vm, signal);
            return renderInstance(named, facts.config(), await resolveTypes(client, named, signal));
          } catch (error) {
            if (error instanceof InstancetypeConflict || error instanceof InferenceError)
              throw new TerminalError('FailedCreate', error.message, error);
            throw error;
          }
        },
      };
    }),
    virtualMachineInstanceController(
      (informers) => {
        const contextOf = launcherContexts(informers, profile);
        return (vmi, { claims, stateClaimName }) => renderLauncherPod(vmi, contextOf(vmi, claims, stateClaimName));
      },
      (informers) => {
        const facts = clusterFacts(informers, {});
        return { dynamicMetadata: facts.dynamicMetadata, stateClass: () => facts.config().configuration.vmStateStorageClass };
      },
    ),
    hotplugController(profile),
    migrationController((informers) => {
      const contextOf = launcherContexts(informers, profile);
      const claims = informers.lister(PersistentVolumeClaimKind);
      return (vmi, target, stateClaim) => {
        const own = claims.list(vmi.metadata.namespace).map((claim) => [claim.metadata.name ?? '', claim] as const);
        return renderMigrationTargetPod(vmi, target, contextOf(vmi, new Map(own), stateClaim));
      };
    }),
    workloadUpdateController(profile),
  ];
}

type ContextOf = (
  vmi: VirtualMachineInstance,
  claims: LauncherContext['claims'],
  stateClaim: string | undefined,
) => LauncherContext;

/** What launcher pods are rendered from besides their instance. */
function launcherContexts(informers: Informers, profile: LauncherProfile): ContextOf {
  const facts = clusterFacts(informers, {});
  const attachments = informers.lister(NetworkAttachmentDefinitionKind);
  const namespaces = informers.lister(NamespaceKind);
  const quotas = informers.lister(ResourceQuotaKind);
  return (vmi, claims, stateClaim) => ({
    ...(stateClaim !== undefined && { stateClaim }),
    config: facts.config(),
    profile,
    claims,
    networkResources: networkResources(vmi, (key) => attachments.get(key)),
    emulation: facts.emulation(),
    autoLimits: autoLimits(
      {
        labels: namespaces.get({ namespace: '', name: vmi.metadata.namespace ?? '' })?.metadata.labels ?? {},
        quotas: quotas.list(vmi.metadata.namespace),
      },
      facts.config().configuration,
    ),
  });
}
