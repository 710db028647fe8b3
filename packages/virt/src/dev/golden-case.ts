import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { type ClusterConfig, clusterConfig } from '../config.ts';
import { defaultInstance } from '../defaults/default-instance.ts';
import { renderInstance } from '../defaults/render-instance.ts';
import { derivedUuid } from '../defaults/stable-ids.ts';

/** One recorded case; a plain VMI is accepted in its place. */
export interface GoldenCase {
  readonly name?: string;
  readonly config?: string | kubevirt.KubeVirtConfiguration;
  readonly input?: VirtualMachine | VirtualMachineInstance;
  /** The VMI as the recorded admission stored it. */
  readonly defaulted?: VirtualMachineInstance;
  readonly context?: Readonly<Record<string, unknown>>;
}

// The recorded release knew no live roll-out of changes by default.
const RECORDED_DEFAULTS: kubevirt.KubeVirtConfiguration = { vmRolloutStrategy: 'Stage' };

/** The configuration a case names; names alone say nothing here, so an object must come with it. */
export function goldenConfig(recorded: GoldenCase, text: string | undefined): ClusterConfig {
  const given: kubevirt.KubeVirtConfiguration =
    typeof recorded.config === 'object' ? recorded.config : text === undefined ? {} : JSON.parse(text);
  return clusterConfig({ ...RECORDED_DEFAULTS, ...given });
}

const RECORDED_UID = '11111111-1111-4111-8111-111111111111';

const isInstance = (object: { readonly kind?: string }): object is VirtualMachineInstance =>
  object.kind === 'VirtualMachineInstance';

function fromInput(recorded: GoldenCase, config: ClusterConfig): VirtualMachineInstance | undefined {
  const { input } = recorded;
  if (!input) return undefined;
  if (isInstance(input)) return input;
  // The instance types of the recording are not part of a case.
  if (input.spec.instancetype ?? input.spec.preference) return undefined;
  return renderInstance(input, config);
}

/** The VMI a node would have received: the posted object through our own defaulting, or the object itself when it is a VMI. */
export function goldenInstance(
  recorded: GoldenCase & Partial<VirtualMachineInstance>,
  context: Readonly<Record<string, unknown>>,
  config: ClusterConfig,
): VirtualMachineInstance {
  const posted = fromInput(recorded, config) ?? recorded.defaulted ?? (recorded as VirtualMachineInstance); // a plain VMI
  const uuid = recorded.defaulted?.spec.domain.firmware?.uuid ?? derivedUuid(posted.metadata.name ?? '');
  const vmi = recorded.input ? defaultInstance(posted, config, { uuid }) : structuredClone(posted);
  vmi.metadata.uid ??= RECORDED_UID;
  vmi.metadata.namespace ??= 'default';
  const { volumeStatus, topologyHints } = context as kubevirt.VirtualMachineInstanceStatus; // recorded under these names
  vmi.status = { ...vmi.status, ...(volumeStatus && { volumeStatus }), ...(topologyHints && { topologyHints }) };
  return vmi;
}
