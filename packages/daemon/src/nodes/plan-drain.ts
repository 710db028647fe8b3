import type { PersistentVolume, PersistentVolumeClaim, Pod, VirtualMachineInstance } from '@slipway/api';
import { controllerOf } from '@slipway/apimachinery';

export interface DrainFacts {
  readonly nodeName: string;
  /** Of all namespaces, as all the other lists. */
  readonly pods: readonly Pod[];
  readonly vmis: readonly VirtualMachineInstance[];
  readonly claims: readonly PersistentVolumeClaim[];
  readonly volumes: readonly PersistentVolume[];
  /** Of the cluster, for instances that name none. */
  readonly evictionStrategy: string | undefined;
}

/** A pod that has to leave a node, and what becomes of it. */
export interface Leaving {
  readonly pod: Pod;
  /** `VM default/web`, `pod default/importer-x` */
  readonly title: string;
  readonly outcome: 'moves' | 'stops' | 'blocks' | 'goes';
  /** For people: what it means. */
  readonly note: string;
}

/** What a drain has to do. Pods of DaemonSets stay, pods of plugged disks go with their guests. Pure. */
export function planDrain(facts: DrainFacts): readonly Leaving[] {
  return facts.pods
    .filter((pod) => pod.spec?.nodeName === facts.nodeName && mustLeave(pod))
    .map((pod) => leavingOf(pod, facts))
    .sort((a, b) => (a.title < b.title ? -1 : 1));
}

function mustLeave(pod: Pod): boolean {
  if (controllerOf(pod)?.kind === 'DaemonSet' || pod.metadata.labels?.['kubevirt.io'] === 'hotplug-disk') return false;
  return pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed';
}

function leavingOf(pod: Pod, facts: DrainFacts): Leaving {
  const owner = controllerOf(pod);
  const path = `${pod.metadata.namespace}/${pod.metadata.name}`;
  if (owner?.kind !== 'VirtualMachineInstance')
    return {
      pod,
      title: `pod ${path}`,
      outcome: 'goes',
      note: owner ? `its ${owner.kind} makes another one` : 'nobody makes it again',
    };
  const title = `VM ${pod.metadata.namespace}/${owner.name}`;
  const vmi = facts.vmis.find(({ metadata }) => metadata.uid === owner.uid);
  return { pod, title, ...outcomeOf(vmi, facts) };
}

function outcomeOf(vmi: VirtualMachineInstance | undefined, facts: DrainFacts): Pick<Leaving, 'outcome' | 'note'> {
  if (vmi === undefined) return { outcome: 'goes', note: 'its instance is gone' };
  const strategy = vmi.spec.evictionStrategy ?? facts.evictionStrategy ?? 'None';
  const condition = vmi.status?.conditions?.find(({ type }) => type === 'LiveMigratable');
  const isMovable = condition?.status === 'True';
  const obstacle = condition ? `${condition.reason}: ${condition.message}` : 'its node has not said whether it can be migrated';
  if (strategy === 'External') return { outcome: 'blocks', note: 'eviction strategy External: somebody else has to move it' };
  if (strategy === 'LiveMigrate' || strategy === 'LiveMigrateIfPossible') {
    if (isMovable) return { outcome: 'moves', note: 'by live migration' };
    if (strategy === 'LiveMigrate')
      return { outcome: 'blocks', note: `it cannot be migrated (${obstacle}); stop it, or leave it` };
  }
  return { outcome: 'stops', note: stopNote(vmi, facts) };
}

function stopNote(vmi: VirtualMachineInstance, { claims, volumes, nodeName }: DrainFacts): string {
  const owner = controllerOf(vmi);
  if (owner === undefined) return 'it is shut down, and nobody starts it again';
  const names = (vmi.spec.volumes ?? []).flatMap(
    ({ dataVolume, persistentVolumeClaim }) => dataVolume?.name ?? persistentVolumeClaim?.claimName ?? [],
  );
  const bound = names.filter((name) => {
    const claim = claims.find(({ metadata }) => metadata.name === name && metadata.namespace === vmi.metadata.namespace);
    return volumes.some(
      ({ metadata, spec }) => metadata.name === claim?.spec?.volumeName && spec?.nodeAffinity?.required !== undefined,
    );
  });
  if (bound.length === 0) return 'it is shut down and started elsewhere, if its run strategy says so';
  return `it is shut down, and can only start on ${nodeName} again: disk ${bound.join(', ')} is there`;
}
