import { type cdi, CDIKind, DataImportCronKind, DataSourceKind, DataVolumeKind } from '@slipway/api';
import {
  type Condition,
  type ConditionUpdate,
  deepEqual,
  formatTime,
  hasFinalizer,
  ignoreNotFound,
  type KubeObject,
  type ObjectKey,
  type ResourceKind,
  setCondition,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  after,
  type Clock,
  done,
  type EventRecorder,
  type Lister,
  type PlatformSettings,
  type Reconciler,
  type Result,
} from '@slipway/runtime';
import { healthy } from '../components/component-status.ts';
import { removeWorkload } from '../components/remove-workload.ts';
import { activeCdi, CDI_FINALIZER, CONFIG_AUTHORITY } from './active-cdi.ts';
import { ensureUploadProxy } from './upload-proxy-service.ts';

/** What is removed with CDI, makers before what they make. Claims go with their DataVolumes. */
export const CDI_WORKLOADS: readonly ResourceKind<KubeObject>[] = [DataImportCronKind, DataSourceKind, DataVolumeKind];

const RECHECK_MS = 1_000;

export interface CdiDeps {
  readonly client: Client;
  readonly clock: Clock;
  readonly events: EventRecorder;
  readonly settings: PlatformSettings;
  readonly cdis: Lister<cdi.CDI>;
  readonly config: () => cdi.CDIConfig | undefined;
  readonly workloads: readonly { readonly kind: ResourceKind<KubeObject>; readonly objects: Lister<KubeObject> }[];
}

interface Verdict {
  readonly phase: string;
  readonly conditions: readonly ConditionUpdate[];
}

/**
 * Reports the import controllers, which run beside it, as deployed; takes DataVolumes along when CDI goes. There is
 * nothing to roll out, so `Deploying` and `Upgrading` are passed without being seen.
 */
export class CdiReconciler implements Reconciler {
  private readonly deps: CdiDeps;

  constructor(deps: CdiDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const cdi = this.deps.cdis.get(key);
    if (cdi === undefined) return done;
    if (cdi.metadata.deletionTimestamp) return this.uninstall(cdi, signal);
    const active = activeCdi(this.deps.cdis);
    if (active !== undefined && active.metadata.uid !== cdi.metadata.uid) {
      await this.write(cdi, unwanted(active), signal);
      return done;
    }
    const owner = await this.adopt(cdi, signal);
    await this.write(owner, { phase: 'Deployed', conditions: healthy('DeployCompleted', 'Deployment Completed') }, signal);
    await ensureUploadProxy(this.deps.client, cdi, this.deps.settings, signal);
    return done;
  }

  /** Admission adds the finalizer; older objects have none yet. A CDIConfig that was written first is taken over once. */
  private async adopt(cdi: cdi.CDI, signal: AbortSignal): Promise<cdi.CDI> {
    const { annotations = {}, finalizers = [] } = cdi.metadata;
    const rules = annotations[CONFIG_AUTHORITY] !== undefined;
    if (rules && hasFinalizer(cdi, CDI_FINALIZER)) return cdi;
    const earlier = cdi.spec.config === undefined ? this.deps.config()?.spec : undefined;
    const next: cdi.CDI = {
      ...cdi,
      metadata: {
        ...cdi.metadata,
        annotations: { ...annotations, [CONFIG_AUTHORITY]: '' },
        finalizers: [...new Set([...finalizers, CDI_FINALIZER])],
      },
      spec: { ...cdi.spec, ...(!rules && earlier !== undefined && { config: earlier }) },
    };
    return this.deps.client.update(CDIKind, next, { signal });
  }

  /** With `BlockUninstallIfWorkloadsExist` there are none left: admission has refused otherwise. */
  private async uninstall(cdi: cdi.CDI, signal: AbortSignal): Promise<Result> {
    if (!hasFinalizer(cdi, CDI_FINALIZER)) return done;
    const active = activeCdi(this.deps.cdis);
    const remaining = active?.metadata.uid === cdi.metadata.uid ? this.remaining(cdi) : [];
    if (remaining.length > 0) {
      await this.write(cdi, deleting('Deleting', remaining.length), signal);
      for (const { kind, object } of remaining) await removeWorkload(this.deps, cdi, kind, object, signal);
      return after(RECHECK_MS);
    }
    const last = await this.write(cdi, deleting('Deleted', 0), signal);
    const finalizers = (last.metadata.finalizers ?? []).filter((finalizer) => finalizer !== CDI_FINALIZER);
    const metadata = { ...last.metadata, finalizers };
    await this.deps.client.update(CDIKind, { ...last, metadata }, { signal }).catch(ignoreNotFound);
    return done;
  }

  /** Only what was there before: a VM with templates asks for its disks again as long as it exists. */
  private remaining({ metadata: { deletionTimestamp = '' } }: cdi.CDI) {
    return this.deps.workloads.flatMap(({ kind, objects }) =>
      objects
        .list()
        .filter(({ metadata }) => (metadata.creationTimestamp ?? '') <= deletionTimestamp)
        .map((object) => ({ kind, object })),
    );
  }

  /** The kind has no status subresource: its status is a field like any other. */
  private async write(cdi: cdi.CDI, { phase, conditions: updates }: Verdict, signal: AbortSignal): Promise<cdi.CDI> {
    const { version } = this.deps.settings;
    const now = formatTime(this.deps.clock.now());
    const before = (cdi.status?.conditions ?? []) as readonly Condition[]; // the same shape, more of it optional
    const conditions = updates.reduce((all, update) => setCondition(all, update, now), before);
    const versions = { operatorVersion: version, targetVersion: version, observedVersion: version };
    const status = { ...cdi.status, phase, ...versions, conditions } as NonNullable<cdi.CDI['status']>; // as above
    if (deepEqual(status, cdi.status)) return cdi;
    return this.deps.client.update(CDIKind, { ...cdi, status }, { signal });
  }
}

function unwanted({ metadata }: cdi.CDI): Verdict {
  const reason = 'ConfigError';
  const message = `Only one CDI object is active, and that is ${metadata.name}: delete this one`;
  return {
    phase: 'Error',
    conditions: [
      { type: 'Available', status: 'False', reason, message },
      { type: 'Progressing', status: 'False', reason, message },
      { type: 'Degraded', status: 'True', reason, message },
    ],
  };
}

function deleting(phase: 'Deleting' | 'Deleted', workloads: number): Verdict {
  const reason = 'DeletionInProgress';
  const message = workloads === 0 ? 'Deletion was triggered' : `Deletion was triggered, ${workloads} workloads are being removed`;
  return {
    phase,
    conditions: [
      { type: 'Available', status: 'False', reason, message },
      { type: 'Progressing', status: 'True', reason, message },
      { type: 'Degraded', status: 'False', reason, message },
    ],
  };
}
