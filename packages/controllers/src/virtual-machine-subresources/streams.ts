import type { Duplex } from 'node:stream';
import type { VirtualMachineInstance } from '@slipway/api';
import { NodeVerb, VmiCondition, VmiPhase } from '@slipway/api';
import { badRequest } from '@slipway/apimachinery';
import type { MessageStream } from '@slipway/client';
import type { AggregatedRoute, NodeCall, RouteRequest, StreamAcceptor } from '@slipway/runtime';
import { hasCondition } from '../virtual-machine-instance/instance-state.ts';
import { datagramFrames, frameDatagram } from './datagrams.ts';
import { getVm, getVmi, type SubresourceDeps } from './deps.ts';
import { vmConflict, vmiConflict } from './errors.ts';
import { nodeAfter } from './follow-guest.ts';
import { GuestStream, type Reopen } from './guest-stream.ts';
import { callParams, nodeOf } from './guest-access.ts';
import { DisplaySession } from './rfb/index.ts';
import { checkGraphics, requireRunning } from './vmi-routes.ts';

/** The only framing KubeVirt clients speak: every binary message is a piece of the raw stream. */
const PROTOCOLS = ['plain.kubevirt.io'] as const;

interface StreamDeps extends SubresourceDeps {
  /** The session that has the display of each guest, by the uid of its instance. */
  readonly displays: Map<string, object>;
}

type Prepare = (request: RouteRequest) => Promise<{ vmi: VirtualMachineInstance; params: Record<string, unknown> }>;

/** WebSocket routes: console, VNC and port-forwarding. */
export function streamRoutes(deps: SubresourceDeps): readonly AggregatedRoute[] {
  const displays = new Map<string, object>();
  const vmi = (subresource: string, verb: string, prepare: Prepare, allowsRest = false): AggregatedRoute => ({
    resource: 'virtualmachineinstances',
    namespaced: true,
    subresource,
    discoverable: true,
    allowsRest,
    methods: {},
    connect: (request) => accept({ ...deps, displays }, request, verb, prepare),
  });
  return [
    vmi('console', NodeVerb.console, async (request) => {
      const target = await getVmi(deps, request);
      if (target.spec.domain.devices.autoattachSerialConsole === false) throw badRequest('No serial consoles are present.');
      if (target.status?.phase === VmiPhase.failed) throw vmiConflict(request.name, 'VMI is in failed status');
      requireRunning(target);
      return { vmi: target, params: {} };
    }),
    vmi('vnc', NodeVerb.vnc, async (request) => {
      const target = await getVmi(deps, request);
      checkGraphics(target);
      return { vmi: target, params: { preserveSession: request.query.get('preserveSession') === 'true' } };
    }),
    {
      ...vmi('usbredir', NodeVerb.usbredir, async (request) => {
        const target = await getVmi(deps, request);
        if (target.spec.architecture === 's390x') throw vmiConflict(request.name, 'USB redirection is not supported on s390x');
        if (target.spec.domain.devices.clientPassthrough === undefined)
          throw vmiConflict(request.name, 'Not configured with USB Redirection');
        requireRunning(target);
        return { vmi: target, params: {} };
      }),
      discoverable: false,
    },
    vmi('portforward', NodeVerb.portforward, (request) => prepareForward(deps, request), true),
    {
      resource: 'virtualmachines',
      namespaced: true,
      subresource: 'portforward',
      discoverable: false,
      allowsRest: true,
      methods: {},
      connect: (request) =>
        accept({ ...deps, displays }, request, NodeVerb.portforward, async () => {
          const vm = await getVm(deps, request);
          if (vm.status?.created !== true) throw vmConflict(request.name, 'VMI is not started');
          return prepareForward(deps, request);
        }),
    },
  ];
}

async function prepareForward(deps: SubresourceDeps, request: RouteRequest): ReturnType<Prepare> {
  const [portText = '', protocol = 'tcp'] = request.rest;
  const port = Number(portText);
  if (!/^\d+$/.test(portText) || port < 1 || port > 65_535)
    throw badRequest(`Port must be a number from 1 to 65535, not "${portText}"`);
  if (protocol !== 'tcp' && protocol !== 'udp') throw badRequest(`Protocol must be tcp or udp, not "${protocol}"`);
  const vmi = await getVmi(deps, request);
  if (hasCondition(vmi, VmiCondition.paused)) throw vmiConflict(request.name, 'VMI is paused');
  requireRunning(vmi);
  if ((vmi.status?.interfaces ?? []).length === 0)
    throw badRequest(`No network interfaces are present on virtual machine ${request.namespace}/${request.name}`);
  return { vmi, params: { port, protocol } };
}

/** Checks and dials before the upgrade, so that a failure is an HTTP answer and not a broken stream. */
async function accept(deps: StreamDeps, request: RouteRequest, verb: string, prepare: Prepare): Promise<StreamAcceptor> {
  const { vmi, params } = await prepare(request);
  const call = { verb, params: { ...callParams(vmi), ...params } };
  // before the node ends the session that had the display: that one shall not come back
  const claim = verb === NodeVerb.vnc ? claimDisplay(deps.displays, vmi.metadata.uid ?? '') : undefined;
  const first = await openAtGuest(deps, vmi, call, request.signal).catch((error: unknown) => {
    claim?.giveBack();
    throw error;
  });
  const run = (stream: MessageStream): Promise<void> => {
    const join = { vmi, call, first, stream };
    if (verb === NodeVerb.console) return joinMoving(deps, join, (guest, reopen) => new GuestStream(guest, reopen));
    if (claim !== undefined) return joinDisplay(deps, join, claim);
    return joinResting(stream, first.stream, params['protocol'] === 'udp');
  };
  return { protocols: PROTOCOLS, run };
}

interface AtNode {
  readonly node: string;
  readonly stream: Duplex;
}

/** A guest that moves just now is asked for at its next node when the one that is known has no guest any more. */
async function openAtGuest(
  { client, nodes }: StreamDeps,
  vmi: VirtualMachineInstance,
  call: NodeCall,
  signal: AbortSignal,
): Promise<AtNode> {
  const node = nodeOf(vmi);
  try {
    return { node, stream: await nodes.open(node, call, signal) };
  } catch (error) {
    const next = await nodeAfter(client, vmi, node, signal);
    if (next === undefined || next === node) throw error;
    return { node: next, stream: await nodes.open(next, call, signal) };
  }
}

interface Join {
  readonly vmi: VirtualMachineInstance;
  readonly call: NodeCall;
  readonly first: AtNode;
  readonly stream: MessageStream;
}

interface DisplayClaim {
  readonly isLatest: () => boolean;
  /** The session has not come about. */
  readonly giveBack: () => void;
  readonly release: () => void;
}

/** KubeVirt-compat: the latest session has the display. */
function claimDisplay(displays: StreamDeps['displays'], uid: string): DisplayClaim {
  const before = displays.get(uid);
  const session = {};
  const isLatest = (): boolean => displays.get(uid) === session;
  displays.set(uid, session);
  return {
    isLatest,
    giveBack: () => {
      if (!isLatest()) return;
      if (before === undefined) displays.delete(uid);
      else displays.set(uid, before);
    },
    release: () => void (isLatest() && displays.delete(uid)),
  };
}

/** A session that was displaced does not come back when the guest moves. */
async function joinDisplay(deps: StreamDeps, join: Join, { isLatest, release }: DisplayClaim): Promise<void> {
  try {
    const follow = (guest: Duplex, reopen: Reopen): DisplaySession =>
      new DisplaySession(guest, async () => (isLatest() ? reopen() : undefined));
    await joinMoving(deps, join, follow);
  } finally {
    release();
  }
}

/** A stream that goes on at the next node when its guest moves. */
async function joinMoving(
  { client, nodes }: StreamDeps,
  { vmi, call, first, stream }: Join,
  follow: (first: Duplex, reopen: Reopen) => GuestStream | DisplaySession,
): Promise<void> {
  const stopped = new AbortController();
  let { node } = first;
  const guest = follow(first.stream, async () => {
    const next = await nodeAfter(client, vmi, node, stopped.signal);
    if (next === undefined) return undefined;
    node = next;
    return nodes.open(node, call, stopped.signal);
  });
  await splice(stream, {
    read: () => guest.chunks(),
    write: (data) => guest.write(data),
    end: () => {
      stopped.abort();
      guest.close();
    },
  });
}

/** Copies both ways until one side ends, then ends the other. */
async function joinResting(stream: MessageStream, guest: Duplex, isDatagram: boolean): Promise<void> {
  await splice(stream, {
    read: () => (isDatagram ? datagramFrames(guest) : guest),
    write: async (message) => {
      await write(guest, isDatagram ? frameDatagram(message) : message);
      return true;
    },
    end: () => {
      guest.end();
      guest.destroy();
    },
  });
}

interface GuestEnd {
  read(): AsyncIterable<Uint8Array>;
  /** False: nothing is taken any more. */
  write(data: Uint8Array): Promise<boolean>;
  end(): void;
}

async function splice(stream: MessageStream, guest: GuestEnd): Promise<void> {
  const toClient = async (): Promise<void> => {
    for await (const chunk of guest.read()) await stream.send(chunk);
  };
  const toGuest = async (): Promise<void> => {
    for await (const message of stream.messages) if (!(await guest.write(message))) return;
  };
  try {
    await Promise.race([toClient(), toGuest()]);
    stream.close(1000);
  } catch (error) {
    stream.close(1011, error instanceof Error ? error.message.slice(0, 100) : 'stream failed');
  } finally {
    guest.end();
  }
}

function write(guest: Duplex, data: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    guest.write(data, (error) => (error ? reject(error) : resolve()));
  });
}
