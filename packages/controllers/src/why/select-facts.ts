import type {
  CoreEvent,
  DataVolume,
  PersistentVolumeClaim,
  Pod,
  StorageClass,
  VirtualMachine,
  VirtualMachineInstance,
  VirtualMachineInstanceMigration,
} from '@slipway/api';
import { currentPod, launcherPods } from '../virtual-machine-instance/launcher-pod-state.ts';
import type { WhyFacts } from './explain-why.ts';
import { type ClusterLists, schedulingFactsOf } from './scheduling-facts.ts';
import { usedClaims } from './storage-causes.ts';

export type WhyKind = 'vm' | 'vmi' | 'pod';

/** Undefined kind: the machine of that name, else the instance, else the pod. */
export interface WhySubject {
  readonly kind: WhyKind | undefined;
  readonly name: string;
}

/** All objects of the subject's namespace. */
export interface NamespaceLists {
  readonly vms: readonly VirtualMachine[];
  readonly vmis: readonly VirtualMachineInstance[];
  readonly pods: readonly Pod[];
  readonly dataVolumes: readonly DataVolume[];
  readonly claims: readonly PersistentVolumeClaim[];
  readonly storageClasses: readonly StorageClass[];
  readonly migrations: readonly VirtualMachineInstanceMigration[];
  readonly events: readonly CoreEvent[];
  readonly nowMs: number;
}

/** What is there about a subject. Undefined: nothing of that name. Pure. */
export function selectFacts(subject: WhySubject, lists: NamespaceLists, cluster: ClusterLists | undefined): WhyFacts | undefined {
  const found = findSubject(subject, lists);
  if (found === undefined) return undefined;
  const { pod } = found;
  const { dataVolumes, claims, storageClasses, migrations, nowMs } = lists;
  const scheduling = cluster && pod ? schedulingFactsOf(pod, cluster) : undefined;
  const some = { ...found, dataVolumes, claims, storageClasses, migrations, scheduling, nowMs };
  return { ...some, events: eventsAbout(some, lists.events) };
}

type Found = Pick<WhyFacts, 'vm' | 'vmi' | 'pod'>;

function findSubject({ kind, name }: WhySubject, { vms, vmis, pods }: NamespaceLists): Found | undefined {
  const named = <T extends { readonly metadata: { readonly name?: string } }>(all: readonly T[]): T | undefined =>
    all.find(({ metadata }) => metadata.name === name);
  const vm = kind === undefined || kind === 'vm' ? named(vms) : undefined;
  // a VM without an instance is a VM; an instance without a VM is none
  const vmi = kind === 'pod' || (kind === 'vm' && vm === undefined) ? undefined : named(vmis);
  if (vm || vmi) {
    const pod = vmi && currentPod(vmi, launcherPods(vmi, pods));
    return { ...(vm && { vm }), ...(vmi && { vmi }), ...(pod && { pod }) };
  }
  const pod = kind === undefined || kind === 'pod' ? named(pods) : undefined;
  return pod && { pod };
}

function eventsAbout(facts: Omit<WhyFacts, 'events'>, events: readonly CoreEvent[]): readonly CoreEvent[] {
  const claims = usedClaims(facts);
  const uids = new Set([facts.vm, facts.vmi, facts.pod].flatMap((object) => object?.metadata.uid ?? []));
  return events.filter(
    ({ involvedObject: { kind, name = '', uid = '' } }) =>
      uids.has(uid) || ((kind === 'DataVolume' || kind === 'PersistentVolumeClaim') && claims.has(name)),
  );
}
