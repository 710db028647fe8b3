import type { Node, Pod } from '@slipway/api';
import { ageOf } from '@slipway/apimachinery';
import { addAmounts, amountsOf, nodeStatusText, podRequests } from '@slipway/controllers';
import { ARMED, FencingAnnotation } from '@slipway/virt';

/** One node as `slipway node list` shows it. */
export interface NodeRow {
  readonly name: string;
  readonly status: string;
  readonly guests: number;
  /** Requested by pods, and offered to them; millicores. */
  readonly cpu: { readonly requested: number; readonly allocatable: number };
  readonly memory: { readonly requestedBytes: number; readonly allocatableBytes: number };
  /** Whether its guests start elsewhere when it is lost. */
  readonly isFenced: boolean;
  readonly taints: readonly string[];
  readonly version: string;
  readonly age: string;
}

/** Pure. */
export function nodeRows(nodes: readonly Node[], pods: readonly Pod[], nowMs: number): readonly NodeRow[] {
  return [...nodes]
    .sort((a, b) => (a.metadata.name ?? '').localeCompare(b.metadata.name ?? ''))
    .map((node) => rowOf(node, pods, nowMs));
}

function rowOf(node: Node, pods: readonly Pod[], nowMs: number): NodeRow {
  const { metadata, spec, status } = node;
  const here = pods.filter(
    (pod) => pod.spec?.nodeName === metadata.name && !['Succeeded', 'Failed'].includes(pod.status?.phase ?? ''),
  );
  const requested = new Map<string, number>();
  for (const pod of here) addAmounts(requested, podRequests(pod));
  const allocatable = amountsOf(status?.allocatable);
  return {
    name: metadata.name ?? '',
    status: nodeStatusText(node),
    guests: here.filter((pod) => pod.metadata.labels?.['kubevirt.io'] === 'virt-launcher').length,
    cpu: { requested: requested.get('cpu') ?? 0, allocatable: allocatable.get('cpu') ?? 0 },
    memory: { requestedBytes: requested.get('memory') ?? 0, allocatableBytes: allocatable.get('memory') ?? 0 },
    isFenced: metadata.annotations?.[FencingAnnotation.node] === ARMED,
    taints: (spec?.taints ?? []).map(({ key, value, effect }) => `${key}${value ? `=${value}` : ''}:${effect}`),
    version: status?.nodeInfo?.kubeletVersion ?? '',
    age: ageOf(metadata.creationTimestamp, nowMs),
  };
}

const HEADER = ['NAME', 'STATUS', 'GUESTS', 'CPU', 'MEMORY', 'FENCING', 'VERSION', 'AGE', 'TAINTS'] as const;

/** The rows as a table. Pure. */
export function formatNodes(rows: readonly NodeRow[]): string {
  const cells = rows.map((row) => [
    ...[row.name, row.status, String(row.guests), `${row.cpu.requested / 1000}/${row.cpu.allocatable / 1000}`],
    `${gibibytes(row.memory.requestedBytes)}/${gibibytes(row.memory.allocatableBytes)}`,
    ...[row.isFenced ? 'armed' : '-', row.version, row.age, row.taints.join(',') || '-'],
  ]);
  const widths = HEADER.map((title, index) => Math.max(title.length, ...cells.map((line) => line[index]?.length ?? 0)));
  return [[...HEADER], ...cells]
    .map((line) =>
      line
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join('   ')
        .trimEnd(),
    )
    .join('\n');
}

const gibibytes = (bytes: number): string => `${(bytes / 1024 ** 3).toFixed(1)}Gi`;
