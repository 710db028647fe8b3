import type { KubeObject } from '@slipway/apimachinery';
import type { VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { backupHooks, SKIP_BACKUP_HOOKS } from '@slipway/virt';

/** Further keys that running instances and their pods take over; a trailing `*` stands for any rest. */
export interface DynamicMetadataConfig {
  /** `configuration.additionalLauncherLabelsSync`. */
  readonly labels: readonly string[];
  /** `configuration.additionalLauncherAnnotationsSync`. */
  readonly annotations: readonly string[];
}

/** Merge patches of labels and annotations; null removes a key. Undefined: nothing differs. */
export interface MetadataChange {
  readonly labels: Readonly<Record<string, string | null>> | undefined;
  readonly annotations: Readonly<Record<string, string | null>> | undefined;
}

/** Says to the descheduler what may become of a guest's pod. */
const DESCHEDULER = ['descheduler.alpha.kubernetes.io/evict', 'descheduler.alpha.kubernetes.io/prefer-no-eviction'] as const;
const NOTHING_MORE: DynamicMetadataConfig = { labels: [], annotations: [] };

type Texts = Readonly<Record<string, string>> | undefined;

/** What a running instance takes over from its VM's template without a restart, and loses with it. */
export function dynamicMetadata(
  vm: VirtualMachine,
  vmi: VirtualMachineInstance,
  config: DynamicMetadataConfig = NOTHING_MORE,
): MetadataChange {
  // the published metadata type allows any JSON where the API allows text
  const template = vm.spec.template.metadata as KubeObject['metadata'] | undefined;
  const wanted = { ...template?.annotations, ...wishesOf(vm) };
  return {
    labels: difference(vmi.metadata.labels, template?.labels, config.labels),
    annotations: difference(vmi.metadata.annotations, wanted, annotationKeys(config)),
  };
}

/** Annotations of the VM itself that its instance has from the start. */
export function wishesOf({ metadata }: VirtualMachine): Readonly<Record<string, string>> {
  const skip = metadata.annotations?.[SKIP_BACKUP_HOOKS];
  return skip === undefined ? {} : { [SKIP_BACKUP_HOOKS]: skip };
}

/** The same from an instance to its launcher pod. */
export function dynamicPodMetadata(
  vmi: VirtualMachineInstance,
  pod: KubeObject,
  config: DynamicMetadataConfig = NOTHING_MORE,
): MetadataChange {
  const { labels, annotations } = vmi.metadata;
  const hooks = backupHooks({ ...vmi, metadata: { ...vmi.metadata, annotations: {} } });
  // a pod whose hooks were never in question keeps what it was made with
  const isInQuestion = SKIP_BACKUP_HOOKS in { ...annotations, ...pod.metadata.annotations };
  const hookKeys = isInQuestion ? Object.keys(hooks) : [];
  const wanted = { ...annotations, ...(isInQuestion && backupHooks(vmi)) };
  return {
    labels: difference(pod.metadata.labels, labels, config.labels),
    annotations: difference(pod.metadata.annotations, wanted, [...annotationKeys(config), ...hookKeys]),
  };
}

const annotationKeys = (config: DynamicMetadataConfig): readonly string[] => [
  ...DESCHEDULER,
  SKIP_BACKUP_HOOKS,
  ...config.annotations,
];

function difference(has: Texts = {}, wanted: Texts = {}, patterns: readonly string[]): MetadataChange['labels'] {
  const keys = [...new Set([...Object.keys(has), ...Object.keys(wanted)])].filter(
    (key) => has[key] !== wanted[key] && !isReserved(key) && patterns.some((pattern) => matches(pattern, key)),
  );
  return keys.length === 0 ? undefined : Object.fromEntries(keys.map((key) => [key, wanted[key] ?? null]));
}

function matches(pattern: string, key: string): boolean {
  return pattern.endsWith('*') ? key.startsWith(pattern.slice(0, -1)) : key === pattern;
}

/** Keys by which the platform knows its own objects: no pattern reaches them. */
function isReserved(key: string): boolean {
  const [domain = ''] = key.split('/');
  return key !== SKIP_BACKUP_HOOKS && (domain === 'kubevirt.io' || domain.endsWith('.kubevirt.io'));
}
