import type { JsonObject, KubeObject } from '@slipway/apimachinery';
import { annotationsOf } from '@slipway/helm';
import { type Compared, waveOf } from '../compare/resources.ts';
import { Annotation } from '../kinds.ts';

export type Phase = 'PreSync' | 'Sync' | 'PostSync' | 'SyncFail' | 'PreDelete' | 'PostDelete' | 'Skip';

export interface Task {
  readonly compared: Compared;
  readonly phase: Phase;
  readonly wave: number;
  readonly isHook: boolean;
  readonly deletePolicies: readonly string[];
}

const PHASES: readonly Phase[] = ['PreSync', 'Sync', 'PostSync'];
/** Kinds in the order in which they are applied; all others come after them. */
const KINDS =
  'Namespace NetworkPolicy ResourceQuota LimitRange PodSecurityPolicy PodDisruptionBudget ServiceAccount Secret SecretList ConfigMap StorageClass PersistentVolume PersistentVolumeClaim CustomResourceDefinition ClusterRole ClusterRoleList ClusterRoleBinding ClusterRoleBindingList Role RoleList RoleBinding RoleBindingList Service DaemonSet Pod ReplicationController ReplicaSet Deployment HorizontalPodAutoscaler StatefulSet Job CronJob IngressClass Ingress APIService'.split(
    ' ',
  );
const RANK: ReadonlyMap<string, number> = new Map(KINDS.map((kind, index) => [kind, index]));

const HELM_PHASES: Readonly<Record<string, Phase>> = {
  'pre-install': 'PreSync',
  'pre-upgrade': 'PreSync',
  'post-install': 'PostSync',
  'post-upgrade': 'PostSync',
  'pre-delete': 'PreDelete',
  'post-delete': 'PostDelete',
  'crd-install': 'Sync',
};
const HELM_POLICIES: Readonly<Record<string, string>> = {
  'before-hook-creation': 'BeforeHookCreation',
  'hook-succeeded': 'HookSucceeded',
  'hook-failed': 'HookFailed',
};

const listOf = (text: string | undefined): string[] =>
  (text ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

/** Phases in which a manifest runs as a hook; undefined for one that is no hook. */
export function hookPhases(object: JsonObject | KubeObject, ignoresHelm: boolean): readonly Phase[] | undefined {
  const annotations = annotationsOf(object as Readonly<Record<string, unknown>>);
  const own = listOf(annotations[Annotation.hook]);
  // the names are those of the phases; others run in none
  if (own.length > 0) return own as Phase[];
  const helm = listOf(annotations['helm.sh/hook']);
  if (ignoresHelm || helm.length === 0 || helm.includes('crd-install')) return undefined;
  return [...new Set(helm.flatMap((event) => HELM_PHASES[event] ?? []))];
}

/** Whether any manifest has a hook annotation of Argo CD: then those of Helm count for nothing. */
export const hasOwnHooks = (objects: readonly KubeObject[]): boolean =>
  objects.some((object) => annotationsOf(object as unknown as Readonly<Record<string, unknown>>)[Annotation.hook] !== undefined);

function deletePolicies(object: JsonObject): readonly string[] {
  const annotations = annotationsOf(object);
  const own = listOf(annotations[Annotation.hookDeletePolicy]);
  const helm = listOf(annotations['helm.sh/hook-delete-policy']).flatMap((policy) => HELM_POLICIES[policy] ?? []);
  const all = own.length > 0 ? own : helm;
  return all.length > 0 ? all : ['BeforeHookCreation'];
}

export interface Hook {
  readonly compared: Compared;
  readonly phases: readonly Phase[];
}

/** Everything to apply in these phases, as groups of one phase and wave in their order. */
export function planSync(
  resources: readonly Compared[],
  hooks: readonly Hook[],
  phases: readonly Phase[] = PHASES,
): readonly (readonly Task[])[] {
  const tasks: Task[] = [];
  for (const compared of resources)
    if (compared.target)
      tasks.push({ compared, phase: 'Sync', wave: waveOf(compared.target), isHook: false, deletePolicies: [] });
  for (const { compared, phases: own } of hooks)
    for (const phase of own) {
      const target = compared.target ?? {};
      tasks.push({ compared, phase, wave: waveOf(target), isHook: true, deletePolicies: deletePolicies(target) });
    }
  const wanted = tasks.filter(({ phase }) => phases.includes(phase)).sort(inOrder);
  const groups: Task[][] = [];
  for (const task of wanted) {
    const last = groups.at(-1);
    const first = last?.[0];
    if (last && first?.phase === task.phase && first.wave === task.wave) last.push(task);
    else groups.push([task]);
  }
  return groups;
}

function inOrder(a: Task, b: Task): number {
  return (
    PHASES.indexOf(a.phase) - PHASES.indexOf(b.phase) ||
    a.wave - b.wave ||
    (RANK.get(a.compared.kind.kind) ?? RANK.size) - (RANK.get(b.compared.kind.kind) ?? RANK.size) ||
    (a.compared.name < b.compared.name ? -1 : 1)
  );
}

/** What is to be deleted, the last wave first. */
export const planPrune = (resources: readonly Compared[]): readonly Compared[] =>
  resources
    .filter(({ target, live }) => target === undefined && live !== undefined)
    .sort((a, b) => (b.live && a.live ? waveOf(b.live) - waveOf(a.live) : 0));
