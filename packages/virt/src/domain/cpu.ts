import type { VirtualMachineInstance } from '@slipway/api';
import { bytesOf } from '../quantity.ts';
import { el, type XmlElement } from '../xml.ts';
import type { DomainFacts, PlanNote } from './facts.ts';
import type { NumaPlan } from './numa.ts';
import { type CpuTopology, guestMemoryBytes, isAmd64, isS390x, vcpuCount } from './shape.ts';

export interface CpuPlan {
  /** Topology as the guest sees it, hot-pluggable sockets included. */
  readonly topology: CpuTopology;
  /** vCPUs present at boot. */
  readonly count: number;
  /** vCPUs with the hot-pluggable ones. */
  readonly maxCount: number;
  readonly mode: 'host-model' | 'host-passthrough' | 'maximum' | 'custom';
  readonly model: string | undefined;
  /** Without a policy libvirt requires the feature. */
  readonly features: readonly { readonly name: string; readonly policy: string | undefined }[];
  /** vCPU hotplug is possible, so every vCPU is listed. */
  readonly listed: boolean;
}

const HOST_MODES = new Set(['host-model', 'host-passthrough']);
// Need KVM: nested virtualization and paravirtual features that TCG does not have.
const KVM_ONLY_FEATURES = new Set(['vmx', 'invtsc', 'pcid', 'svm-lbrv']);
/**
 * What software emulation has and what makes guests slower there. A fifth level of page tables is for guests beyond 64 TiB,
 * and every walk pays for it: guests boot 5 to 8 % slower. With fast string operations guests clear and copy memory by
 * `rep stosb` and `rep movsb`, which are emulated byte by byte: a boot is 5 % more instructions.
 */
const SLOW_IN_SOFTWARE = ['la57', 'erms', 'fsrm'];

function modelOf(wanted: string, facts: DomainFacts, notes: PlanNote[]): Pick<CpuPlan, 'mode' | 'model'> {
  const { accelerator } = facts;
  if (accelerator.kind === 'kvm')
    return HOST_MODES.has(wanted)
      ? { mode: wanted === 'host-model' ? 'host-model' : 'host-passthrough', model: undefined }
      : { mode: 'custom', model: wanted };
  if (HOST_MODES.has(wanted)) return { mode: 'maximum', model: undefined };
  if (accelerator.usableCpuModels?.includes(wanted)) return { mode: 'custom', model: wanted };
  notes.push({
    reason: 'CpuModelReplaced',
    message: `CPU model ${wanted} needs KVM; the guest gets every CPU feature that software emulation has`,
  });
  return { mode: 'maximum', model: undefined };
}

type Feature = CpuPlan['features'][number];

const isDemanded = ({ policy }: Feature): boolean => policy === undefined || policy === 'require' || policy === 'force';

function wantedFeatures(vmi: VirtualMachineInstance): readonly Feature[] {
  const { cpu, features } = vmi.spec.domain;
  const wanted = (cpu?.features ?? []).map(({ name, policy }): Feature => ({ name, policy: policy || undefined }));
  const needsTsc = Boolean(vmi.status?.topologyHints?.tscFrequency) && features?.hyperv?.reenlightenment?.enabled === true;
  return needsTsc && !wanted.some(({ name }) => name === 'invtsc') ? [...wanted, { name: 'invtsc', policy: 'require' }] : wanted;
}

function featuresOf(
  vmi: VirtualMachineInstance,
  facts: DomainFacts,
  mode: CpuPlan['mode'],
  notes: PlanNote[],
): CpuPlan['features'] {
  const wanted = wantedFeatures(vmi);
  const byMode = { custom: facts.emulator?.droppedCpuFeatures ?? [], maximum: SLOW_IN_SOFTWARE };
  const dropped = isAmd64(vmi.spec.architecture) && (mode === 'custom' || mode === 'maximum') ? byMode[mode] : [];
  const extra = dropped.filter((name) => !wanted.some((feature) => feature.name === name));
  const all = [...wanted, ...extra.map((name) => ({ name, policy: 'disable' }))];
  if (facts.accelerator.kind === 'kvm') return all;
  const left = all.filter((feature) => KVM_ONLY_FEATURES.has(feature.name) && isDemanded(feature));
  for (const { name } of left)
    notes.push({ reason: 'FeatureLeftOut', message: `CPU feature ${name} needs KVM and is left out under software emulation` });
  return all.filter((feature) => !left.includes(feature));
}

/** CPU model, topology and count. */
export function planCpu(vmi: VirtualMachineInstance, facts: DomainFacts, boot: CpuTopology, notes: PlanNote[]): CpuPlan {
  const { cpu } = vmi.spec.domain;
  const architecture = vmi.spec.architecture;
  const hotplug = cpu?.maxSockets !== undefined && cpu.maxSockets > 0 && (isAmd64(architecture) || isS390x(architecture));
  const topology = hotplug ? { ...boot, sockets: Math.max(cpu.maxSockets ?? 0, boot.sockets) } : boot;
  const model = modelOf(cpu?.model || 'host-model', facts, notes);
  return {
    topology,
    count: vcpuCount(boot),
    maxCount: vcpuCount(topology),
    ...model,
    features: featuresOf(vmi, facts, model.mode, notes),
    listed: hotplug,
  };
}

function numaElement(vmi: VirtualMachineInstance, plan: CpuPlan, numa: NumaPlan | undefined): XmlElement | undefined {
  if (!numa) return undefined;
  if (numa.kind === 'single')
    return el(
      'numa',
      {},
      el('cell', {
        id: 0,
        cpus: `0-${plan.maxCount - 1}`,
        memory: Math.floor(guestMemoryBytes(vmi.spec.domain) / 1024),
        unit: 'KiB',
      }),
    );
  const cells = numa.cells.map((cell) =>
    el('cell', { id: cell.id, cpus: cell.cpus.join(','), memory: cell.memoryBytes, unit: 'b' }),
  );
  return el('numa', {}, cells);
}

/** `<cpu>`. */
export function cpuElement(vmi: VirtualMachineInstance, plan: CpuPlan, numa: NumaPlan | undefined): XmlElement {
  const { sockets, cores, threads } = plan.topology;
  return el(
    'cpu',
    { mode: plan.mode },
    plan.model !== undefined && el('model', {}, plan.model),
    el('topology', { sockets, cores, threads }),
    plan.features.map(({ name, policy }) => el('feature', { name, policy })),
    numaElement(vmi, plan, numa),
  );
}

/** `<vcpu>` and, when CPUs can be plugged in, `<vcpus>`. */
export function vcpuElements(plan: CpuPlan): readonly XmlElement[] {
  const total = el('vcpu', { placement: 'static' }, String(plan.maxCount));
  if (!plan.listed) return [total];
  const first = plan.topology.cores * plan.topology.threads;
  const entries = Array.from({ length: plan.maxCount }, (_, id) =>
    el('vcpu', { id, enabled: id < plan.count ? 'yes' : 'no', hotpluggable: id < first ? 'no' : 'yes' }),
  );
  return [total, el('vcpus', {}, entries)];
}

/** Size of one huge page, if the guest's memory is to be backed by them. */
export function hugepageBytes(vmi: VirtualMachineInstance): number | undefined {
  const size = vmi.spec.domain.memory?.hugepages?.pageSize;
  return size === undefined ? undefined : bytesOf(size);
}
