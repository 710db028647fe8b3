import { createHash } from 'node:crypto';
import type { DataVolume, PersistentVolumeClaim, Pod, VirtualMachineInstance } from '@slipway/api';
import { PodKind, Reason, VirtualMachineInstanceKind } from '@slipway/api';
import { isAlreadyExists, isNotFound, keyOf, type ObjectKey } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { type AttachedVolume, claimNameOf, hotpluggableVolumes } from '@slipway/virt';
import type { ExistingStorage } from '../virtual-machine-instance/claims.ts';
import type { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { currentPod, isGoingDown, launcherPods } from '../virtual-machine-instance/launcher-pod-state.ts';
import { detachedInterfaces, withoutInterfaces } from './interface-plan.ts';
import { type HotplugPlan, planHotplug } from './volume-plan.ts';

export interface HotplugReconcilerDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly vmis: FreshObjects<VirtualMachineInstance>;
  readonly pods: Lister<Pod>;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly dataVolumes: Lister<DataVolume>;
  /** An attachment pod without name. */
  readonly renderPod: (vmi: VirtualMachineInstance, launcher: Pod, volumes: readonly AttachedVolume[]) => Pod;
}

/** Gives each hotplugged volume of an instance its attachment pod and follows it until the node agent takes over. */
export class HotplugReconciler implements Reconciler {
  private readonly deps: HotplugReconcilerDeps;

  constructor(deps: HotplugReconcilerDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const { vmis, pods } = this.deps;
    const known = vmis.get(key);
    if (known === undefined) return done;
    const vmi = await this.withoutDetached(known, signal);
    if (!concernsHotplug(vmi)) return done;
    const launcher = currentPod(vmi, launcherPods(vmi, pods.ownedBy(vmi.metadata.uid ?? '')));
    const isThere = launcher?.spec?.nodeName !== undefined && !isGoingDown(launcher);
    const plan = planHotplug({
      vmi,
      launcher: isThere ? launcher : undefined,
      pods: launcher === undefined ? [] : attachmentPods(pods.ownedBy(launcher.metadata.uid ?? '')),
      storage: this.storageOf(vmi),
    });
    await this.follow(vmi, launcher, plan, signal);
    return done;
  }

  private async withoutDetached(vmi: VirtualMachineInstance, signal: AbortSignal): Promise<VirtualMachineInstance> {
    const gone = detachedInterfaces(vmi);
    if (gone.length === 0) return vmi;
    const patch = { metadata: { resourceVersion: vmi.metadata.resourceVersion }, spec: withoutInterfaces(vmi, gone) };
    return this.deps.vmis.remember(
      await this.deps.client.patch(VirtualMachineInstanceKind, keyOf(vmi), patch, { type: 'merge', signal }),
    );
  }

  private async follow(
    vmi: VirtualMachineInstance,
    launcher: Pod | undefined,
    plan: HotplugPlan,
    signal: AbortSignal,
  ): Promise<void> {
    const { vmis, client, events } = this.deps;
    for (const volume of plan.createPods) if (launcher) await this.createPod(vmi, launcher, volume, signal);
    for (const pod of plan.deletePods) await this.deletePod(pod, signal);
    if (plan.statuses !== undefined) {
      const updated = { ...vmi, status: { ...vmi.status, volumeStatus: [...plan.statuses] } };
      vmis.remember(await client.update(VirtualMachineInstanceKind, updated, { signal }));
    }
    for (const { reason, message } of plan.events) events.normal(vmi, reason, message);
  }

  private storageOf(vmi: VirtualMachineInstance): ExistingStorage {
    const claims = new Map<string, PersistentVolumeClaim>();
    const dataVolumes = new Map<string, DataVolume>();
    for (const volume of hotpluggableVolumes(vmi.spec)) {
      const name = claimNameOf(volume) ?? '';
      const key = { namespace: vmi.metadata.namespace ?? '', name };
      const claim = this.deps.claims.get(key);
      const dataVolume = this.deps.dataVolumes.get(key);
      if (claim !== undefined) claims.set(name, claim);
      if (dataVolume !== undefined) dataVolumes.set(name, dataVolume);
    }
    return { claims, dataVolumes };
  }

  private async createPod(
    vmi: VirtualMachineInstance,
    launcher: Pod,
    volume: AttachedVolume,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, events, renderPod } = this.deps;
    const { generateName = '', ...metadata } = renderPod(vmi, launcher, [volume]).metadata;
    const name = `${generateName}${suffixOf(`${launcher.metadata.uid}/${volume.name}`)}`;
    const pod = { ...renderPod(vmi, launcher, [volume]), metadata: { ...metadata, name } };
    try {
      await client.create(PodKind, pod, { signal });
    } catch (error) {
      // made by an earlier pass, or one of the same name is still going: its event brings the next pass
      if (isAlreadyExists(error)) return;
      const message = `Error creating hotplug attachment pod for volume ${volume.name}: ${String(error)}`;
      if (!signal.aborted) events.warning(vmi, Reason.failedCreate, message);
      throw new Error(message, { cause: error });
    }
  }

  private async deletePod(pod: Pod, signal: AbortSignal): Promise<void> {
    const { uid } = pod.metadata;
    try {
      await this.deps.client.delete(PodKind, keyOf(pod), { ...(uid !== undefined && { preconditions: { uid } }), signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}

const HOTPLUG_LABEL = 'hotplug-disk';

/** Those of the pods that a launcher pod owns which carry hotplugged volumes. */
function attachmentPods(pods: readonly Pod[]): readonly Pod[] {
  return pods.filter(({ metadata }) => metadata.labels?.['kubevirt.io'] === HOTPLUG_LABEL);
}

function concernsHotplug(vmi: VirtualMachineInstance): boolean {
  return (
    hotpluggableVolumes(vmi.spec).length > 0 ||
    (vmi.status?.volumeStatus ?? []).some(({ hotplugVolume }) => hotplugVolume !== undefined)
  );
}

const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';

/** One name per launcher pod and volume, so that a repeated create cannot make a second pod. */
function suffixOf(text: string): string {
  const digest = createHash('sha256').update(text).digest();
  return [...digest.subarray(0, 8)].map((byte) => ALPHABET[byte % ALPHABET.length]).join('');
}
