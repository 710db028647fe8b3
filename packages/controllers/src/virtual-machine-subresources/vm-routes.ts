import type { VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { VirtualMachineInstanceKind, VirtualMachineInstanceMigrationKind, VirtualMachineKind, VmiPhase } from '@slipway/api';
import { badRequest, isConflict, isInvalid, isObject, keyOf, StatusError } from '@slipway/apimachinery';
import type { AggregatedRoute, RouteRequest, RouteResponse } from '@slipway/runtime';
import { findVmi, getVm, type SubresourceDeps } from './deps.ts';
import { gateClosed, vmConflict, vmiConflict } from './errors.ts';
import { removeMemoryDump, requestMemoryDump } from './memory-dump-routes.ts';
import { type PowerChange, planRestart, planStart, planStop } from './power-requests.ts';
import { integerOption, isDryRun, optionsOf } from './request-body.ts';
import { vmVolumeHandlers } from './volume-routes.ts';

const ACCEPTED: RouteResponse = { status: 202 };
/** A status that changes between read and write is read again; this often. */
const ATTEMPTS = 5;

type Plan = (vm: VirtualMachine, vmi: VirtualMachineInstance | undefined) => PowerChange;

/** `virtualmachines/{name}/…`; port-forwarding is with the other streams. */
export function vmRoutes(deps: SubresourceDeps): readonly AggregatedRoute[] {
  const volumes = vmVolumeHandlers(deps);
  return [
    put('start', async (request) => {
      const options = optionsOf(request.body);
      const paused = options['paused'] === true;
      return changePower(deps, request, isDryRun(options), (vm, vmi) => planStart(vm, vmi, paused));
    }),
    put('stop', async (request) => {
      const options = optionsOf(request.body);
      const grace = integerOption(options, 'gracePeriod');
      return changePower(deps, request, isDryRun(options), (vm, vmi) => planStop(vm, vmi, grace));
    }),
    put('restart', async (request) => {
      const options = optionsOf(request.body);
      const grace = integerOption(options, 'gracePeriodSeconds');
      return changePower(deps, request, isDryRun(options), (vm, vmi) => planRestart(vm, vmi, grace));
    }),
    put('migrate', (request) => migrate(deps, request)),
    {
      ...base('expand-spec', true),
      methods: {
        GET: async (request) => ({ status: 200, body: await deps.expandVm(await getVm(deps, request), request.signal) }),
      },
    },
    put('addvolume', volumes.add, false),
    put('removevolume', volumes.remove, false),
    put('memorydump', (request) => requestMemoryDump(deps, request), false),
    put('removememorydump', (request) => removeMemoryDump(deps, request), false),
    {
      ...base('objectgraph', true),
      methods: {
        GET: async (request) => {
          await getVm(deps, request);
          throw gateClosed('ObjectGraph');
        },
      },
    },
    put('evacuate/cancel', (request) => cancelEvacuation(deps, request)),
  ];
}

const base = (subresource: string, discoverable: boolean) =>
  ({ resource: 'virtualmachines', namespaced: true, subresource, discoverable }) as const;

function put(
  subresource: string,
  handle: (request: RouteRequest) => Promise<RouteResponse>,
  discoverable = true,
): AggregatedRoute {
  return { ...base(subresource, discoverable), methods: { PUT: handle } };
}

async function changePower(deps: SubresourceDeps, request: RouteRequest, dryRun: boolean, plan: Plan): Promise<RouteResponse> {
  for (let attempt = 1; ; attempt++) {
    const vm = await getVm(deps, request);
    const vmi = await findVmi(deps, request);
    const change = plan(vm, vmi);
    const restoreGrace = await setGracePeriod(deps, vmi, change, dryRun, request.signal);
    try {
      await apply(deps, vm, change, dryRun, request.signal);
      return ACCEPTED;
    } catch (error) {
      await restoreGrace();
      if (!(isConflict(error) || isInvalid(error))) throw error;
      if (attempt === ATTEMPTS) throw vmConflict(request.name, 'unable to complete request: stop/start already underway');
    }
  }
}

async function apply(
  { client }: SubresourceDeps,
  vm: VirtualMachine,
  { spec, requests }: PowerChange,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<void> {
  if (spec !== undefined) {
    const operations = [
      { op: 'test', path: spec.path, value: spec.from },
      { op: 'replace', path: spec.path, value: spec.to },
    ] as const;
    await client.patch(VirtualMachineKind, keyOf(vm), operations, { type: 'json', dryRun, signal });
  }
  if (requests === undefined) return;
  const { startFailure: _, ...status } = vm.status ?? {};
  const updated = { ...vm, status: { ...status, stateChangeRequests: [...requests] } };
  await client.update(VirtualMachineKind, updated, { subresource: 'status', dryRun, signal });
}

/** Shortens the running instance's grace period; the returned function takes that back. */
async function setGracePeriod(
  { client }: SubresourceDeps,
  vmi: VirtualMachineInstance | undefined,
  { gracePeriodSeconds }: PowerChange,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<() => Promise<void>> {
  if (vmi === undefined || gracePeriodSeconds === undefined) return async () => {};
  const write = async (value: number | null): Promise<void> => {
    const patch = { spec: { terminationGracePeriodSeconds: value } };
    await client.patch(VirtualMachineInstanceKind, keyOf(vmi), patch, { type: 'merge', dryRun, signal });
  };
  await write(gracePeriodSeconds);
  return () => write(vmi.spec.terminationGracePeriodSeconds ?? null);
}

async function migrate(deps: SubresourceDeps, request: RouteRequest): Promise<RouteResponse> {
  const { namespace, name, signal } = request;
  const options = optionsOf(request.body);
  const dryRun = isDryRun(options);
  await getVm(deps, request);
  const vmi = await findVmi(deps, request);
  if (vmi?.status?.phase !== VmiPhase.running) throw vmConflict(name, 'VM is not running');
  const selector = options['addedNodeSelector'];
  await deps.client.create(
    VirtualMachineInstanceMigrationKind,
    {
      apiVersion: 'kubevirt.io/v1',
      kind: 'VirtualMachineInstanceMigration',
      metadata: { generateName: 'kubevirt-migrate-vm-', namespace },
      spec: { vmiName: name, ...(isObject(selector) && { addedNodeSelector: textValues(selector) }) },
    },
    { dryRun, signal },
  );
  return ACCEPTED;
}

function textValues(object: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => {
      if (typeof value !== 'string')
        throw badRequest(`Can not unmarshal Request body to struct, error: addedNodeSelector.${key} must be a string`);
      return [key, value];
    }),
  );
}

/** Takes back a requested evacuation of the instance; nothing to do is a success. */
export async function cancelEvacuation(deps: SubresourceDeps, request: RouteRequest): Promise<RouteResponse> {
  if (request.body === undefined) throw badRequest('Request with no body');
  const dryRun = isDryRun(optionsOf(request.body));
  const vmi = await findVmi(deps, request);
  if (vmi === undefined) throw vmiConflict(request.name, 'VMI is not running');
  const node = vmi.status?.evacuationNodeName;
  if (node === undefined || node === '') return { status: 200 };
  const operations = [
    { op: 'test', path: '/status/evacuationNodeName', value: node },
    { op: 'remove', path: '/status/evacuationNodeName' },
  ] as const;
  try {
    await deps.client.patch(VirtualMachineInstanceKind, keyOf(vmi), operations, { type: 'json', dryRun, signal: request.signal });
  } catch (error) {
    if (error instanceof StatusError && isInvalid(error))
      throw vmiConflict(request.name, 'the evacuation has just changed, try again');
    throw error;
  }
  return { status: 200 };
}
