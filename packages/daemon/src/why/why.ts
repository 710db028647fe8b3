import { type KubeObject, type ResourceKind, StatusError } from '@slipway/apimachinery';
import {
  DataVolumeKind,
  EventKind,
  NamespaceKind,
  NodeKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  PodDisruptionBudgetKind,
  PodKind,
  StorageClassKind,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceMigrationKind,
  VirtualMachineKind,
  VolumeSnapshotContentKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import {
  type ClusterLists,
  explainWhy,
  type NamespaceLists,
  selectFacts,
  type WhyFacts,
  type WhyKind,
  type WhyReport,
  type WhySubject,
} from '@slipway/controllers';
import { type ClusterOptions, connectCluster } from '../access/cluster-client.ts';
import { UserError } from '../report-failure.ts';
import { formatWhy } from './format-why.ts';

export interface WhyOptions extends ClusterOptions {
  readonly namespace?: string;
  readonly output: string;
}

/** What a script can tell apart: it runs or is stopped as it shall be (0), it waits (3). */
const EXIT_WAITING = 3;
const NARROWEST = 60;
const WITHOUT_TERMINAL = 120;

/** `slipway why`: prints why something is not running, and why it cannot move. */
export async function why(args: readonly string[], options: WhyOptions): Promise<void> {
  const subject = parseSubject(args);
  if (options.output !== 'text' && options.output !== 'json')
    throw new UserError(`There is no output format ${options.output}; use text or json`, 2);
  const cluster = await connectCluster(options);
  const namespace = options.namespace ?? cluster.namespace;
  try {
    const facts = await gather(cluster.client, namespace, subject);
    if (facts === undefined)
      throw new UserError(`There is no ${TITLES[subject.kind ?? 'vm']} ${subject.name} in namespace ${namespace}`);
    const report = explainWhy(facts);
    const title = titleOf(facts, namespace);
    console.log(
      options.output === 'json' ? JSON.stringify({ subject: title, ...report }, undefined, 2) : screenText(title, report),
    );
    if (facts.scheduling === undefined && facts.pod !== undefined && report.state === 'waiting')
      console.error('slipway: you may not see the nodes, so they are not judged one by one');
    process.exitCode = report.state === 'waiting' ? EXIT_WAITING : 0;
  } finally {
    await cluster.client.close();
  }
}

const KINDS: Readonly<Record<string, WhyKind>> = {
  ...{ vm: 'vm', vms: 'vm', virtualmachine: 'vm', virtualmachines: 'vm' },
  ...{ vmi: 'vmi', vmis: 'vmi', virtualmachineinstance: 'vmi', virtualmachineinstances: 'vmi' },
  ...{ po: 'pod', pod: 'pod', pods: 'pod' },
};
const TITLES = { vm: 'VirtualMachine', vmi: 'VirtualMachineInstance', pod: 'Pod' } as const;

/** `NAME`, `TYPE/NAME` or `TYPE NAME`. Throws UserError. */
export function parseSubject(args: readonly string[]): WhySubject {
  const [type, name, ...more] = args.length === 1 ? splitOnce(args[0] ?? '') : args;
  if (name === undefined || name === '' || more.length > 0)
    throw new UserError('Name one machine, instance or pod: NAME, TYPE/NAME or TYPE NAME', 2);
  if (type === undefined || type === '') return { kind: undefined, name };
  const kind = Object.hasOwn(KINDS, type.toLowerCase()) ? KINDS[type.toLowerCase()] : undefined;
  if (kind === undefined) throw new UserError(`Unknown type ${type}: it is vm, vmi or pod`, 2);
  return { kind, name };
}

function splitOnce(text: string): readonly string[] {
  const slash = text.indexOf('/');
  return slash < 0 ? ['', text] : [text.slice(0, slash), text.slice(slash + 1)];
}

function titleOf({ vm, vmi, pod }: WhyFacts, namespace: string): string {
  const kind = vm ? 'vm' : vmi ? 'vmi' : 'pod';
  return `${TITLES[kind]} ${namespace}/${(vm ?? vmi ?? pod)?.metadata.name}`;
}

function screenText(title: string, report: WhyReport): string {
  const { isTTY, columns } = process.stdout;
  return formatWhy(title, report, {
    columns: isTTY ? Math.max(NARROWEST, columns) : WITHOUT_TERMINAL,
    isColored: isTTY && !process.env['NO_COLOR'],
  });
}

async function gather(client: Client, namespace: string, subject: WhySubject): Promise<WhyFacts | undefined> {
  const cluster = await clusterLists(client, namespace);
  return selectFacts(subject, await namespaceLists(client, namespace), cluster);
}

/** Everything of a namespace; what the caller may not see counts as not there, machines and pods excepted. */
async function namespaceLists(client: Client, namespace: string): Promise<NamespaceLists> {
  const list = async <T extends KubeObject>(kind: ResourceKind<T>): Promise<readonly T[]> =>
    (await client.list(kind, { namespace })).items;
  const [vms, vmis, pods] = [await list(VirtualMachineKind), await list(VirtualMachineInstanceKind), await list(PodKind)];
  const optional = <T extends KubeObject>(kind: ResourceKind<T>): Promise<readonly T[]> =>
    listed(client, kind, namespace).then((items) => items ?? []);
  return {
    ...{ vms, vmis, pods },
    dataVolumes: await optional(DataVolumeKind),
    claims: await optional(PersistentVolumeClaimKind),
    storageClasses: (await listed(client, StorageClassKind)) ?? [],
    migrations: await optional(VirtualMachineInstanceMigrationKind),
    events: await optional(EventKind),
    nowMs: Date.now(),
  };
}

/** Undefined when the caller may not see nodes and the pods on them: then nothing can be said about places. */
async function clusterLists(client: Client, namespace: string): Promise<ClusterLists | undefined> {
  const nodes = await listed(client, NodeKind);
  const pods = nodes && (await listed(client, PodKind));
  if (nodes === undefined || pods === undefined) return undefined;
  return {
    ...{ nodes, pods },
    namespaces: (await listed(client, NamespaceKind)) ?? [],
    // a clone may come from another namespace
    claims: (await listed(client, PersistentVolumeClaimKind)) ?? [],
    volumes: (await listed(client, PersistentVolumeKind)) ?? [],
    storageClasses: (await listed(client, StorageClassKind)) ?? [],
    snapshots: (await listed(client, VolumeSnapshotKind)) ?? [],
    snapshotContents: (await listed(client, VolumeSnapshotContentKind)) ?? [],
    budgets: (await listed(client, PodDisruptionBudgetKind, namespace)) ?? [],
  };
}

/** Undefined when the caller may not see them, or the cluster has no such kind. */
async function listed<T extends KubeObject>(
  client: Client,
  kind: ResourceKind<T>,
  namespace?: string,
): Promise<readonly T[] | undefined> {
  try {
    return (await client.list(kind, namespace === undefined ? {} : { namespace })).items;
  } catch (error) {
    if (error instanceof StatusError && (error.code === 403 || error.code === 404)) return undefined;
    throw error;
  }
}
