import {
  type kubevirt,
  NodeVerb,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineKind,
  VmiPhase,
} from '@slipway/api';
import { formatTime, isNotFound, keyOf, type ObjectKey } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  after,
  type Clock,
  done,
  type EventRecorder,
  type Lister,
  type NodeConnector,
  type Reconciler,
  type Result,
} from '@slipway/runtime';
import type { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';

type DumpRequest = kubevirt.VirtualMachineMemoryDumpRequest;

/** On a claim: the name of the dump in it, or `Failed`. */
export const DUMP_ANNOTATION = 'kubevirt.io/memory-dump';
const SELECTED_NODE = 'volume.kubernetes.io/selected-node';
const BINDING_RETRY_MS = 1_000;

export interface MemoryDumpReconcilerDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly nodes: NodeConnector;
  readonly vms: FreshObjects<VirtualMachine>;
  readonly vmis: Lister<VirtualMachineInstance>;
  readonly claims: Lister<PersistentVolumeClaim>;
}

/**
 * Lets the node of a running guest write its memory into the claim that a request names. A dump that was under way when
 * the server went down is made again.
 */
export class MemoryDumpReconciler implements Reconciler {
  private readonly deps: MemoryDumpReconcilerDeps;

  constructor(deps: MemoryDumpReconcilerDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const vm = this.deps.vms.get(key);
    const request = vm?.status?.memoryDumpRequest;
    if (vm === undefined || request === undefined) return done;
    switch (request.phase) {
      case 'Associating':
        return this.begin(vm, request, signal);
      case 'InProgress':
        return this.dump(vm, request, signal);
      case 'Dissociating':
        await this.store(vm, null, signal);
        return done;
      default:
        return done;
    }
  }

  private async begin(vm: VirtualMachine, request: DumpRequest, signal: AbortSignal): Promise<Result> {
    const claimKey = { namespace: vm.metadata.namespace ?? '', name: request.claimName };
    const claim = this.deps.claims.get(claimKey);
    const node = this.deps.vmis.get(keyOf(vm))?.status?.nodeName;
    if (claim === undefined || node === undefined)
      return this.finish(vm, request, claim === undefined ? `Claim ${request.claimName} is gone` : 'The guest is gone', signal);
    if (claim.status?.phase !== 'Bound') {
      if (claim.metadata.annotations?.[SELECTED_NODE] === undefined)
        await this.annotate(claimKey, { [SELECTED_NODE]: node }, signal);
      return after(BINDING_RETRY_MS);
    }
    const startTimestamp = formatTime(this.deps.clock.now());
    const stamp = startTimestamp.replace(/[-:]/g, '').replace('T', '-').replace('Z', '');
    const fileName = `${vm.metadata.name}-${request.claimName}-${stamp}.memory.dump`;
    await this.store(vm, { ...request, phase: 'InProgress', startTimestamp, fileName }, signal);
    return done; // its own event goes on
  }

  private async dump(vm: VirtualMachine, request: DumpRequest, signal: AbortSignal): Promise<Result> {
    const { nodes, vmis } = this.deps;
    const vmi = vmis.get(keyOf(vm));
    const node = vmi?.status?.nodeName;
    if (vmi?.status?.phase !== VmiPhase.running || node === undefined)
      return this.finish(vm, request, 'The guest ended before its memory was written', signal);
    const { namespace = '', name = '', uid = '' } = vmi.metadata;
    const params = { namespace, name, uid, claimName: request.claimName };
    try {
      await nodes.call(node, { verb: NodeVerb.memoryDump, params }, signal);
    } catch (error) {
      signal.throwIfAborted();
      return this.finish(vm, request, error instanceof Error ? error.message : String(error), signal);
    }
    return this.finish(vm, request, undefined, signal);
  }

  private async finish(
    vm: VirtualMachine,
    request: DumpRequest,
    message: string | undefined,
    signal: AbortSignal,
  ): Promise<Result> {
    const { events, clock } = this.deps;
    const hasFailed = message !== undefined;
    const claimKey = { namespace: vm.metadata.namespace ?? '', name: request.claimName };
    await this.annotate(claimKey, { [DUMP_ANNOTATION]: hasFailed ? 'Failed' : (request.fileName ?? '') }, signal);
    if (hasFailed) events.warning(vm, 'MemoryDumpError', `Memory dump to claim ${request.claimName} failed: ${message}`);
    const endTimestamp = formatTime(clock.now());
    const phase = hasFailed ? 'Failed' : 'Completed';
    await this.store(vm, { ...request, phase, endTimestamp, ...(hasFailed && { message }) }, signal);
    return done;
  }

  private async annotate(key: ObjectKey, annotations: Record<string, string>, signal: AbortSignal): Promise<void> {
    try {
      await this.deps.client.patch(PersistentVolumeClaimKind, key, { metadata: { annotations } }, { type: 'merge', signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** Written only while the request is the one that was read; a newer one is not overwritten. */
  private async store(vm: VirtualMachine, request: DumpRequest | null, signal: AbortSignal): Promise<void> {
    const path = '/status/memoryDumpRequest';
    const operations = [
      { op: 'test', path: `${path}/phase`, value: vm.status?.memoryDumpRequest?.phase },
      request === null ? { op: 'remove', path } : { op: 'replace', path, value: request },
    ] as const;
    const options = { type: 'json', subresource: 'status', signal } as const;
    this.deps.vms.remember(await this.deps.client.patch(VirtualMachineKind, keyOf(vm), operations, options));
  }
}
