import type { Duplex } from 'node:stream';
import { isNotFound, keyOf, notFound, StatusError } from '@slipway/apimachinery';
import { type Pod, PodKind, type VirtualMachineInstance, VirtualMachineInstanceKind } from '@slipway/api';
import type { Informer } from '@slipway/runtime';
import { removeConsoleLog } from '../console/index.ts';
import type { PodRunner } from '../contracts.ts';
import { Launch } from './launch.ts';
import type { LaunchDeps } from './launch-view.ts';

export interface LauncherRunnerDeps extends LaunchDeps {
  /** VMIs of this node. */
  readonly vmis: Informer<VirtualMachineInstance>;
  /** VMIs whose guests may come to this node. */
  readonly comingVmis?: Informer<VirtualMachineInstance>;
}

const VMI_REF = { group: 'kubevirt.io', resource: 'virtualmachineinstances' };

/** Runs the guests of `slipway/virt-launcher` pods. */
export class LauncherRunner implements PodRunner {
  readonly image = 'slipway/virt-launcher';
  private readonly deps: LauncherRunnerDeps;
  /** By pod uid. */
  private readonly launches = new Map<string, Launch>();
  private readonly ending = new Map<string, Promise<void>>();

  constructor(deps: LauncherRunnerDeps) {
    this.deps = deps;
    for (const vmis of [deps.vmis, deps.comingVmis])
      vmis?.addHandler(({ type, object }) => {
        for (const launch of this.launches.values()) {
          if (launch.writer.current.metadata.uid !== object.metadata.uid) continue;
          if (type === 'deleted') {
            launch.doubt();
            continue;
          }
          launch.writer.observe(object);
          launch.notify();
        }
      });
  }

  async sync(pod: Pod, signal: AbortSignal): Promise<void> {
    const podUid = pod.metadata.uid ?? '';
    const existing = this.launches.get(podUid);
    if (existing) {
      existing.notify(pod);
      return;
    }
    if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed' || this.ending.has(podUid)) return;
    const vmi = await this.instanceOf(pod, signal);
    // the VMI controller deletes a pod whose VMI is gone
    if (vmi === undefined || this.launches.has(podUid)) return;
    const launch = new Launch(this.deps, pod, vmi);
    this.launches.set(podUid, launch);
    launch.start();
  }

  terminate(pod: Pod, signal: AbortSignal): Promise<void> {
    const podUid = pod.metadata.uid ?? '';
    const running = this.ending.get(podUid);
    if (running) return running;
    const ending = this.end(pod, podUid, signal).finally(() => this.ending.delete(podUid));
    this.ending.set(podUid, ending);
    return ending;
  }

  /** Removes what a pod that no longer exists has left on this host. */
  async cleanUp(podUid: string): Promise<void> {
    const { network, volumes, sandboxes, devices, consoleLogOf } = this.deps;
    await sandboxes.kill(podUid);
    await Promise.all([network.tearDown(podUid), volumes.release(podUid)]);
    await sandboxes.destroy(podUid);
    await devices?.release(podUid);
    removeConsoleLog(consoleLogOf(podUid));
  }

  /** The agent goes down; guests stay. */
  abandon(): void {
    for (const launch of this.launches.values()) launch.abandon();
  }

  /** The launch that runs this very VMI. Throws StatusError when it is not here. */
  find(namespace: string, name: string, uid: string): Launch {
    for (const launch of this.launches.values()) {
      const { metadata } = launch.writer.current;
      if (launch.hasLeft) continue; // its guest may have come back to this node, in another pod
      if (metadata.uid === uid && metadata.name === name && (metadata.namespace ?? '') === namespace) return launch;
    }
    throw notFound(VMI_REF, name);
  }

  /** The launch of a pod, while there is one. */
  launchOf(podUid: string): Launch | undefined {
    return this.launches.get(podUid);
  }

  /** A viewer of the serial console of this pod's guest; with `fromNow` it does not see the last output first. */
  consoleOf(podUid: string, options: { readonly fromNow?: boolean } = {}): Duplex | undefined {
    return this.launches.get(podUid)?.session?.console?.attach(options);
  }

  /** Addresses of this pod, once it has its network. */
  addressesOf(podUid: string): readonly string[] {
    return this.launches.get(podUid)?.addresses ?? [];
  }

  private async end(pod: Pod, podUid: string, signal: AbortSignal): Promise<void> {
    const launch = this.launches.get(podUid) ?? (await this.adoptForEnding(pod, podUid, signal));
    await launch?.stop(pod.metadata.deletionGracePeriodSeconds === 0);
    await this.cleanUp(podUid);
    this.launches.delete(podUid);
    try {
      const preconditions = { uid: podUid };
      await this.deps.client.delete(PodKind, keyOf(pod), { gracePeriodSeconds: 0, preconditions, signal });
    } catch (error) {
      if (!isNotFound(error) && !(error instanceof StatusError && error.code === 409)) throw error;
    }
  }

  /** A guest whose pod is being deleted when the agent starts still has its grace period. */
  private async adoptForEnding(pod: Pod, podUid: string, signal: AbortSignal): Promise<Launch | undefined> {
    const [sandbox, vmi] = [await this.deps.sandboxes.find(podUid), await this.instanceOf(pod, signal)];
    if (sandbox === undefined || vmi?.status?.phase !== 'Running') return undefined;
    if (vmi.status.nodeName !== this.deps.config.nodeName) return undefined; // it is elsewhere, or was to come
    const launch = new Launch(this.deps, pod, vmi);
    this.launches.set(podUid, launch);
    launch.start();
    await launch.started;
    return launch;
  }

  private async instanceOf(pod: Pod, signal: AbortSignal): Promise<VirtualMachineInstance | undefined> {
    const owner = pod.metadata.ownerReferences?.find(({ kind }) => kind === VirtualMachineInstanceKind.kind);
    if (owner === undefined) return undefined;
    const key = { namespace: pod.metadata.namespace ?? '', name: owner.name };
    const cached = this.deps.vmis.lister.get(key);
    if (cached?.metadata.uid === owner.uid) return cached;
    try {
      const vmi = await this.deps.client.get(VirtualMachineInstanceKind, key, { signal });
      return vmi.metadata.uid === owner.uid ? vmi : undefined;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }
}
