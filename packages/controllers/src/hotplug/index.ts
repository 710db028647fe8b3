import { DataVolumeKind, PersistentVolumeClaimKind, type Pod, PodKind, VirtualMachineInstanceKind } from '@slipway/api';
import { type KubeObject, keyOf, type ObjectKey } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, type Informer, owned, watchOf } from '@slipway/runtime';
import type { VirtualMachineInstance } from '@slipway/api';
import { type LauncherProfile, claimNameOf, hotpluggableVolumes, renderHotplugPod } from '@slipway/virt';
import { clusterFacts } from '../virtual-machine/cluster-facts.ts';
import { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { HotplugReconciler } from './volume-reconciler.ts';

const CLAIM_INDEX = 'hotplug-claim';
const OWNER_ANNOTATION = 'kubevirt.io/owner-vmi-name';

/** Volumes that come and go while the guest runs. */
export function hotplugController(profile: LauncherProfile): ControllerRegistration {
  return {
    name: 'hotplug-controller',
    rules: [...allow('update patch', VirtualMachineInstanceKind), ...allow('create delete', PodKind)],
    create: ({ client, informers, events }) => {
      const vmis = informers.for(VirtualMachineInstanceKind);
      vmis.addIndex(CLAIM_INDEX, (vmi) =>
        hotpluggableVolumes(vmi.spec).map((volume) => `${vmi.metadata.namespace ?? ''}/${claimNameOf(volume)}`),
      );
      const facts = clusterFacts(informers, {});
      const reconciler = new HotplugReconciler({
        client,
        events,
        vmis: new FreshObjects(vmis),
        pods: informers.lister(PodKind),
        claims: informers.lister(PersistentVolumeClaimKind),
        dataVolumes: informers.lister(DataVolumeKind),
        renderPod: (vmi, launcher, volumes) =>
          renderHotplugPod(vmi, launcher, volumes, {
            config: facts.config(),
            profile,
            claims: new Map(),
            networkResources: [],
          }),
      });
      const users = (object: KubeObject): readonly ObjectKey[] => usersOfClaim(vmis, object);
      return {
        kind: VirtualMachineInstanceKind,
        reconciler,
        concurrency: 4,
        watches: [
          owned(PodKind, VirtualMachineInstanceKind),
          watchOf(PodKind, instanceOfAttachment),
          watchOf(DataVolumeKind, users),
          watchOf(PersistentVolumeClaimKind, users),
        ],
      };
    },
  };
}

function usersOfClaim(vmis: Informer<VirtualMachineInstance>, { metadata }: KubeObject): readonly ObjectKey[] {
  return vmis.lister.byIndex(CLAIM_INDEX, `${metadata.namespace ?? ''}/${metadata.name}`).map(keyOf);
}

/** Instance that an attachment pod names; the pod itself is owned by the launcher pod. */
function instanceOfAttachment({ metadata }: Pod): readonly ObjectKey[] {
  const name = metadata.annotations?.[OWNER_ANNOTATION];
  return name === undefined ? [] : [{ namespace: metadata.namespace ?? '', name }];
}
