import type {
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  VirtualMachineInstance,
  VirtualMachineInstanceMigration,
} from '@slipway/api';
import { PodKind, Reason } from '@slipway/api';
import { isAlreadyExists, isNotFound, keyOf, type ObjectKey, StatusError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { EventRecorder, Lister } from '@slipway/runtime';
import { MIGRATION_JOB_NAME, type MigrationTargetInput, processorSelector } from '@slipway/virt';
import type { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { podSuffix } from '../virtual-machine-instance/pod-suffix.ts';
import { isStateOf } from '../virtual-machine-instance/state-claim.ts';
import type { MigrationInput } from './migration-plan.ts';
import { type ClaimFacts, claimsToMove } from './moved-claims.ts';

export interface TargetPodsDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly vmis: FreshObjects<VirtualMachineInstance>;
  readonly pods: Lister<Pod>;
  readonly nodes: Lister<Node>;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly volumes: Lister<PersistentVolume>;
  /** The target pod, without name. */
  readonly renderPod: (vmi: VirtualMachineInstance, target: MigrationTargetInput, stateClaim: string | undefined) => Pod;
}

/** Claims of a namespace with their volumes. */
export function claimFacts({ claims, volumes }: Pick<TargetPodsDeps, 'claims' | 'volumes'>, namespace: string): ClaimFacts {
  return {
    claim: (name) => claims.get({ namespace, name }),
    volume: (name) => volumes.get({ namespace: '', name }),
  };
}

/** Makes the pods that guests move to, and removes those that no guest will come to. */
export class TargetPods {
  private readonly deps: TargetPodsDeps;

  constructor(deps: TargetPodsDeps) {
    this.deps = deps;
  }

  /** True when a quota stands in the way. */
  async create(input: MigrationInput, vmi: VirtualMachineInstance, signal: AbortSignal): Promise<boolean> {
    const { client, events } = this.deps;
    const { migration } = input;
    const { namespace = '', name = '', uid = '' } = migration.metadata;
    try {
      const rendered = this.render(input, vmi);
      const metadata = { ...rendered.metadata, name: `virt-launcher-${vmi.metadata.name}-${podSuffix(uid)}` };
      const pod = await client.create(PodKind, { ...rendered, metadata }, { signal });
      events.normal(migration, Reason.successfulCreate, `Created migration target pod ${namespace}/${pod.metadata.name}`);
      this.warnOfProcessors(vmi);
      return false;
    } catch (error) {
      if (isAlreadyExists(error)) return false;
      const message = error instanceof Error ? error.message : String(error);
      if (!signal.aborted) events.warning(migration, Reason.failedCreate, `Error creating pod: ${message}`);
      if (error instanceof StatusError && error.code === 403 && message.includes('exceeded quota')) return true;
      throw new Error(`Cannot create the target pod of migration ${name}`, { cause: error });
    }
  }

  private render({ migration, sourcePod }: MigrationInput, vmi: VirtualMachineInstance): Pod {
    const { nodes, renderPod } = this.deps;
    const { namespace = '', name = '', uid = '' } = migration.metadata;
    const stateClaim = this.stateClaimOf(vmi);
    const source = nodes.get({ namespace: '', name: vmi.status?.nodeName ?? '' });
    const target: MigrationTargetInput = {
      ...{ name, uid, addedNodeSelector: migration.spec.addedNodeSelector },
      incomingClaims: claimsToMove(vmi, stateClaim, claimFacts(this.deps, namespace)),
      sourceNodeLabels: source?.metadata.labels ?? {},
      ...(sourcePod && { source: sourcePod }),
    };
    return renderPod(vmi, target, stateClaim);
  }

  /** A guest that has the processor of its node goes only where there is the same one. */
  private warnOfProcessors(vmi: VirtualMachineInstance): void {
    const nodes = this.deps.nodes.list();
    const source = nodes.find(({ metadata }) => metadata.name === vmi.status?.nodeName);
    const needed = Object.keys(processorSelector(vmi, source?.metadata.labels ?? {}));
    const fits = ({ metadata }: Node): boolean => needed.every((label) => metadata.labels?.[label] === 'true');
    if (needed.length === 0 || nodes.some((node) => node !== source && fits(node))) return;
    const message = `No other node has the processor of ${vmi.status?.nodeName}: ${needed.join(', ')}`;
    this.deps.events.warning(vmi, 'NoSuitableNodesForHostModelMigration', message);
  }

  private stateClaimOf(vmi: VirtualMachineInstance): string | undefined {
    const owners = [vmi.metadata.uid ?? '', ...(vmi.metadata.ownerReferences ?? []).map(({ uid }) => uid)];
    const claims = owners.flatMap((owner) => this.deps.claims.ownedBy(owner));
    return claims.find((claim) => isStateOf(claim, vmi))?.metadata.name;
  }

  /** The pod of a migration that has failed. */
  async remove(migration: VirtualMachineInstanceMigration, pod: Pod, signal: AbortSignal): Promise<void> {
    if (pod.metadata.deletionTimestamp !== undefined) return;
    if (await this.delete(pod, signal))
      this.deps.events.normal(migration, Reason.successfulDelete, `Deleted migration target pod ${pod.metadata.name}`);
  }

  /** Those of a migration that somebody has removed without waiting for its end. */
  async removeOrphans({ namespace, name }: ObjectKey, signal: AbortSignal): Promise<void> {
    for (const pod of this.deps.pods.list(namespace)) {
      const { metadata } = pod;
      if (metadata.annotations?.[MIGRATION_JOB_NAME] !== name || metadata.deletionTimestamp !== undefined) continue;
      if (!this.isInUse(pod)) await this.delete(pod, signal);
    }
  }

  private isInUse({ metadata, spec }: Pod): boolean {
    const owner = metadata.ownerReferences?.find(({ kind }) => kind === 'VirtualMachineInstance');
    const vmi = this.deps.vmis.get({ namespace: metadata.namespace ?? '', name: owner?.name ?? '' });
    const { nodeName, migrationState: state } = vmi?.status ?? {};
    if (spec?.nodeName !== undefined && spec.nodeName === nodeName) return true;
    // agents that are at work end it themselves: the instance still says what they do
    return state?.targetPod === metadata.name && !state?.completed;
  }

  private async delete(pod: Pod, signal: AbortSignal): Promise<boolean> {
    try {
      await this.deps.client.delete(PodKind, keyOf(pod), { preconditions: { uid: pod.metadata.uid ?? '' }, signal });
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }
}
