import { type Pod, PodKind, SecretKind, ServiceKind, VirtualMachineExportKind } from '@slipway/api';
import { formatTime, ignoreNotFound, isAlreadyExists, keyOf, type ObjectKey } from '@slipway/apimachinery';
import { after, type Clock, done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { statusPatch } from '../vm-snapshot/objects.ts';
import {
  expiryOf,
  exporterPod,
  exportService,
  exportStatus,
  podName,
  secretName,
  type SourceState,
  tokenSecret,
  type VmExport,
} from './export-plan.ts';
import { type ExportSourceDeps, findSource } from './export-source.ts';

export interface VmExportDeps extends ExportSourceDeps {
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly exports: Lister<VmExport>;
  readonly pods: Lister<Pod>;
  /** A new secret that nobody can guess. */
  readonly token: () => string;
  readonly server: { readonly url: string; readonly cert: string };
}

const RECHECK_MS = 5_000;

/** Offers the disks of a VM, a snapshot or a claim for download, for a limited time. */
export class VmExportReconciler implements Reconciler {
  private readonly deps: VmExportDeps;

  constructor(deps: VmExportDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const { client, clock, exports, server } = this.deps;
    const vmExport = exports.get(key);
    if (vmExport === undefined || vmExport.metadata.deletionTimestamp !== undefined) return done;
    const leftMs = expiryOf(vmExport) - clock.now();
    if (leftMs <= 0) {
      await client.delete(VirtualMachineExportKind, key, { signal }).catch(ignoreNotFound);
      return done;
    }
    await this.ensureSecret(vmExport, signal);
    const source = await findSource(this.deps, vmExport, signal);
    const pod = await this.ensureExporter(vmExport, source, signal);
    const isServed = source.state === 'ready' && isReady(pod);
    const status = exportStatus(vmExport, { source, isServed, pod, server, now: formatTime(clock.now()) });
    const patch = statusPatch(vmExport.status, status);
    if (patch !== undefined)
      await client
        .patch(VirtualMachineExportKind, key, patch, { type: 'merge', subresource: 'status', signal })
        .catch(ignoreNotFound);
    return after(isServed ? leftMs : Math.min(leftMs, RECHECK_MS));
  }

  private async ensureSecret(vmExport: VmExport, signal: AbortSignal): Promise<void> {
    const { client, events, token } = this.deps;
    if (vmExport.spec.tokenSecretRef !== undefined || vmExport.status?.tokenSecretRef !== undefined) return;
    const secret = tokenSecret(vmExport, token());
    try {
      await client.create(SecretKind, secret, { signal });
      events.normal(vmExport, 'SecretCreated', `Created default secret ${secret.metadata.namespace}/${secretName(vmExport)}`);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }

  /** The exporter runs as long as its disks are free; a VM that is started takes precedence. */
  private async ensureExporter(vmExport: VmExport, source: SourceState, signal: AbortSignal): Promise<Pod | undefined> {
    const { client, pods, events } = this.deps;
    const key = { namespace: vmExport.metadata.namespace ?? '', name: podName(vmExport) };
    const pod = pods.get(key);
    if (source.state !== 'ready') {
      if (pod !== undefined && pod.metadata.deletionTimestamp === undefined) {
        events.normal(vmExport, 'ExportPaused', 'Source is used elsewhere: the export is paused');
        await client.delete(PodKind, key, { signal }).catch(ignoreNotFound);
      }
      return undefined;
    }
    await this.ensureService(vmExport, signal);
    if (pod === undefined) {
      const made = exporterPod(vmExport, source.claims);
      try {
        await client.create(PodKind, made, { signal });
        events.normal(vmExport, 'ExporterPodCreated', `Created exporter pod ${key.namespace}/${key.name}`);
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
      }
      return undefined;
    }
    const hasEnded = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    if (hasEnded && pod.metadata.deletionTimestamp === undefined) {
      events.warning(vmExport, 'ExporterPodFailedOrCompleted', `Exporter pod ${key.namespace}/${key.name} has ended`);
      await client.delete(PodKind, keyOf(pod), { signal }).catch(ignoreNotFound);
    }
    return pod;
  }

  private async ensureService(vmExport: VmExport, signal: AbortSignal): Promise<void> {
    const { client, events } = this.deps;
    if (vmExport.status?.serviceName !== undefined && vmExport.status.phase === 'Ready') return;
    try {
      const service = await client.create(ServiceKind, exportService(vmExport), { signal });
      events.normal(vmExport, 'ServiceCreated', `Created service ${service.metadata.namespace}/${service.metadata.name}`);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }
}

const isReady = (pod: Pod | undefined): boolean =>
  pod?.metadata.deletionTimestamp === undefined &&
  (pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false);
