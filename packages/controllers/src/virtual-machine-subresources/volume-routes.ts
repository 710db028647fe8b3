import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { VirtualMachineInstanceKind, VirtualMachineKind, VmiPhase } from '@slipway/api';
import { badRequest, controllerOf, isConflict, isInvalid, keyOf, StatusError } from '@slipway/apimachinery';
import type { JsonPatchOperation } from '@slipway/client';
import type { RouteRequest, RouteResponse } from '@slipway/runtime';
import { addVolumeOptions, removeVolumeName, VolumeConflict, withoutVolume, withVolume } from '../hotplug/volume-requests.ts';
import { findVmi, getVm, getVmi, type SubresourceDeps } from './deps.ts';
import { gateClosed, vmConflict, vmiConflict } from './errors.ts';
import { isDryRun, optionsOf } from './request-body.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;
type Handler = (request: RouteRequest) => Promise<RouteResponse>;

const ACCEPTED: RouteResponse = { status: 202 };
/** An object that changes between read and write is read again; this often. */
const ATTEMPTS = 5;

/** What one request does to a spec and how it is kept until a controller follows it. */
interface VolumeChange {
  readonly apply: (spec: Spec) => Spec;
  readonly request: kubevirt.VirtualMachineVolumeRequest;
}

function addition(body: unknown): VolumeChange {
  const options = addVolumeOptions(body);
  return { apply: (spec) => withVolume(spec, options), request: { addVolumeOptions: options } };
}

function removal(body: unknown): VolumeChange {
  const name = removeVolumeName(body);
  return { apply: (spec) => withoutVolume(spec, name), request: { removeVolumeOptions: { name } } };
}

/** Reads, decides (throws a StatusError to refuse) and returns the write, which fails with a conflict when it is stale. */
type Prepare = (request: RouteRequest, change: VolumeChange, dryRun: boolean) => Promise<() => Promise<unknown>>;

interface VolumeHandlers {
  readonly add: Handler;
  readonly remove: Handler;
}

/** `addvolume` and `removevolume` of a VM: lasting, also for a VM that is stopped. */
export function vmVolumeHandlers(deps: SubresourceDeps): VolumeHandlers {
  return handlersOf(deps, (request, change, dryRun) => changeVm(deps, request, change, dryRun), vmConflict);
}

/** `addvolume` and `removevolume` of a VMI: for the running instance alone. */
export function vmiVolumeHandlers(deps: SubresourceDeps): VolumeHandlers {
  return handlersOf(deps, (request, change, dryRun) => changeVmi(deps, request, change, dryRun), vmiConflict);
}

function handlersOf(deps: SubresourceDeps, prepare: Prepare, conflict: typeof vmConflict): VolumeHandlers {
  const handler =
    (changeOf: (body: unknown) => VolumeChange): Handler =>
    async (request) => {
      const { hasGate } = deps.config();
      if (!hasGate('DeclarativeHotplugVolumes') && !hasGate('HotplugVolumes')) throw gateClosed('HotplugVolumes');
      const change = changeOf(request.body);
      const dryRun = isDryRun(optionsOf(request.body));
      for (let attempt = 1; ; attempt++) {
        const write = await prepare(request, change, dryRun);
        try {
          await write();
          return ACCEPTED;
        } catch (error) {
          if (!isStale(error)) throw error;
          if (attempt === ATTEMPTS) throw conflict(request.name, 'unable to complete request: it is being changed, try again');
        }
      }
    };
  return { add: handler(addition), remove: handler(removal) };
}

async function changeVm(
  deps: SubresourceDeps,
  request: RouteRequest,
  change: VolumeChange,
  dryRun: boolean,
): Promise<() => Promise<unknown>> {
  const { name, signal } = request;
  const vm = await getVm(deps, request);
  const spec = vm.spec.template.spec ?? { domain: { devices: {} } };
  const next = refusing(
    () => change.apply(spec),
    (message) => vmConflict(name, message),
  );
  if (!deps.config().hasGate('HotplugVolumes')) {
    const patch = listsPatch('/spec/template/spec', spec, next);
    return () => deps.client.patch(VirtualMachineKind, keyOf(vm), patch, { type: 'json', dryRun, signal });
  }
  const vmi = await findVmi(deps, request);
  if (vmi?.status?.phase === VmiPhase.running)
    refusing(
      () => change.apply(vmi.spec),
      (message) => vmConflict(name, message),
    );
  const updated = { ...vm, status: { ...vm.status, volumeRequests: queued(vm, change) } };
  return () => deps.client.update(VirtualMachineKind, updated, { subresource: 'status', dryRun, signal });
}

/** With the older gate the controller follows requests in the status, one after the other. */
function queued(vm: VirtualMachine, { request }: VolumeChange): kubevirt.VirtualMachineVolumeRequest[] {
  const waiting = vm.status?.volumeRequests ?? [];
  const name = nameOf(request);
  if (waiting.some((entry) => nameOf(entry) === name))
    throw vmConflict(vm.metadata.name ?? '', `${verbOf(request)} volume request for volume [${name}] already exists`);
  return [...waiting, request];
}

const nameOf = ({ addVolumeOptions: add, removeVolumeOptions: remove }: kubevirt.VirtualMachineVolumeRequest): string =>
  add?.name ?? remove?.name ?? '';
const verbOf = ({ addVolumeOptions: add }: kubevirt.VirtualMachineVolumeRequest): string => (add ? 'add' : 'remove');

async function changeVmi(
  deps: SubresourceDeps,
  request: RouteRequest,
  change: VolumeChange,
  dryRun: boolean,
): Promise<() => Promise<unknown>> {
  const { name, signal } = request;
  const vmi = await getVmi(deps, request);
  checkOwner(deps, vmi);
  if (vmi.status?.phase !== VmiPhase.running) throw vmiConflict(name, 'VMI is not running');
  const next = refusing(
    () => change.apply(vmi.spec),
    (message) => vmiConflict(name, message),
  );
  const patch = listsPatch('/spec', vmi.spec, next);
  return () => deps.client.patch(VirtualMachineInstanceKind, keyOf(vmi), patch, { type: 'json', dryRun, signal });
}

/** Replaces the two lists that a change of volumes touches, as long as they are what was read. */
function listsPatch(root: string, before: Spec, after: Spec): readonly JsonPatchOperation[] {
  const lists = [
    { path: `${root}/volumes`, from: before.volumes, to: after.volumes },
    { path: `${root}/domain/devices/disks`, from: before.domain.devices.disks, to: after.domain.devices.disks },
  ];
  return lists.flatMap(({ path, from, to }) => [
    { op: 'test', path, value: from ?? null },
    { op: 'add', path, value: to ?? [] },
  ]);
}

/** A refusal of a rule has causes; a patch whose test failed has none. */
function isStale(error: unknown): boolean {
  return (
    isConflict(error) || (isInvalid(error) && error instanceof StatusError && (error.status.details?.causes ?? []).length === 0)
  );
}

/** The volumes of a VM's instance follow the VM, unless the older gate makes requests the way. */
function checkOwner({ config }: SubresourceDeps, vmi: VirtualMachineInstance): void {
  const { namespace, name } = vmi.metadata;
  if (controllerOf(vmi)?.kind === 'VirtualMachine' && !config().hasGate('HotplugVolumes'))
    throw badRequest(`VMI ${namespace}/${name} is owned by a VM`);
}

function refusing(act: () => Spec, refusal: (message: string) => StatusError): Spec {
  try {
    return act();
  } catch (error) {
    throw error instanceof VolumeConflict ? refusal(error.message) : error;
  }
}
