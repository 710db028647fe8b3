import { deepEqual } from '@slipway/apimachinery';
import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';

type InstanceSpec = kubevirt.VirtualMachineInstanceSpec;

/** Placement fields: they concern where a guest may move, so a running instance takes them over at once. */
export const LIVE_FIELDS = ['nodeSelector', 'affinity', 'tolerations'] as const;

export interface TemplateChange {
  /** Message of RestartRequired; undefined: the running instance matches the template. */
  readonly restartReason: string | undefined;
  /** Live-updatable fields to bring to the instance. */
  readonly liveUpdate: Partial<Pick<InstanceSpec, (typeof LIVE_FIELDS)[number]>> | undefined;
}

const GENERIC = 'a non-live-updatable field was changed in the template spec';

export interface TemplateChangeInput {
  readonly started: VirtualMachine['spec'];
  readonly current: VirtualMachine['spec'];
  readonly vmi: VirtualMachineInstance;
  readonly rolloutStrategy: 'LiveUpdate' | 'Stage';
}

/** Compares what the instance was started from with what the VM asks for now. */
export function templateChange({ started, current, vmi, rolloutStrategy }: TemplateChangeInput): TemplateChange {
  const from = started.template.spec;
  const to = current.template.spec;
  const isLive = rolloutStrategy === 'LiveUpdate';
  const changed = differingPaths(from, to, 'spec.template.spec')
    .concat(differingPaths(started.instancetype, current.instancetype, 'spec.instancetype', ['revisionName']))
    .concat(differingPaths(started.preference, current.preference, 'spec.preference', ['revisionName']));
  const livePaths: readonly string[] = isLive ? LIVE_FIELDS.map((field) => `spec.template.spec.${field}`) : [];
  const blocking = changed.filter((path) => !livePaths.some((live) => path === live || path.startsWith(`${live}.`)));
  return {
    restartReason: blocking.length === 0 ? undefined : restartReason(from, to, blocking, vmi),
    liveUpdate: isLive && blocking.length === 0 ? placementUpdate(to, vmi) : undefined,
  };
}

function restartReason(
  from: InstanceSpec | undefined,
  to: InstanceSpec | undefined,
  paths: readonly string[],
  vmi: VirtualMachineInstance,
): string {
  const before = from?.domain.cpu?.sockets ?? 1;
  const after = to?.domain.cpu?.sockets ?? 1;
  if (paths.length === 1 && paths[0] === 'spec.template.spec.domain.cpu.sockets') {
    const max = vmi.spec.domain.cpu?.maxSockets;
    if (max !== undefined && after > max) return "CPU sockets updated in template spec to a value higher than what's available";
    if (after < before) return 'Reduction of CPU socket count requires a restart';
  }
  return `${GENERIC}: ${paths.slice(0, 8).join(', ')}${paths.length > 8 ? ', …' : ''}`;
}

function placementUpdate(to: InstanceSpec | undefined, vmi: VirtualMachineInstance): TemplateChange['liveUpdate'] {
  const changed = LIVE_FIELDS.filter((field) => !deepEqual(to?.[field], vmi.spec[field]));
  if (changed.length === 0) return undefined;
  return Object.fromEntries(changed.map((field) => [field, to?.[field]]));
}

/** Dotted paths at which two JSON values differ; arrays count as one value. */
export function differingPaths(left: unknown, right: unknown, path: string, ignored: readonly string[] = []): string[] {
  if (deepEqual(left, right)) return [];
  if (!isRecord(left) || !isRecord(right)) return [path];
  const names = [...new Set([...Object.keys(left), ...Object.keys(right)])].filter((name) => !ignored.includes(name)).sort();
  return names.flatMap((name) => differingPaths(left[name], right[name], `${path}.${name}`));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
