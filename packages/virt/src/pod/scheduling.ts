import type { core, kubevirt, VirtualMachineInstance } from '@slipway/api';
import type { LauncherContext } from './context.ts';

const HYPERV_LABELS = [
  'vpindex',
  'runtime',
  'reset',
  'synic',
  'synictimer',
  'frequencies',
  'reenlightenment',
  'tlbflush',
  'ipi',
] as const;
const UNLABELLED_MODELS = new Set(['host-model', 'host-passthrough', '']);

function cpuLabels(vmi: VirtualMachineInstance, context: LauncherContext): Record<string, string> {
  const { cpu } = vmi.spec.domain;
  const labels: Record<string, string> = {};
  // Under software emulation the planner chooses what QEMU can do; no node is better than another.
  if (context.emulation) return labels;
  if (cpu?.model !== undefined && !UNLABELLED_MODELS.has(cpu.model)) labels[`cpu-model.node.kubevirt.io/${cpu.model}`] = 'true';
  for (const { name, policy } of cpu?.features ?? [])
    if (policy === undefined || policy === '' || policy === 'require') labels[`cpu-feature.node.kubevirt.io/${name}`] = 'true';
  return labels;
}

function hypervLabels(vmi: VirtualMachineInstance, { config }: LauncherContext): Record<string, string> {
  const hyperv = vmi.spec.domain.features?.hyperv;
  if (!hyperv || !config.hasGate('HypervStrictCheck')) return {};
  const labels: Record<string, string> = {};
  for (const flag of HYPERV_LABELS)
    if (hyperv[flag] && hyperv[flag].enabled !== false) labels[`hyperv.node.kubevirt.io/${flag}`] = 'true';
  if (hyperv.evmcs && hyperv.evmcs.enabled !== false) labels['cpu-vendor.node.kubevirt.io/Intel'] = 'true';
  return labels;
}

function confidentialLabels({ launchSecurity }: kubevirt.DomainSpec, flag: string): Record<string, string> {
  const { sev, snp, tdx } = launchSecurity ?? {};
  if (sev) return { [`kubevirt.io/sev${sev.policy?.encryptedState ? '-es' : ''}`]: flag };
  if (snp) return { 'kubevirt.io/sev-snp': flag };
  return tdx ? { 'kubevirt.io/tdx': flag } : {};
}

function machineLabels({ machine }: kubevirt.DomainSpec, { profile }: LauncherContext): Record<string, string> {
  // Only where the cluster's nodes carry the label: this platform maps unknown machine types instead.
  if (!profile.currentMetadata || !profile.helperContainers || !machine?.type) return {};
  return { [`machine-type.node.kubevirt.io/${machine.type}`]: 'true' };
}

/** Node labels that the pod asks for. */
export function nodeSelector(vmi: VirtualMachineInstance, context: LauncherContext): Record<string, string> {
  const { domain } = vmi.spec;
  const { profile, config } = context;
  const flag = profile.currentMetadata ? 'true' : '';
  const tsc = vmi.status?.topologyHints?.tscFrequency;
  return {
    ...cpuLabels(vmi, context),
    ...hypervLabels(vmi, context),
    ...(domain.cpu?.dedicatedCpuPlacement && { [profile.cpuManagerLabel]: 'true' }),
    ...(tsc && { [`scheduling.node.kubevirt.io/tsc-frequency-${tsc}`]: 'true' }),
    ...machineLabels(domain, context),
    ...(domain.cpu?.realtime && { 'kubevirt.io/realtime': flag }),
    ...confidentialLabels(domain, flag),
    ...config.configuration.developerConfiguration?.nodeSelectors,
    'kubevirt.io/schedulable': 'true',
    ...(vmi.spec.architecture && { 'kubernetes.io/arch': vmi.spec.architecture }),
    ...vmi.spec.nodeSelector,
  };
}

function forbiddenNodes(vmi: VirtualMachineInstance, context: LauncherContext): core.NodeSelectorRequirement[] {
  const { cpu } = vmi.spec.domain;
  if (context.emulation) return [];
  const obsolete = cpu?.model === undefined || cpu.model === '' || cpu.model === 'host-model';
  const forbidden = (cpu?.features ?? []).filter(({ policy }) => policy === 'forbid');
  const absent = (key: string): core.NodeSelectorRequirement => ({ key, operator: 'DoesNotExist' });
  return [
    ...forbidden.map(({ name }) => absent(`cpu-feature.node.kubevirt.io/${name}`)),
    ...(obsolete ? [absent('node-labeller.kubevirt.io/obsolete-host-model')] : []),
  ];
}

/** The VMI's affinity with the nodes left out that cannot run it. */
export function affinity(vmi: VirtualMachineInstance, context: LauncherContext): core.Affinity | undefined {
  const base = vmi.spec.affinity && structuredClone(vmi.spec.affinity);
  const expressions = forbiddenNodes(vmi, context);
  if (expressions.length === 0) return base;
  const result = base ?? {};
  const node = (result.nodeAffinity ??= {});
  const required = (node.requiredDuringSchedulingIgnoredDuringExecution ??= { nodeSelectorTerms: [] });
  // Terms are alternatives, so each of them must exclude the nodes.
  if (required.nodeSelectorTerms.length === 0) required.nodeSelectorTerms = [{ matchExpressions: expressions }];
  else for (const term of required.nodeSelectorTerms) term.matchExpressions = [...(term.matchExpressions ?? []), ...expressions];
  return result;
}
