import {
  type cdi,
  type DataVolume,
  DataVolumeKind,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type Pod,
  type StorageProfile,
} from '@slipway/api';
import { controllerOf, controllerReference, formatTime, keyOf, type ObjectKey, StatusError } from '@slipway/apimachinery';
import { after, type Clock, done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { grantClone, requestedClone } from '../clone/clone-grants.ts';
import type { ClonePlanner } from '../clone/clone-planner.ts';
import { type CloneSourceDeps, CloneSources } from '../clone/clone-sources.ts';
import type { StrategyPlan } from '../clone/clone-strategy.ts';
import { Annotation } from '../constants.ts';
import { advanceStages } from '../import/stages.ts';
import { UPLOAD_POD_ANNOTATION } from '../upload/upload-pod.ts';
import { Blocked } from './blocked.ts';
import { ClaimError } from './complete-claim.ts';
import { boundEvent, dataVolumeStatus, failureEvent, phaseEvent, type StatusFacts } from './data-volume-status.ts';
import { renderClaim } from './render-claim.ts';

export interface DataVolumeDeps extends CloneSourceDeps {
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly pods: Lister<Pod>;
  readonly profiles: Lister<StorageProfile>;
  readonly configs: Lister<cdi.CDIConfig>;
  readonly planner: ClonePlanner;
}

const RECHECK_MS = 30_000;

/** Gives each DataVolume its claim and tells how far the claim's population is. */
export class DataVolumeReconciler implements Reconciler {
  private readonly deps: DataVolumeDeps;
  private readonly sources: CloneSources;

  constructor(deps: DataVolumeDeps) {
    this.deps = deps;
    this.sources = new CloneSources(deps);
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const dataVolume = this.deps.dataVolumes.get(key);
    if (dataVolume === undefined || dataVolume.metadata.deletionTimestamp !== undefined) return done;
    try {
      const claim = await this.advance(dataVolume, await this.ensureClaim(dataVolume, signal), signal);
      await this.settleGrant(dataVolume, claim, signal);
      await this.writeStatus(dataVolume, { claim }, signal);
      return done;
    } catch (error) {
      if (!(error instanceof Blocked)) throw error;
      await this.writeStatus(dataVolume, { claim: undefined, problem: error.problem }, signal);
      return after(RECHECK_MS);
    }
  }

  private async ensureClaim(dataVolume: DataVolume, signal: AbortSignal): Promise<PersistentVolumeClaim> {
    const prePopulated = dataVolume.metadata.annotations?.[Annotation.prePopulated];
    const key = { namespace: dataVolume.metadata.namespace ?? '', name: prePopulated ?? dataVolume.metadata.name ?? '' };
    const found = this.deps.claims.get(key);
    if (found !== undefined) return this.own(dataVolume, found, signal);
    if (prePopulated !== undefined) throw new Blocked('NotFound', `PVC ${prePopulated} not found`);
    const clone = await this.sources.factsFor(dataVolume, signal);
    let plan: StrategyPlan | undefined;
    try {
      const rendered = renderClaim(dataVolume, {
        classes: this.deps.classes.list(),
        profile: (name) => this.deps.profiles.get({ namespace: '', name }),
        config: this.deps.configs.get({ namespace: '', name: 'config' }),
        ...(clone && { clone }),
        planClone: (spec, source) => (plan = this.deps.planner.plan(spec, source, wishOf(dataVolume))),
      });
      const claim = await this.deps.client.create(PersistentVolumeClaimKind, rendered, { signal });
      if (plan?.fallback) this.deps.events.warning(claim, plan.fallback.reason, plan.fallback.message);
      return claim;
    } catch (error) {
      throw explainCreate(error);
    }
  }

  /** A claim that was filled or is to be adopted becomes the DataVolume's, unless somebody else has it. */
  private async own(dataVolume: DataVolume, claim: PersistentVolumeClaim, signal: AbortSignal): Promise<PersistentVolumeClaim> {
    const { name, uid, annotations = {} } = dataVolume.metadata;
    const { ownerReferences = [], resourceVersion, annotations: marks } = claim.metadata;
    if (ownerReferences.some((owner) => owner.uid === uid) || annotations[Annotation.prePopulated] !== undefined) return claim;
    if (annotations[Annotation.claimAdoption] !== 'true' && marks?.[Annotation.populatedFor] !== name)
      throw new Blocked('ErrResourceExists', `Resource "${claim.metadata.name}" already exists and is not managed by DataVolume`);
    if (controllerOf(claim) !== undefined) return claim;
    const owners = [...ownerReferences, controllerReference(dataVolume, DataVolumeKind)];
    const patch = { metadata: { ownerReferences: owners, resourceVersion } };
    return this.deps.client.patch(PersistentVolumeClaimKind, keyOf(claim), patch, { type: 'merge', signal });
  }

  /** Tells the provisioner that a clone across namespaces is allowed. */
  private async settleGrant(dataVolume: DataVolume, claim: PersistentVolumeClaim, signal: AbortSignal): Promise<void> {
    const source = requestedClone(claim);
    if (source === undefined || source.namespace === claim.metadata.namespace || claim.status?.phase === 'Bound') return;
    // claims can be edited by more people than may clone
    if (!this.sources.isOf(dataVolume, source)) return;
    await this.sources.authorize(dataVolume, source, signal);
    await grantClone(this.deps.client, claim, source, signal);
  }

  /** Sends an import with stages on to its next one. */
  private async advance(
    dataVolume: DataVolume,
    claim: PersistentVolumeClaim,
    signal: AbortSignal,
  ): Promise<PersistentVolumeClaim> {
    const annotations = advanceStages(dataVolume, claim);
    if (annotations === undefined) return claim;
    // a claim that has changed meanwhile may be in its next stage already
    const metadata = { resourceVersion: claim.metadata.resourceVersion, annotations };
    return this.deps.client.patch(PersistentVolumeClaimKind, keyOf(claim), { metadata }, { type: 'merge', signal });
  }

  private async writeStatus(
    dataVolume: DataVolume,
    facts: Pick<StatusFacts, 'claim' | 'problem'>,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, events, clock, classes, pods } = this.deps;
    const { claim } = facts;
    const className = claim?.spec?.storageClassName;
    const annotations = claim?.metadata.annotations ?? {};
    const podName = annotations[Annotation.importPod] ?? annotations[UPLOAD_POD_ANNOTATION];
    const status = dataVolumeStatus(dataVolume, {
      ...facts,
      storageClass: className === undefined ? undefined : classes.get({ namespace: '', name: className }),
      pod: podName === undefined ? undefined : pods.get({ namespace: dataVolume.metadata.namespace ?? '', name: podName }),
      now: formatTime(clock.now()),
    });
    if (JSON.stringify(status) === JSON.stringify(dataVolume.status)) return;
    await client.patch(DataVolumeKind, keyOf(dataVolume), { status }, { type: 'merge', subresource: 'status', signal });
    this.tell(dataVolume, status, facts, events);
  }

  private tell(
    dataVolume: DataVolume,
    status: NonNullable<DataVolume['status']>,
    facts: Pick<StatusFacts, 'claim' | 'problem'>,
    events: EventRecorder,
  ): void {
    const news = [
      boundEvent(dataVolume.status, status, facts.problem !== undefined),
      status.phase === dataVolume.status?.phase ? undefined : phaseEvent(dataVolume, facts.claim, status.phase ?? ''),
      failureEvent(dataVolume.status, status, facts.claim),
    ];
    for (const event of news) {
      if (event?.type === 'Normal') events.normal(dataVolume, event.reason, event.message);
      else if (event !== undefined) events.warning(dataVolume, event.reason, event.message);
    }
  }
}

function explainCreate(error: unknown): unknown {
  if (error instanceof ClaimError) return new Blocked('ErrClaimNotValid', error.message, '');
  if (error instanceof StatusError && error.code === 403 && /exceeded quota/.test(error.message))
    return new Blocked('ErrExceededQuota', error.message);
  if (error instanceof StatusError && error.code === 422) return new Blocked('ErrClaimNotValid', error.message, '');
  return error;
}

/** The strategy that the author of a clone wishes for. */
const wishOf = ({ metadata: { annotations = {} } }: DataVolume): string | undefined =>
  annotations[Annotation.cloneStrategyOverride] ?? annotations[Annotation.cloneType];
