import {
  type DataSource,
  type DataVolume,
  parseLocalHandle,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type StorageClass,
  VirtualMachineKind,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
} from '@slipway/api';
import { ignoreNotFound, type ObjectKey } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type Lister, serviceAccountUser } from '@slipway/runtime';
import { dataSourceFacts, resolveDataSource } from '../data-source/data-source-controller.ts';
import { Blocked } from '../data-volume/blocked.ts';
import { type CloneReference, denial, mayClone, referenceIn } from '../data-volume/clone-authorization.ts';
import type { CloneFacts } from '../data-volume/complete-claim.ts';
import { requesterOf } from '../data-volume/data-volume-admission.ts';
import { bytesOf, driverOf } from './clone-planner.ts';

export interface CloneSourceDeps {
  readonly client: Client;
  readonly dataVolumes: Lister<DataVolume>;
  readonly dataSources: Lister<DataSource>;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly volumes: Lister<PersistentVolume>;
  readonly classes: Lister<StorageClass>;
  readonly snapshots: Lister<VolumeSnapshot>;
  readonly snapshotContents: Lister<VolumeSnapshotContent>;
}

/** What DataVolumes clone: found, allowed and ready. Throws Blocked for what is not. */
export class CloneSources {
  private readonly deps: CloneSourceDeps;

  constructor(deps: CloneSourceDeps) {
    this.deps = deps;
  }

  /** Undefined for a DataVolume that clones nothing. */
  async factsFor(dataVolume: DataVolume, signal: AbortSignal): Promise<CloneFacts | undefined> {
    const reference = this.referenceOf(dataVolume);
    if (reference === undefined) return undefined;
    this.checkExists(reference);
    await this.authorize(dataVolume, reference, signal);
    return this.factsOf(reference);
  }

  /** The source, with no questions about rights. */
  factsOf(source: CloneReference): CloneFacts {
    this.checkExists(source);
    return source.kind === 'VolumeSnapshot' ? this.snapshotFacts(source) : this.claimFacts(source);
  }

  /**
   * Whether the DataVolume's claim may be filled from a source of another namespace. The rights are looked at here and
   * not only when the DataVolume was made: they may have been taken away, and a DataSource may point elsewhere by now.
   */
  async authorize(dataVolume: DataVolume, source: CloneReference, signal: AbortSignal): Promise<void> {
    const { namespace = '' } = dataVolume.metadata;
    if (source.namespace === namespace) return;
    const requester = requesterOf(dataVolume);
    const users = requester === undefined ? [] : [requester];
    // who makes a disk for a VM has the rights of all VMs
    if (requester?.virtualMachine !== undefined)
      users.push(
        serviceAccountUser(namespace, await this.serviceAccountOf({ namespace, name: requester.virtualMachine }, signal)),
      );
    for (const user of users)
      if (!(await mayClone(this.deps.client, user, source, signal)))
        throw new Blocked('ErrUnableToClone', denial(user.username, source.namespace));
    if (users.length === 0) throw new Blocked('ErrUnableToClone', denial('(unknown)', source.namespace));
  }

  /**
   * Whether what a claim asks for is what its DataVolume says. Whoever may edit claims could ask for more than that.
   * A DataSource may have moved on since: then the rights alone decide.
   */
  isOf(dataVolume: DataVolume, source: CloneReference): boolean {
    if (dataVolume.spec.sourceRef !== undefined) return true;
    const own = referenceIn(dataVolume.spec.source ?? {});
    return own?.kind === source.kind && own.namespace === source.namespace && own.name === source.name;
  }

  private referenceOf({ spec, metadata }: DataVolume): CloneReference | undefined {
    if (spec.sourceRef === undefined) return referenceIn(spec.source ?? {});
    const key = { namespace: spec.sourceRef.namespace ?? metadata.namespace ?? '', name: spec.sourceRef.name };
    const dataSource = this.deps.dataSources.get(key);
    if (dataSource === undefined)
      throw new Blocked(
        'CloneWithoutSource',
        `DataSource ${key.namespace}/${key.name} doesn't exist: create it, or correct spec.sourceRef`,
      );
    const { dataSources, claims, dataVolumes, snapshots } = this.deps;
    const { source, condition } = resolveDataSource(dataSource, dataSourceFacts(dataSources, claims, dataVolumes, snapshots));
    if (source === undefined || condition.status !== 'True')
      throw new Blocked('CloneWithoutSource', `DataSource ${key.namespace}/${key.name} is not ready: ${condition.message}`);
    return referenceIn(source);
  }

  private checkExists({ kind, ...key }: CloneReference): void {
    const isSnapshot = kind === 'VolumeSnapshot';
    const found = isSnapshot ? this.deps.snapshots.get(key) : this.deps.claims.get(key);
    if (found === undefined)
      throw new Blocked('CloneWithoutSource', `The source ${isSnapshot ? 'snapshot' : 'pvc'} ${key.name} doesn't exist`);
  }

  private claimFacts(source: CloneReference): CloneFacts {
    const claim = this.deps.claims.get(source);
    if (claim !== undefined) this.checkFilled(claim);
    const { volumeName, storageClassName = '', volumeMode = 'Filesystem' } = claim?.spec ?? {};
    const volume = volumeName ? this.deps.volumes.get({ namespace: '', name: volumeName }) : undefined;
    if (claim?.status?.phase !== 'Bound' || volume === undefined)
      throw new Blocked('CloneWithoutSource', `The source pvc ${source.name} is not bound yet`);
    const node = nodeOf(volume);
    return {
      ...source,
      volumeMode,
      capacityBytes: bytesOf(claim.status.capacity?.['storage']),
      driver: driverOf(volume, this.deps.classes.get({ namespace: '', name: storageClassName })),
      ...(node !== undefined && { node }),
    };
  }

  private snapshotFacts(source: CloneReference): CloneFacts {
    const { readyToUse, boundVolumeSnapshotContentName: name = '', restoreSize } = this.deps.snapshots.get(source)?.status ?? {};
    const content = this.deps.snapshotContents.get({ namespace: '', name });
    if (readyToUse !== true || content === undefined)
      throw new Blocked('CloneWithoutSource', `The source snapshot ${source.name} is not ready to use`, 'CloneScheduled');
    const node = parseLocalHandle(content.status?.snapshotHandle)?.node;
    return {
      ...source,
      volumeMode: content.spec.sourceVolumeMode ?? 'Filesystem',
      capacityBytes: bytesOf(restoreSize),
      driver: content.spec.driver,
      ...(node !== undefined && { node }),
    };
  }

  private checkFilled({ metadata }: PersistentVolumeClaim): void {
    const owner = metadata.ownerReferences?.find(({ kind }) => kind === 'DataVolume');
    if (owner === undefined) return;
    const phase = this.deps.dataVolumes.get({ namespace: metadata.namespace ?? '', name: owner.name })?.status?.phase;
    if (phase !== undefined && phase !== 'Succeeded')
      throw new Blocked('CloneSourceInUse', `The source pvc ${metadata.name} is still being filled`, 'CloneScheduled');
  }

  /** Of a VM that is gone, the account that every pod has. */
  private async serviceAccountOf(key: ObjectKey, signal: AbortSignal): Promise<string> {
    const vm = await this.deps.client.get(VirtualMachineKind, key, { signal }).catch(ignoreNotFound);
    const volume = vm?.spec.template.spec?.volumes?.find(
      ({ serviceAccount }) => serviceAccount?.serviceAccountName !== undefined,
    );
    return volume?.serviceAccount?.serviceAccountName ?? 'default';
  }
}

function nodeOf(volume: PersistentVolume): string | undefined {
  const terms = volume.spec?.nodeAffinity?.required?.nodeSelectorTerms ?? [];
  return terms.flatMap((term) => term.matchExpressions ?? []).find(({ key }) => key === 'kubernetes.io/hostname')?.values?.[0];
}
