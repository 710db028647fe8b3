import { NodeVerb, type VirtualMachineInstance, VirtualMachineInstanceKind, VirtualMachineSnapshotKind } from '@slipway/api';
import { ignoreNotFound, keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { Clock, EventRecorder, NodeConnector } from '@slipway/runtime';
import { deadlineOf, Indication, isRunning, type VmSnapshot, withIndications } from './snapshot-state.ts';

export interface GuestRestDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly nodes: NodeConnector;
}

/** On a snapshot: the instance that was paused for it. Written before that is done. */
const PAUSED_FOR = 'slipway.dev/paused-for-snapshot';

/** How a running guest is kept from writing while its volumes are cut. */
export class GuestRest {
  private readonly deps: GuestRestDeps;

  constructor(deps: GuestRestDeps) {
    this.deps = deps;
  }

  /**
   * Lets the agent freeze the file systems. A guest that nobody can ask is paused if `mustPause`: then all its volumes are
   * cut at one moment, as after a power cut. Returns the snapshot with what is to be said of it.
   */
  async begin(snapshot: VmSnapshot, mustPause: boolean, signal: AbortSignal): Promise<VmSnapshot> {
    const vmi = await this.freshInstance(snapshot, signal);
    if (!isRunning(vmi)) return snapshot;
    const frozen = await this.freeze(snapshot, vmi, signal);
    const { indications = [] } = frozen.status ?? {};
    const rests = indications.includes(Indication.guestAgent) || indications.includes(Indication.paused);
    if (mustPause && !rests) await this.pause(frozen, vmi, signal);
    return frozen;
  }

  /** Lets a guest that was brought to rest go on; the snapshot says whether it had rested until now. */
  async end(snapshot: VmSnapshot, signal: AbortSignal): Promise<VmSnapshot> {
    const { status } = snapshot;
    if (!status?.indications?.includes(Indication.online)) return snapshot;
    const vmi = await this.freshInstance(snapshot, signal);
    if (!status.indications.includes(Indication.guestAgent)) {
      await this.unpause(snapshot, vmi, signal);
      return snapshot;
    }
    if (!isRunning(vmi)) return snapshot;
    if (vmi.status?.fsFreezeStatus !== 'frozen')
      return { ...snapshot, status: withIndications(status, [...status.indications, Indication.quiesceTimeout]) };
    await this.askNode(vmi, NodeVerb.unfreeze, {}, signal);
    return snapshot;
  }

  private async freeze(snapshot: VmSnapshot, vmi: VirtualMachineInstance, signal: AbortSignal): Promise<VmSnapshot> {
    const { status } = snapshot;
    if (!status?.indications?.includes(Indication.guestAgent) || vmi.status?.fsFreezeStatus === 'frozen') return snapshot;
    const deadline = deadlineOf(snapshot);
    const seconds = deadline === undefined ? 0 : Math.max(1, Math.ceil((deadline - this.deps.clock.now()) / 1000));
    try {
      await this.askNode(vmi, NodeVerb.freeze, { unfreezeTimeoutSeconds: seconds }, signal);
      return snapshot;
    } catch (error) {
      signal.throwIfAborted();
      const message = `The guest was not quiesced: ${error instanceof Error ? error.message : String(error)}`;
      this.deps.events.warning(snapshot, Indication.quiesceFailed, message);
      const others = status.indications.filter((indication) => indication !== Indication.guestAgent);
      return { ...snapshot, status: withIndications(status, [...others, Indication.quiesceFailed]) };
    }
  }

  private async pause(snapshot: VmSnapshot, vmi: VirtualMachineInstance, signal: AbortSignal): Promise<void> {
    // first: whoever goes on after a crash has to know who paused the guest
    await this.mark(snapshot, vmi.metadata.uid ?? '', signal);
    await this.askNode(vmi, NodeVerb.pause, {}, signal);
  }

  private async unpause(snapshot: VmSnapshot, vmi: VirtualMachineInstance | undefined, signal: AbortSignal): Promise<void> {
    const stored = await this.deps.client.get(VirtualMachineSnapshotKind, keyOf(snapshot), { signal }).catch(ignoreNotFound);
    const paused = stored?.metadata.annotations?.[PAUSED_FOR];
    if (paused === undefined) return;
    if (isRunning(vmi) && vmi.metadata.uid === paused) await this.askNode(vmi, NodeVerb.unpause, {}, signal);
    await this.mark(snapshot, null, signal);
  }

  private async mark(snapshot: VmSnapshot, uid: string | null, signal: AbortSignal): Promise<void> {
    const patch = { metadata: { annotations: { [PAUSED_FOR]: uid } } };
    await this.deps.client.patch(VirtualMachineSnapshotKind, keyOf(snapshot), patch, { type: 'merge', signal });
  }

  private freshInstance({ metadata, spec }: VmSnapshot, signal: AbortSignal): Promise<VirtualMachineInstance | undefined> {
    const key = { namespace: metadata.namespace ?? '', name: spec.source.name };
    return this.deps.client.get(VirtualMachineInstanceKind, key, { signal }).catch(ignoreNotFound);
  }

  private askNode(
    { metadata, status }: VirtualMachineInstance,
    verb: string,
    options: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<unknown> {
    const { name, namespace, uid } = metadata;
    return this.deps.nodes.call(status?.nodeName ?? '', { verb, params: { name, namespace, uid, ...options } }, signal);
  }
}
