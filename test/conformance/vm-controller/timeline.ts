// Plays one timeline of a VM (a run strategy and what people and guests do to it) against the real controllers on an
// API server in this process, and condenses what a watcher saw.
import {
  type kubevirt,
  PodKind,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
} from '@slipway/api';
import { isNotFound, StatusError } from '@slipway/apimachinery';
import { kubeVirtControllers, virtAdmissionHandlers, virtualMachineSubresources } from '@slipway/controllers';
import { type ControllerRegistration, done } from '@slipway/runtime';
import { type PodFate, setPhase, simulatedNode, type TestWorld, testWorld } from '@slipway/testkit';
import { clusterConfig, SLIPWAY_PROFILE } from '@slipway/virt';

/** One step: a request of a user, or an event on the node. `atMs` counts from the creation of the VM. */
export interface Step {
  readonly atMs: number;
  readonly act: 'start' | 'stop' | 'restart' | 'migrate' | 'delete' | 'deleteInstance' | 'patch' | 'deletePod' | 'guestEnds';
  /** Options of a power request, or the merge patch. */
  readonly body?: object;
  /** Last phase of a guest that ends by itself. */
  readonly phase?: 'Succeeded' | 'Failed';
}

export interface Timeline {
  readonly vm: VirtualMachine;
  readonly fate: PodFate;
  readonly steps: readonly Step[];
  readonly endMs: number;
}

export interface Outcome {
  /** HTTP codes of the requests, creation first. */
  readonly codes: readonly number[];
  /** `printableStatus` before the last step, and each change since. */
  readonly statuses: readonly string[];
  /** Queues of requests as they appeared, `Stop 1, Start`. */
  readonly requests: readonly string[];
  /** Instances in all. */
  readonly instances: number;
  readonly vm: VirtualMachine | undefined;
  readonly vmi: VirtualMachineInstance | undefined;
  /** Reasons of the events, each once. */
  readonly reasons: ReadonlySet<string>;
}

const KEY = { namespace: 'default', name: 'web' };
const VERSION = { gitVersion: 'v1', gitCommit: '', gitTreeState: '', buildDate: '', goVersion: '', compiler: '', platform: '' };

/** Notes what a watcher would see. */
class Recorder {
  readonly statuses: string[] = [];
  readonly requests: string[] = [];
  readonly instances: string[] = [];

  readonly registration: ControllerRegistration = {
    name: 'recorder',
    create: ({ informers }) => {
      informers.for(VirtualMachineInstanceKind).addHandler(({ object }) => {
        const { uid = '' } = object.metadata;
        if (!this.instances.includes(uid)) this.instances.push(uid);
      });
      informers.for(VirtualMachineKind).addHandler(({ type, object }) => {
        if (type === 'deleted') this.statuses.push('<deleted>');
        else this.note(object);
      });
      return { kind: VirtualMachineKind, reconciler: { reconcile: async () => done } };
    },
  };

  private note({ status }: VirtualMachine): void {
    const printable = status?.printableStatus;
    if (printable !== undefined && this.statuses.at(-1) !== printable) this.statuses.push(printable);
    const queue = (status?.stateChangeRequests ?? []).map((request) => this.requestText(request)).join(', ');
    if (queue !== '' && this.requests.at(-1) !== queue) this.requests.push(queue);
  }

  private requestText({ action, uid }: kubevirt.VirtualMachineStateChangeRequest): string {
    return uid === undefined ? action : `${action} ${this.instances.indexOf(uid) + 1}`;
  }
}

async function request(world: TestWorld, { act, body }: Step): Promise<number> {
  const { client } = world;
  if (act === 'delete') await client.delete(VirtualMachineKind, KEY);
  else if (act === 'deleteInstance') await client.delete(VirtualMachineInstanceKind, KEY);
  else if (act === 'patch') await client.patch(VirtualMachineKind, KEY, body ?? {}, { type: 'merge' });
  else return powerRequest(world, act, body);
  return 200;
}

async function powerRequest(world: TestWorld, verb: string, body: object | undefined): Promise<number> {
  const { routes } = virtualMachineSubresources({
    client: world.client,
    nodes: world.nodes,
    version: VERSION,
    config: () => clusterConfig(),
    expandVm: async (vm) => vm,
  });
  const route = routes.find(({ resource, subresource }) => resource === 'virtualmachines' && subresource === verb);
  const answer = await route?.methods['PUT']?.({
    user: { username: 'jane', groups: [] },
    method: 'PUT',
    version: 'v1',
    ...KEY,
    rest: [],
    query: new URLSearchParams(),
    body,
    signal: new AbortController().signal,
  });
  return answer?.status ?? 0;
}

const codeOf = (error: unknown): number => {
  if (error instanceof StatusError) return error.code;
  throw error;
};

const orUndefined = (error: unknown): undefined => {
  if (!isNotFound(error)) throw error;
  return undefined;
};

async function onNode(world: TestWorld, { act, phase = 'Failed' }: Step): Promise<void> {
  if (act === 'guestEnds') {
    const vmi = await world.get(VirtualMachineInstanceKind, KEY);
    await setPhase(world.client, vmi, phase);
    return;
  }
  for (const { metadata } of await world.list(PodKind, KEY.namespace))
    await world.client.delete(PodKind, { ...KEY, name: metadata.name ?? '' });
}

async function perform(world: TestWorld, step: Step): Promise<readonly number[]> {
  if (step.act === 'deletePod' || step.act === 'guestEnds') {
    await onNode(world, step);
    return [];
  }
  return [await request(world, step).catch(codeOf)];
}

/** Plays the timeline to its end. */
export async function play({ vm, fate, steps, endMs }: Timeline): Promise<Outcome> {
  const recorder = new Recorder();
  const node = simulatedNode();
  // recorded where there is one node: nowhere to migrate to
  node.targetFate = 'stays-pending';
  node.fate = fate;
  const world = testWorld({
    api: 'server',
    controllers: [...kubeVirtControllers(SLIPWAY_PROFILE), node.registration, recorder.registration],
    admission: (client) =>
      virtAdmissionHandlers({
        client,
        config: () => clusterConfig(),
        now: () => new Date(0),
        newUuid: () => '00000000-0000-4000-8000-000000000001',
        isPlatform: () => true,
      }),
  });
  try {
    const codes = await create(world, vm);
    let nowMs = 0;
    for (const step of steps) {
      await world.advance(step.atMs - nowMs);
      nowMs = step.atMs;
      recorder.statuses.splice(0, recorder.statuses.length - 1);
      codes.push(...(await perform(world, step)));
      await world.settle();
    }
    // in small steps, so that timers fire in their order
    for (; nowMs < endMs; nowMs += 1_000) await world.advance(1_000);
    const events = await world.events();
    return {
      codes,
      statuses: [...recorder.statuses],
      requests: [...recorder.requests],
      instances: recorder.instances.length,
      vm: await world.get(VirtualMachineKind, KEY).catch(orUndefined),
      vmi: await world.get(VirtualMachineInstanceKind, KEY).catch(orUndefined),
      reasons: new Set(events.map((text) => text.split(' ')[1] ?? '')),
    };
  } finally {
    await world.close();
  }
}

async function create(world: TestWorld, vm: VirtualMachine): Promise<number[]> {
  await world.with(); // the namespace comes with the first object
  const code = await world.client.create(VirtualMachineKind, vm).then(() => 201, codeOf);
  await world.settle();
  return [code];
}
