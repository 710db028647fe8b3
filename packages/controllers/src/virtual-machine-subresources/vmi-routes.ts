import type { VirtualMachineInstance } from '@slipway/api';
import { NodeVerb, VirtualMachineKind, VmiCondition, VmiPhase } from '@slipway/api';
import {
  badRequest,
  controllerOf,
  isNotFound,
  isObject,
  type JsonObject,
  parseDuration,
  StatusError,
} from '@slipway/apimachinery';
import type { AggregatedRoute, RouteRequest, RouteResponse } from '@slipway/runtime';
import { hasCondition } from '../virtual-machine-instance/instance-state.ts';
import { getVmi, type SubresourceDeps } from './deps.ts';
import { gateClosed, vmiConflict, vmiForbidden } from './errors.ts';
import { callAgent, nodeOf } from './guest-access.ts';
import { isDryRun, optionsOf } from './request-body.ts';
import { cancelEvacuation } from './vm-routes.ts';
import { vmiVolumeHandlers } from './volume-routes.ts';

const OK: RouteResponse = { status: 200 };

type Check = (vmi: VirtualMachineInstance, deps: SubresourceDeps, request: RouteRequest) => void | Promise<void>;

/** `virtualmachineinstances/{name}/…` except the streams. */
export function vmiRoutes(deps: SubresourceDeps): readonly AggregatedRoute[] {
  const action = (subresource: string, verb: string, check: Check, params: (options: JsonObject) => JsonObject = () => ({})) =>
    route(subresource, 'PUT', async (request) => {
      const options = optionsOf(request.body);
      const dryRun = isDryRun(options);
      const extra = params(options);
      const vmi = await getVmi(deps, request);
      await check(vmi, deps, request);
      if (!dryRun) await callAgent(deps, vmi, verb, request, extra);
      return OK;
    });
  const question = (subresource: string, verb: string) =>
    route(subresource, 'GET', (request) => plainFailure(() => askGuest(deps, request, verb)));
  const refusal = (subresource: string, method: string, refuse: (vmi: VirtualMachineInstance) => Error, discoverable = true) =>
    route(
      subresource,
      method,
      async (request) => {
        throw refuse(await getVmi(deps, request));
      },
      discoverable,
    );
  const volumes = vmiVolumeHandlers(deps);
  return [
    action('pause', NodeVerb.pause, mayPause),
    action('unpause', NodeVerb.unpause, mayUnpause),
    action('freeze', NodeVerb.freeze, isRunning, (options) => ({ unfreezeTimeoutSeconds: unfreezeTimeout(options) })),
    action('unfreeze', NodeVerb.unfreeze, isRunning),
    action('softreboot', NodeVerb.softreboot, maySoftReboot),
    action('reset', NodeVerb.reset, mayReset),
    question('guestosinfo', NodeVerb.guestosinfo),
    question('userlist', NodeVerb.userlist),
    question('filesystemlist', NodeVerb.filesystemlist),
    route('vnc/screenshot', 'GET', (request) => plainFailure(() => screenshot(deps, request))),
    route('addvolume', 'PUT', volumes.add),
    route('removevolume', 'PUT', volumes.remove),
    refusal('backup', 'PUT', () => gateClosed('IncrementalBackup')),
    refusal('redefine-checkpoint', 'PUT', () => gateClosed('IncrementalBackup')),
    refusal('objectgraph', 'GET', () => gateClosed('ObjectGraph')),
    refusal('sev/fetchcertchain', 'GET', () => gateClosed('WorkloadEncryptionSEV')),
    refusal('sev/querylaunchmeasurement', 'GET', () => gateClosed('WorkloadEncryptionSEV')),
    refusal('sev/setupsession', 'PUT', () => gateClosed('WorkloadEncryptionSEV')),
    refusal('sev/injectlaunchsecret', 'PUT', () => gateClosed('WorkloadEncryptionSEV')),
    route('evacuate/cancel', 'PUT', (request) => cancelEvacuation(deps, request)),
  ];
}

function route(
  subresource: string,
  method: string,
  handle: (request: RouteRequest) => Promise<RouteResponse>,
  discoverable = true,
): AggregatedRoute {
  return { resource: 'virtualmachineinstances', namespaced: true, subresource, discoverable, methods: { [method]: handle } };
}

const nameOf = (vmi: VirtualMachineInstance): string => vmi.metadata.name ?? '';

const isRunning: Check = (vmi) => {
  if (vmi.status?.phase !== VmiPhase.running) throw vmiConflict(nameOf(vmi), 'VMI is not running');
};

const mayPause: Check = (vmi, deps, request) => {
  void isRunning(vmi, deps, request);
  const probe = vmi.spec.livenessProbe;
  if (probe !== undefined && probe.guestAgentPing === undefined)
    throw vmiForbidden(nameOf(vmi), 'Pausing VMIs with LivenessProbe is currently not supported');
  if (hasCondition(vmi, VmiCondition.paused)) throw vmiConflict(nameOf(vmi), 'VMI is already paused');
};

const mayUnpause: Check = async (vmi, deps, request) => {
  if (await isBeingSnapshot(vmi, deps, request)) throw vmiConflict(nameOf(vmi), 'VM snapshot is in progress');
  await isRunning(vmi, deps, request);
  if (!hasCondition(vmi, VmiCondition.paused)) throw vmiConflict(nameOf(vmi), 'VMI is not paused');
};

async function isBeingSnapshot(vmi: VirtualMachineInstance, { client }: SubresourceDeps, { namespace, signal }: RouteRequest) {
  const owner = controllerOf(vmi);
  if (owner?.kind !== 'VirtualMachine') return false;
  try {
    const vm = await client.get(VirtualMachineKind, { namespace, name: owner.name }, { signal });
    return vm.status?.snapshotInProgress !== undefined;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

const maySoftReboot: Check = (vmi, deps, request) => {
  void isRunning(vmi, deps, request);
  if (hasCondition(vmi, VmiCondition.paused)) throw vmiConflict(nameOf(vmi), 'VMI is paused');
  const hasAcpi = vmi.spec.domain.features?.acpi?.enabled !== false;
  if (!hasCondition(vmi, VmiCondition.agentConnected) && !hasAcpi)
    throw vmiConflict(nameOf(vmi), 'VMI neither have the agent connected nor the ACPI feature enabled');
};

const mayReset: Check = (vmi) => {
  try {
    nodeOf(vmi);
  } catch (error) {
    throw error instanceof StatusError ? badRequest(`Failed to reset VMI: ${error.message}`) : error;
  }
};

/** Seconds of `unfreezeTimeout` (a Go duration); 0 when absent. */
function unfreezeTimeout({ unfreezeTimeout: text }: JsonObject): number {
  if (text === undefined || text === null) return 0;
  const ms = typeof text === 'string' ? parseDuration(text) : undefined;
  if (ms === undefined || ms < 0)
    throw badRequest('Can not unmarshal Request body to struct, error: unfreezeTimeout is not a duration');
  return ms / 1000;
}

async function askGuest(deps: SubresourceDeps, request: RouteRequest, verb: string): Promise<RouteResponse> {
  const vmi = await getVmi(deps, request);
  await isRunning(vmi, deps, request);
  if (!hasCondition(vmi, VmiCondition.agentConnected)) throw vmiConflict(nameOf(vmi), 'VMI does not have guest agent connected');
  return { status: 200, body: await callAgent(deps, vmi, verb, request) };
}

async function screenshot(deps: SubresourceDeps, request: RouteRequest): Promise<RouteResponse> {
  const vmi = await getVmi(deps, request);
  checkGraphics(vmi);
  const moveCursor = request.query.get('moveCursor') === 'true';
  const answer = await callAgent(deps, vmi, NodeVerb.vncScreenshot, request, { moveCursor });
  if (!isObject(answer) || typeof answer['png'] !== 'string') throw new Error('The node has sent no picture');
  return { status: 200, body: Buffer.from(answer['png'], 'base64'), contentType: 'image/png' };
}

/** Throws 400 when the instance has no display, or no guest that shows one. */
export function checkGraphics(vmi: VirtualMachineInstance): void {
  if (vmi.spec.domain.devices.autoattachGraphicsDevice === false) throw badRequest('No graphics devices are present.');
  requireRunning(vmi);
}

/** Throws 400 unless the guest runs. */
export function requireRunning(vmi: VirtualMachineInstance): void {
  const phase = vmi.status?.phase ?? '';
  if (phase !== VmiPhase.running)
    throw badRequest(`Unable to connect to VirtualMachineInstance because phase is ${phase} instead of ${VmiPhase.running}`);
}

/** KubeVirt-compat: these GETs answer plain 500 with the text for every failure, failed preconditions included. */
async function plainFailure(answer: () => Promise<RouteResponse>): Promise<RouteResponse> {
  try {
    return await answer();
  } catch (error) {
    return { status: 500, body: error instanceof Error ? error.message : String(error), contentType: 'text/plain' };
  }
}
