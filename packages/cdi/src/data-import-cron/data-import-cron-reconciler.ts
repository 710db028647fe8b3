import {
  type DataImportCron,
  DataImportCronKind,
  type DataSource,
  DataSourceKind,
  type DataVolume,
  DataVolumeKind,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type Pod,
  PodKind,
  type StorageClass,
  type StorageProfile,
  type VolumeSnapshot,
  VolumeSnapshotKind,
} from '@slipway/api';
import {
  formatTime,
  ignoreAlreadyExists,
  ignoreNotFound,
  keyOf,
  type KubeObject,
  type ObjectKey,
  type ResourceKind,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  after,
  type Clock,
  done,
  type EventRecorder,
  type Lister,
  type Reconciler,
  type Result,
  serviceAccountUser,
} from '@slipway/runtime';
import { Annotation, CronLabel, LABELS } from '../constants.ts';
import { mayClone } from '../data-volume/clone-authorization.ts';
import { defaultClass } from '../storage-profile/storage-profile.ts';
import { cronStatus, importedDigest, type Progress } from './cron-status.ts';
import { importSnapshot, importVolume, outdatedImports, ownLabels, sourceOf } from './import-plan.ts';
import { pollAnswer, pollerName, pollerPod } from './poller-pod.ts';
import { pollPlan } from './schedule-plan.ts';

export interface DataImportCronDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly crons: Lister<DataImportCron>;
  readonly dataSources: Lister<DataSource>;
  readonly dataVolumes: Lister<DataVolume>;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly snapshots: Lister<VolumeSnapshot>;
  readonly pods: Lister<Pod>;
  readonly classes: Lister<StorageClass>;
  readonly profiles: Lister<StorageProfile>;
}

type Status = NonNullable<DataImportCron['status']>;
type Annotations = Readonly<Record<string, string>>;

/** What a look at the source brought. */
interface Poll {
  readonly annotations: Annotations;
  readonly error?: string;
  readonly isAuthorized: boolean;
  readonly nextMs?: number;
}

/** Keeps a DataSource pointing at the newest state of a source: asks, imports, hands over, and removes what is old. */
export class DataImportCronReconciler implements Reconciler {
  private readonly deps: DataImportCronDeps;

  constructor(deps: DataImportCronDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const cron = this.deps.crons.get(key);
    if (cron === undefined) return this.cleanUpAfter(key, signal);
    if (cron.metadata.deletionTimestamp !== undefined || !(await this.ownsDataSource(cron, signal))) return done;
    const className = await this.followClass(cron, signal);
    const poll = await this.poll(cron, signal);
    const desired = poll.annotations[Annotation.desiredDigest];
    const status = await this.import(cron, desired, poll, signal);
    const annotations = { ...poll.annotations, ...(className !== undefined && { [Annotation.cronStorageClass]: className }) };
    await this.write(cron, annotations, status, signal);
    await this.collect(cron, status, signal);
    return poll.nextMs === undefined ? done : after(Math.max(0, poll.nextMs - this.deps.clock.now()));
  }

  /** When the default class has changed, the present import goes, so that it is made once more in the new one. */
  private async followClass(cron: DataImportCron, signal: AbortSignal): Promise<string | undefined> {
    const before = cron.metadata.annotations?.[Annotation.cronStorageClass];
    const name = namedClass(cron) === undefined ? this.defaultClass() : undefined;
    // without a default class there is nothing to go to
    if (name === undefined || before === undefined || before === name) return name ?? before;
    const present = cron.status?.currentImports?.[0]?.DataVolumeName;
    for (const { kind, object } of this.importsOf(keyOf(cron)))
      if (object.metadata.name === present) await this.remove(kind, object, signal);
    return name;
  }

  private defaultClass(): string | undefined {
    return defaultClass(this.deps.classes.list(), undefined)?.metadata.name;
  }

  /** The managed DataSource exists from the beginning, so that people see what will be there. */
  private async ownsDataSource(cron: DataImportCron, signal: AbortSignal): Promise<boolean> {
    const { client, events, dataSources } = this.deps;
    const key = { namespace: cron.metadata.namespace ?? '', name: cron.spec.managedDataSource };
    const found = dataSources.get(key);
    const owner = found?.metadata.labels?.[CronLabel.cron];
    if (owner !== undefined && owner !== cron.metadata.name) {
      events.warning(cron, 'ErrDataSourceAlreadyManaged', `DataSource ${key.name} is already managed by DataImportCron ${owner}`);
      return false;
    }
    if (found === undefined) {
      const metadata = { ...key, labels: { ...LABELS, ...ownLabels(cron) } };
      const dataSource: DataSource = {
        apiVersion: 'cdi.kubevirt.io/v1beta1',
        kind: 'DataSource',
        metadata,
        spec: { source: {} },
      };
      await client.create(DataSourceKind, dataSource, { signal }).catch(ignoreAlreadyExists);
    } else if (owner === undefined)
      await client.patch(DataSourceKind, key, { metadata: { labels: ownLabels(cron) } }, { type: 'merge', signal });
    return true;
  }

  /** Annotations with the newest known state of the source. */
  private async poll(cron: DataImportCron, signal: AbortSignal): Promise<Poll> {
    const { clock } = this.deps;
    const now = clock.now();
    const before = cronAnnotations(cron);
    const { pvc } = sourceOf(cron);
    const plan = pollPlan(cron, now);
    const isAuthorized = pvc === undefined || (await this.mayRead(cron, pvc, signal));
    const rest = { isAuthorized, ...(plan.nextMs !== undefined && { nextMs: plan.nextMs }) };
    if (!isAuthorized) return { ...rest, annotations: before };
    if (pvc !== undefined) {
      const uid = this.deps.claims.get(pvc)?.metadata.uid;
      const error = uid === undefined ? { error: `PVC ${pvc.namespace}/${pvc.name} not found` } : {};
      return { ...rest, ...error, annotations: { ...before, ...(uid && { [Annotation.desiredDigest]: `uid:${uid}` }) } };
    }
    const pod = this.deps.pods.get({ namespace: cron.metadata.namespace ?? '', name: pollerName(cron) });
    if (pod === undefined) {
      if (plan.isDue) await this.deps.client.create(PodKind, pollerPod(cron), { signal }).catch(ignoreAlreadyExists);
      return { ...rest, annotations: before };
    }
    const { digest, error } = pollAnswer(pod);
    if (error !== undefined) this.deps.events.warning(cron, 'PollFailed', error);
    if (digest === undefined) return { ...rest, annotations: before, ...(error !== undefined && { error }) };
    const annotations = { [Annotation.lastCronTime]: formatTime(now), [Annotation.desiredDigest]: digest };
    const next = pollPlan({ ...cron, metadata: { ...cron.metadata, annotations } }, now).nextMs;
    // the answer is kept before the pod that gave it goes
    await this.deps.client.patch(DataImportCronKind, keyOf(cron), { metadata: { annotations } }, { type: 'merge', signal });
    await this.deps.client.delete(PodKind, keyOf(pod), { signal }).catch(ignoreNotFound);
    return { isAuthorized, annotations, ...(next !== undefined && { nextMs: next }) };
  }

  private async mayRead(cron: DataImportCron, source: ObjectKey, signal: AbortSignal): Promise<boolean> {
    const { namespace = '' } = cron.metadata;
    if (source.namespace === namespace) return true;
    const user = serviceAccountUser(namespace, cron.spec.serviceAccountName ?? 'default');
    return mayClone(this.deps.client, user, { kind: 'PersistentVolumeClaim', ...source }, signal);
  }

  /** Brings the import of the wanted state forward by one step; returns the status to write. */
  private async import(cron: DataImportCron, desired: string | undefined, poll: Poll, signal: AbortSignal): Promise<Status> {
    const now = formatTime(this.deps.clock.now());
    const wanted =
      desired !== undefined && poll.isAuthorized ? importVolume(cron, desired, now, this.needsReadWriteOnce(cron)) : undefined;
    const phase = wanted && (await this.ensureImport(wanted, signal));
    const isDone = wanted !== undefined && phase === 'Succeeded' && (await this.handOver(cron, keyOf(wanted).name, signal));
    // the import of this state may be on its way for a second time
    const isRepeated = wanted !== undefined && wanted.metadata.name === cron.status?.lastImportedPVC?.name;
    const progress: Progress = {
      desired,
      imported: isDone ? desired : isRepeated ? undefined : importedDigest(cron.status),
      phase,
      pollError: poll.error,
      isAuthorized: poll.isAuthorized,
      sourceNamespace: sourceOf(cron).pvc?.namespace,
    };
    return cronStatus(cron.status, {
      progress,
      volume: wanted && keyOf(wanted),
      isDone,
      lastExecution: poll.annotations[Annotation.lastCronTime],
      sourceFormat: this.sourceFormat(cron),
      now,
    });
  }

  /** Phase of the import; one that exists already, in whatever form, is used again. */
  private async ensureImport(wanted: DataVolume, signal: AbortSignal): Promise<string> {
    const { client, dataVolumes, claims, snapshots } = this.deps;
    const key = keyOf(wanted);
    const [found, snapshot, claim] = [dataVolumes.get(key), snapshots.get(key), claims.get(key)];
    // what is on its way out makes room for a new import
    if ([found, snapshot, claim].some((object) => object?.metadata.deletionTimestamp !== undefined)) return '';
    if (found !== undefined) return found.status?.phase ?? '';
    if (snapshot?.status?.readyToUse === true) return 'Succeeded';
    if (claim?.metadata.ownerReferences?.some(({ kind }) => kind === 'DataVolume')) return '';
    if (claim?.status?.phase === 'Bound') return 'Succeeded';
    await client.create(DataVolumeKind, wanted, { signal }).catch(ignoreAlreadyExists);
    return '';
  }

  private profileOf(cron: DataImportCron): StorageProfile | undefined {
    return this.deps.profiles.get({ namespace: '', name: namedClass(cron) ?? this.defaultClass() ?? '' });
  }

  private sourceFormat(cron: DataImportCron): string {
    return this.profileOf(cron)?.status?.dataImportCronSourceFormat ?? 'pvc';
  }

  private needsReadWriteOnce(cron: DataImportCron): boolean {
    return this.profileOf(cron)?.metadata.annotations?.[Annotation.cronNeedsReadWriteOnce] === 'true';
  }

  /** Points the DataSource at a finished import; true when it does. */
  private async handOver(cron: DataImportCron, name: string, signal: AbortSignal): Promise<boolean> {
    const { client, dataSources } = this.deps;
    const namespace = cron.metadata.namespace ?? '';
    const isSnapshot = this.sourceFormat(cron) === 'snapshot';
    if (isSnapshot && !(await this.ensureSnapshot(cron, { namespace, name }, signal))) return false;
    const key = { namespace, name: cron.spec.managedDataSource };
    const [kept, dropped] = isSnapshot ? (['snapshot', 'pvc'] as const) : (['pvc', 'snapshot'] as const);
    const present = dataSources.get(key)?.spec.source;
    if (present?.[kept]?.name !== name || present[dropped] !== undefined) {
      const source = { [kept]: { namespace, name }, [dropped]: null, dataSource: null };
      await client.patch(DataSourceKind, key, { spec: { source } }, { type: 'merge', signal });
    }
    // a snapshot holds everything that the claim held
    if (isSnapshot) await client.delete(DataVolumeKind, { namespace, name }, { signal }).catch(ignoreNotFound);
    return true;
  }

  private async ensureSnapshot(cron: DataImportCron, key: ObjectKey, signal: AbortSignal): Promise<boolean> {
    const { client, snapshots, clock } = this.deps;
    const found = snapshots.get(key);
    if (found !== undefined) return found.status?.readyToUse === true;
    const snapshot = importSnapshot(cron, key, {
      claim: this.deps.claims.get(key),
      profile: this.profileOf(cron),
      now: formatTime(clock.now()),
    });
    await client.create(VolumeSnapshotKind, snapshot, { signal }).catch(ignoreAlreadyExists);
    return false;
  }

  private async write(cron: DataImportCron, annotations: Annotations, status: Status, signal: AbortSignal): Promise<void> {
    const isSame = JSON.stringify([cronAnnotations(cron), cron.status]) === JSON.stringify([annotations, status]);
    // the kind has no status subresource
    if (!isSame)
      await this.deps.client.patch(
        DataImportCronKind,
        keyOf(cron),
        { metadata: { annotations }, status },
        { type: 'merge', signal },
      );
  }

  /** Removes imports that are too many. */
  private async collect(cron: DataImportCron, status: Status, signal: AbortSignal): Promise<void> {
    const imports = this.importsOf({ namespace: cron.metadata.namespace ?? '', name: cron.metadata.name ?? '' });
    const present = [status.currentImports?.[0]?.DataVolumeName, status.lastImportedPVC?.name].filter(
      (name) => name !== undefined,
    );
    const names = new Set(
      outdatedImports(
        cron,
        imports.map(({ object }) => object),
        present,
      ),
    );
    for (const { kind, object } of imports) if (names.has(object.metadata.name ?? '')) await this.remove(kind, object, signal);
  }

  private importsOf({ namespace, name }: ObjectKey) {
    const { dataVolumes, claims, snapshots } = this.deps;
    const mine = ({ metadata }: KubeObject): boolean =>
      metadata.namespace === namespace && metadata.labels?.[CronLabel.cron] === name;
    const ofKind = <T extends KubeObject>(kind: ResourceKind<T>, lister: Lister<T>) =>
      lister
        .list()
        .filter(mine)
        .map((object) => ({ kind: kind as ResourceKind<KubeObject>, object }));
    return [
      ...ofKind(DataVolumeKind, dataVolumes),
      // a claim of a DataVolume goes with it
      ...ofKind(PersistentVolumeClaimKind, claims).filter(({ object }) => (object.metadata.ownerReferences ?? []).length === 0),
      ...ofKind(VolumeSnapshotKind, snapshots),
    ] as readonly { kind: ResourceKind<KubeObject>; object: DataVolume | PersistentVolumeClaim | VolumeSnapshot }[];
  }

  /** `retentionPolicy: None`: what a deleted cron made goes too. */
  private async cleanUpAfter(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const dataSources = this.deps.dataSources
      .list()
      .map((object) => ({ kind: DataSourceKind as ResourceKind<KubeObject>, object }));
    for (const { kind, object } of [...this.importsOf(key), ...dataSources]) {
      const { labels, namespace } = object.metadata;
      const isMine = namespace === key.namespace && labels?.[CronLabel.cron] === key.name;
      if (isMine && labels[CronLabel.cleanUp] !== undefined) await this.remove(kind, object, signal);
    }
    return done;
  }

  private async remove(kind: ResourceKind<KubeObject>, object: KubeObject, signal: AbortSignal): Promise<void> {
    if (object.metadata.deletionTimestamp === undefined)
      await this.deps.client.delete(kind, keyOf(object), { signal }).catch(ignoreNotFound);
  }
}

/** The class that the cron's template names. */
const namedClass = ({ spec: { template } }: DataImportCron): string | undefined =>
  (template.spec.storage ?? template.spec.pvc)?.storageClassName;

/** The annotations that this controller keeps; others are none of its business. */
function cronAnnotations({ metadata: { annotations = {} } }: DataImportCron): Annotations {
  const names = [Annotation.lastCronTime, Annotation.desiredDigest, Annotation.cronStorageClass];
  return Object.fromEntries(names.flatMap((name) => (annotations[name] === undefined ? [] : [[name, annotations[name]]])));
}
