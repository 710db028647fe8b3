import { deepEqual, type JsonObject } from '@slipway/apimachinery';
import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { liveInterfaces, withoutPluggableInterfaces } from '../hotplug/live-interfaces.ts';
import { liveSizes, type SizeChange, withoutLiveSizes } from '../hotplug/live-sizes.ts';
import { type ChangeFailure, isMigrating, migrationObstacle } from '../hotplug/migration-obstacle.ts';
import { liveVolumes, withoutPluggableVolumes } from '../hotplug/live-volumes.ts';
import { withClaimsOfGuest } from './claims-of-guest.ts';

type InstanceSpec = kubevirt.VirtualMachineInstanceSpec;

/** Placement fields: they concern where a guest may move, so a running instance takes them over at once. */
export const LIVE_FIELDS = ['nodeSelector', 'affinity', 'tolerations'] as const;

export interface TemplateChange {
  /** Message of RestartRequired; undefined: the running instance matches the template. */
  readonly restartReason: string | undefined;
  /** What the running instance takes over while it runs, as a merge patch of its spec. */
  readonly liveUpdate: JsonObject | undefined;
  /** Why a part of it has to wait; it is tried again. */
  readonly failure?: ChangeFailure | undefined;
}

const GENERIC = 'a non-live-updatable field was changed in the template spec';

export interface TemplateChangeInput {
  readonly started: VirtualMachine['spec'];
  readonly current: VirtualMachine['spec'];
  /** Both templates with their instance types and preferences applied; absent when one of these cannot be found. */
  readonly whole?: { readonly started: InstanceSpec; readonly current: InstanceSpec };
  readonly vmi: VirtualMachineInstance;
  readonly rolloutStrategy: 'LiveUpdate' | 'Stage';
  /** Hotpluggable volumes follow the template; else requests in the VM's status. */
  readonly volumesFollow: 'template' | 'requests';
  /** vCPUs that share a processor; grows what the instance asks for with its sockets. */
  readonly cpuAllocationRatio: number;
  readonly vmUid: string;
  /** Why claims of the guest cannot be exchanged while it runs. */
  readonly moveRefused?: string;
}

const NO_SPEC: InstanceSpec = { domain: { devices: {} } };

/** Compares what the instance was started from with what the VM asks for now. */
export function templateChange(input: TemplateChangeInput): TemplateChange {
  const { started, current, vmi, rolloutStrategy } = input;
  const from = started.template.spec ?? NO_SPEC;
  const to = current.template.spec ?? NO_SPEC;
  const isLive = rolloutStrategy === 'LiveUpdate';
  const isMoving = current.updateVolumesStrategy === 'Migration' && input.moveRefused === undefined;
  const lasting = (spec: InstanceSpec, origin: InstanceSpec): InstanceSpec => {
    const plain = withoutPluggableInterfaces(withoutPluggableVolumes(spec), origin, vmi.spec);
    return isLive ? withoutLiveSizes(plain) : plain;
  };
  const whole = withClaimsOfGuest(input.whole ?? { started: from, current: to }, vmi, isMoving);
  const changed = differingPaths(
    lasting(whole.started, whole.started),
    lasting(whole.current, whole.started),
    'spec.template.spec',
  ).concat(input.whole === undefined ? typeChanges(started, current) : []);
  const livePaths: readonly string[] = isLive ? LIVE_FIELDS.map((field) => `spec.template.spec.${field}`) : [];
  const blocking = changed.filter((path) => !livePaths.some((live) => path === live || path.startsWith(`${live}.`)));
  const sizes = isLive ? liveSizes(whole.current, vmi, input.cpuAllocationRatio) : undefined;
  // a person changed the type, not the fields that come by it
  const cause = input.whole === undefined ? [] : typeChanges(started, current);
  const restartReason =
    blocking.length > 0 ? (input.moveRefused ?? genericReason([...cause, ...blocking])) : sizes?.restartReason;
  const placement = isLive && restartReason === undefined ? placementUpdate(whole.current, vmi) : undefined;
  return { restartReason, ...liveChange(vmi, devicesOf(input, from, to), sizes, placement) };
}

/** What the running instance takes over now; while it moves to another node nothing, because its devices are copied there. */
function liveChange(
  vmi: VirtualMachineInstance,
  devices: ReturnType<typeof devicesOf>,
  sizes: SizeChange | undefined,
  placement: JsonObject | undefined,
): Pick<TemplateChange, 'liveUpdate' | 'failure'> {
  if (!isMigrating(vmi)) return { failure: sizes?.failure, liveUpdate: livePatch(devices, sizes?.domain, placement) };
  const failure = sizes?.failure ?? deviceFailure(vmi, devices) ?? placementFailure(vmi, placement);
  return { failure, liveUpdate: undefined };
}

function deviceFailure(
  vmi: VirtualMachineInstance,
  { volumes, network }: ReturnType<typeof devicesOf>,
): ChangeFailure | undefined {
  if (volumes !== undefined) return { reason: 'HotPlugVolumeError', message: migrationObstacle(vmi, 'Volume hotplug') ?? '' };
  if (network !== undefined)
    return { reason: 'HotPlugNetworkInterfaceError', message: migrationObstacle(vmi, 'Network interface hotplug') ?? '' };
  return undefined;
}

function placementFailure(vmi: VirtualMachineInstance, placement: JsonObject | undefined): ChangeFailure | undefined {
  if (placement === undefined) return undefined;
  const isToleration = placement['tolerations'] !== undefined;
  const what = isToleration ? 'Changing tolerations' : 'Changing node selector or affinity';
  const reason = isToleration ? 'TolerationsChangeError' : 'AffinityChangeError';
  return { reason, message: migrationObstacle(vmi, what) ?? '' };
}

/** Fields of the matchers that differ; the revision that one was pinned to when it was recorded is none. */
function typeChanges(started: VirtualMachine['spec'], current: VirtualMachine['spec']): readonly string[] {
  return [
    ...differingPaths(started.instancetype, current.instancetype, 'spec.instancetype', ['revisionName']),
    ...differingPaths(started.preference, current.preference, 'spec.preference', ['revisionName']),
  ];
}

function devicesOf({ vmi, volumesFollow, vmUid }: TemplateChangeInput, from: InstanceSpec, to: InstanceSpec) {
  const volumes = volumesFollow === 'template' ? liveVolumes(to, vmi.spec) : undefined;
  return { volumes, network: liveInterfaces(to, from, vmi.spec, vmUid) };
}

function livePatch(
  { volumes, network }: ReturnType<typeof devicesOf>,
  domain: object | undefined,
  placement: JsonObject | undefined,
): JsonObject | undefined {
  const devices = {
    ...(volumes && { disks: [...volumes.disks] }),
    ...(network && { interfaces: [...network.interfaces] }),
  };
  const domainPatch = { ...domain, ...(Object.keys(devices).length > 0 && { devices }) };
  const patch = {
    ...placement,
    ...(volumes && { volumes: [...volumes.volumes] }),
    ...(network && { networks: [...network.networks] }),
    ...(Object.keys(domainPatch).length > 0 && { domain: domainPatch }),
  };
  return Object.keys(patch).length === 0 ? undefined : (patch as JsonObject); // made of parts of API objects
}

function genericReason(paths: readonly string[]): string {
  return `${GENERIC}: ${paths.slice(0, 8).join(', ')}${paths.length > 8 ? ', …' : ''}`;
}

/** Null removes the field. */
function placementUpdate(to: InstanceSpec, vmi: VirtualMachineInstance): JsonObject | undefined {
  const changed = LIVE_FIELDS.filter((field) => !deepEqual(to[field], vmi.spec[field]));
  if (changed.length === 0) return undefined;
  return Object.fromEntries(changed.map((field) => [field, to[field] ?? null])) as JsonObject; // parts of an API object
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
