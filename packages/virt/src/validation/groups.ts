import { isDeepStrictEqual } from 'node:util';
import type { kubevirt } from '@slipway/api';
import { type LabelSelectorObject, matchesLabels, selectorOf, validateLabelSelector } from '@slipway/apimachinery';
import type { ClusterConfig } from '../config.ts';
import { type Cause, invalid, required, when } from './causes.ts';
import { checkInstanceSpec } from './instance-spec.ts';
import { checkInstanceMetadata } from './metadata.ts';

type Labels = Readonly<Record<string, string>>;
const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'];

function checkSelector(selector: LabelSelectorObject | undefined, labels: Labels | undefined): readonly Cause[] {
  if (!selector) return [required('spec.selector', 'missing selector.')];
  const unknown = (selector.matchExpressions ?? []).find(({ operator }) => !OPERATORS.includes(operator));
  if (unknown) return [invalid('spec.selector', `${JSON.stringify(unknown.operator)} is not a valid label selector operator`)];
  const [fault] = validateLabelSelector(selector, 'spec.selector');
  if (fault) return [invalid('spec.selector', `${fault.path}: ${fault.detail}`)];
  const parsed = selectorOf(selector);
  return when(parsed === undefined || !matchesLabels(parsed, labels ?? {}), () =>
    invalid('spec.selector', 'selector does not match labels.'),
  );
}

/** Rules for replica sets of instances. */
export function validateReplicaSet({ spec }: kubevirt.VirtualMachineInstanceReplicaSet, config: ClusterConfig): readonly Cause[] {
  const { template } = spec;
  if (!template) return [required('spec.template', 'missing virtual machine template.')];
  const labels = (template.metadata?.labels ?? {}) as Labels; // string map in the API
  const copy = structuredClone(template.spec);
  return [
    // KubeVirt-compat: this path begins with a dot.
    ...when((spec.replicas ?? 0) < 0, () =>
      invalid('.spec.replicas', `Invalid value: ${spec.replicas}: should be a non-negative integer`),
    ),
    ...(copy ? checkInstanceSpec('spec.template.spec', copy, config, { volumesMustBeUsed: false }) : []),
    ...checkInstanceMetadata('spec.template.metadata', { labels }, config),
    ...checkSelector(spec.selector as LabelSelectorObject, labels), // published type differs in optionality only
  ];
}

/** Where the VM template of a pool is; its causes get this prefix. */
export const POOL_TEMPLATE_PATH = 'spec.virtualMachineTemplate';

/** Rules for changing a pool. */
export function validatePoolUpdate(
  { spec }: kubevirt.VirtualMachinePool,
  { spec: old }: kubevirt.VirtualMachinePool,
): readonly Cause[] {
  return when(!isDeepStrictEqual(spec.selector, old.selector), () =>
    invalid('spec.selector', 'selector is immutable after creation.'),
  );
}

/** Of the strategies for one thing, one may be chosen. */
function checkStrategy(name: string, strategy: object | undefined): readonly Cause[] {
  const chosen = Object.values(strategy ?? {}).filter((each) => each !== undefined);
  return when(chosen.length > 1, () => invalid(`spec.${name}`, `only one ${name} may be set`));
}

/** Rules for pools, besides those of the VM template. */
export function validatePool({ spec }: kubevirt.VirtualMachinePool): readonly Cause[] {
  const { virtualMachineTemplate: template, maxUnavailable } = spec;
  if (!template) return [required(POOL_TEMPLATE_PATH, 'missing virtual machine template.')];
  const percent = typeof maxUnavailable === 'string' ? Number(maxUnavailable.replace(/%$/, '')) : undefined;
  return [
    ...checkSelector(spec.selector as LabelSelectorObject, (template.metadata?.labels ?? {}) as Labels), // as above
    ...when(percent !== undefined && !(percent >= 1 && percent <= 100), () =>
      invalid('spec.maxUnavailable', 'maxUnavailable must be between 1% and 100%'),
    ),
    ...checkStrategy('updateStrategy', spec.updateStrategy),
    ...checkStrategy('scaleInStrategy', spec.scaleInStrategy),
    ...when(typeof maxUnavailable === 'number' && maxUnavailable < 1, () =>
      invalid('spec.maxUnavailable', 'maxUnavailable must be greater than 0'),
    ),
  ];
}

/** A cause of the VM inside a pool, under its place in the pool. */
export function poolCause(cause: Cause): Cause {
  if (cause.field === undefined) return cause;
  const field = `${POOL_TEMPLATE_PATH}.${cause.field}`;
  return { ...cause, field, message: cause.message.replaceAll(cause.field, field) };
}

/** Rules for presets: the domain part alone. */
export function validatePreset({ spec }: kubevirt.VirtualMachineInstancePreset, config: ClusterConfig): readonly Cause[] {
  if (!spec?.domain) return [required('spec.domain', 'missing domain.')];
  const domain = structuredClone(spec.domain);
  domain.devices ??= {};
  // Only what the domain itself says: a preset has no volumes or networks, and need not give memory.
  const names = (domain.devices.disks ?? []).map(({ name }) => ({ name, emptyDisk: { capacity: '1Gi' } }));
  const networks = (domain.devices.interfaces ?? []).map(({ name, masquerade }) => ({
    name,
    ...(masquerade ? { pod: {} } : { multus: { networkName: 'any' } }),
  }));
  const complete = { domain: { ...domain, memory: { guest: '1Gi', ...domain.memory } }, volumes: names, networks };
  return checkInstanceSpec('spec', complete, config, { volumesMustBeUsed: false }).filter(
    ({ field }) => field?.startsWith('spec.domain') ?? false,
  );
}
