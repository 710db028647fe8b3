import { featureGates as kubeVirtGates } from '@slipway/api';
import type { Fields, HyperConverged } from '../kinds.ts';
import { mapsAt, valueAt } from './spec-paths.ts';

type Phase = 'beta' | 'alpha' | 'deprecated';

interface Gate {
  readonly name: string;
  readonly phase: Phase;
  /** Gates of KubeVirt that it switches on. */
  readonly kubeVirt?: readonly string[];
}

/** Gates of the HyperConverged; beta ones are on unless switched off. */
const GATES: readonly Gate[] = [
  { name: 'decentralizedLiveMigration', phase: 'beta', kubeVirt: ['DecentralizedLiveMigration'] },
  { name: 'declarativeHotplugVolumes', phase: 'beta' },
  { name: 'template', phase: 'beta', kubeVirt: ['Template'] },
  { name: 'alignCPUs', phase: 'alpha', kubeVirt: ['AlignCPUs'] },
  { name: 'containerPathVolumes', phase: 'alpha', kubeVirt: ['ContainerPathVolumes'] },
  { name: 'deployKubeSecondaryDNS', phase: 'alpha' },
  { name: 'deployObservabilityController', phase: 'alpha' },
  { name: 'downwardMetrics', phase: 'alpha', kubeVirt: ['DownwardMetrics'] },
  { name: 'incrementalBackup', phase: 'alpha', kubeVirt: ['IncrementalBackup', 'UtilityVolumes'] },
  { name: 'objectGraph', phase: 'alpha', kubeVirt: ['ObjectGraph'] },
  { name: 'disableMDevConfiguration', phase: 'deprecated' },
  { name: 'enableMultiArchBootImageImport', phase: 'deprecated' },
  { name: 'persistentReservation', phase: 'deprecated' },
];
const ALWAYS = ['CPUManager', 'Snapshot', 'HostDevices', 'KubevirtSeccompProfile', 'HypervStrictCheck'];

const gateNamed = (name: unknown): Gate | undefined =>
  typeof name === 'string' ? GATES.find((gate) => gate.name.toLowerCase() === name.toLowerCase()) : undefined;

/** Whether a gate of the HyperConverged is on. */
export function isGateOn(spec: Fields | undefined, name: string): boolean {
  const gate = gateNamed(name);
  const entry = mapsAt(spec, 'featureGates')?.find((listed) => gateNamed(listed['name']) === gate && gate !== undefined);
  return entry === undefined ? gate?.phase === 'beta' : entry['state'] !== 'Disabled';
}

/** What KubeVirt is told: gates to switch on, and those of its own that are on by default and shall not be. */
export function kubeVirtGateLists({ metadata, spec }: HyperConverged): { on: readonly string[]; off: readonly string[] } {
  const hotplug = isGateOn(spec, 'declarativeHotplugVolumes') ? 'DeclarativeHotplugVolumes' : 'HotplugVolumes';
  const chosen = GATES.flatMap(({ name, kubeVirt = [] }) => (isGateOn(spec, name) ? kubeVirt : []));
  const annotated = (name: string): boolean => metadata.annotations?.[`hco.kubevirt.io/${name}`] === 'true';
  const on = [
    ...ALWAYS,
    hotplug,
    ...chosen,
    ...(annotated('deployPasstNetworkBinding') ? ['PasstBinding'] : []),
    ...(annotated('deployAIE') ? ['GraceIOVirtualization', 'IOMMUFD', 'PCINUMAAwareTopology'] : []),
    ...(valueAt(spec, 'virtualization.hypervisors') === undefined ? [] : ['ConfigurableHypervisor']),
    ...(valueAt(spec, 'virtualization.roleAggregationStrategy') === undefined ? [] : ['OptOutRoleAggregation']),
  ];
  const off = [...kubeVirtGates].flatMap(([name, stage]) => (stage === 'Beta' && !on.includes(name) ? [name] : []));
  return { on, off };
}

/** What the writer of a spec should know of the gates in it. */
export function gateWarnings(spec: Fields | undefined): readonly string[] {
  return (mapsAt(spec, 'featureGates') ?? []).flatMap(({ name }) => {
    const gate = gateNamed(name);
    if (gate === undefined) return [`the ${String(name)} featureGate is unknown and ignored.`];
    return gate.phase === 'deprecated' ? [`the ${gate.name} featureGate is deprecated; set its field instead.`] : [];
  });
}
