import { type KubeObject, type ResourceKind, StatusError } from '@slipway/apimachinery';
import { type Pod, PodKind, type VirtualMachineInstance, VirtualMachineInstanceKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { type Informer, type InformerEvent, silentLogger } from '@slipway/runtime';
import { fakeClock, MemoryCluster, pod as buildPod, vmi as buildVmi } from '@slipway/testkit';
import { clusterConfig } from '@slipway/virt';
import { describe, expect, it } from 'vitest';
import type { PodNetwork, Sandbox, VolumeManager } from '../contracts.ts';
import type { RunningSandbox } from '../sandbox/index.ts';
import { FreezeTimers } from './freeze-timers.ts';
import type { GuestEvent, PowerEvent } from './guest-event.ts';
import { oneShot } from './launch-parts.ts';
import type { GuestControl, LaunchDeps } from './launch-view.ts';
import { LauncherRunner } from './launcher-runner.ts';

const NODE = 'n1';
const VMI_KEY = { namespace: 'default', name: 'vm' };
const POD_KEY = { namespace: 'default', name: 'launcher' };
const signal = new AbortController().signal;

type Step = 'sandbox' | 'network' | 'volumes' | 'find' | 'start' | 'tearDown';

interface WorldOptions {
  /** What the host has before the agent starts. */
  readonly standing?: { readonly domain?: 'running' | 'off'; readonly power?: PowerEvent };
  readonly phase?: string;
  readonly graceSeconds?: number;
  readonly probes?: Pick<VirtualMachineInstance['spec'], 'readinessProbe' | 'livenessProbe'>;
  /** What the pod's status says of its container. */
  readonly wasReady?: boolean;
}

/** One launcher pod on a host of fakes; the API server is real enough to conflict and to be away. */
async function world({ standing, phase = 'Scheduling', graceSeconds = 0, probes, wasReady }: WorldOptions = {}) {
  const clock = fakeClock();
  const cluster = new MemoryCluster(clock);
  const steps: string[] = [];
  const events: string[] = [];
  /** Steps that fail once each time they are named here. */
  const faults: Step[] = [];
  /** Called when a step is reached; the step goes on when it resolves. */
  const gates = new Map<Step, () => Promise<void>>();
  let isServerAway = false;
  let isTerminating = false;
  let sandbox: RunningSandbox | undefined;
  let domain: 'running' | 'off' | undefined = standing?.domain;
  const power = standing?.power ?? { type: 'resumed' };
  let emit: (event: GuestEvent) => void = () => {};

  const reach = async (step: Step): Promise<void> => {
    steps.push(step);
    await gates.get(step)?.();
    const index = faults.indexOf(step);
    if (index >= 0) throw new Error(`no ${step} today; ${faults.splice(index, 1).join('')} must be repaired`);
  };
  const base = cluster.client();
  const away = (): void => {
    if (isServerAway) throw new StatusError({ code: 503, reason: 'ServiceUnavailable', message: 'Cannot reach the API server' });
  };
  const client: Client = {
    ...base,
    update: async <T extends KubeObject>(kind: ResourceKind<T>, object: T, options: Parameters<Client['update']>[2]) => {
      away();
      return base.update(kind, object, options);
    },
    patch: async <T extends KubeObject>(kind: ResourceKind<T>, ...rest: [never, never, never]) => {
      away();
      return base.patch(kind, ...rest);
    },
  };
  const made = (podUid: string): RunningSandbox => ({
    ...{ podUid, uid: 1, netns: 'ns', dir: '/nonexistent', init: { pid: 1, startTicks: 1 } },
  });
  const sandboxes: LaunchDeps['sandboxes'] = {
    find: async () => sandbox,
    create: async ({ podUid, onNamespace }) => {
      await reach('sandbox');
      sandbox = made(podUid);
      onNamespace?.(sandbox);
      return sandbox;
    },
    kill: async () => {
      if (sandbox) steps.push('kill');
      domain = undefined;
    },
    killGuest: async () => {
      steps.push('killGuest');
    },
    destroy: async () => {
      steps.push('destroy');
      sandbox = undefined;
    },
    shareProcessor: async () => {},
  };
  const network: Pick<PodNetwork, 'setUp' | 'tearDown'> = {
    setUp: async (_pod, _vmi, _sandbox: Sandbox) => {
      await reach('network');
      return { podIPs: ['10.244.0.2'], interfaces: [] };
    },
    tearDown: () => reach('tearDown'),
  };
  const volumes: Pick<VolumeManager, 'prepare' | 'prepareFiles' | 'release'> = {
    prepareFiles: async () => ({ shares: [] }),
    prepare: async () => {
      await reach('volumes');
      return [];
    },
    release: async () => {
      steps.push('release');
    },
  };
  const session = {
    find: async () => {
      await reach('find');
      if (domain === undefined) return undefined;
      if (domain === 'off') emit({ type: 'ended', phase: 'Succeeded', reason: 'while nobody watched' });
      return { isActive: domain === 'running', power: domain === 'running' ? power : undefined };
    },
    start: async () => {
      await reach('start');
      if (domain === 'running') throw new Error('domain is already running');
      domain = 'running';
    },
    openConsoles: () => steps.push('consoles'),
    powerDown: async () => {
      steps.push('powerDown');
    },
    destroy: async () => {
      steps.push('plug');
      domain = 'off';
      emit({ type: 'ended', phase: 'Failed', reason: 'it was forced off' });
    },
    close: () => steps.push('close'),
    libvirt: () => Promise.reject(new Error('nothing to ask')),
    domain: () => Promise.reject(new Error('nothing to ask')),
  };
  const { handlers, vmis } = fakeInformer();
  const host = {
    kvm: { state: 'absent', reason: 'no /dev/kvm' } as const,
    host: { machineTypes: ['q35', 'pc-q35-9.2'], videoModels: ['vga'], cpuModels: [], hostModel: '', hostVendor: '' },
    ...{ programs: {}, firmware: [], memoryBytes: 2 ** 33 },
  };
  const deps = {
    ...{ client, clock, network, volumes, sandboxes, vmis, random: () => 0, log: silentLogger, hostIP: '10.0.0.1' },
    config: { nodeName: NODE },
    facts: { ...host, host: { ...host.host, hostFeatures: [], libvirtVersion: '' } },
    freezes: new FreezeTimers(clock),
    startHelpers: async () => {
      steps.push('helpers');
    },
    clusterConfig: () => clusterConfig({}),
    consoleLogOf: () => '/nonexistent',
    events: {
      normal: (_object: unknown, reason: string, message: string) => events.push(`${reason}: ${message}`),
      warning: (_object: unknown, reason: string, message: string) => events.push(`Warning ${reason}: ${message}`),
    },
    openSession: (given: { onEvent: typeof emit; sandbox: RunningSandbox }) => {
      emit = given.onEvent;
      return { ...session, sandbox: given.sandbox } as unknown as GuestControl; // what a launch calls
    },
  };
  const runner = new LauncherRunner(deps as unknown as ConstructorParameters<typeof LauncherRunner>[0]); // fakes of its parts

  const created = await base.create(
    VirtualMachineInstanceKind,
    buildVmi('default/vm', {
      metadata: { finalizers: ['kubevirt.io/virtualMachineControllerFinalize'] },
      spec: { terminationGracePeriodSeconds: graceSeconds, domain: { devices: {}, memory: { guest: '64Mi' } }, ...probes },
      status: phase === 'Scheduling' ? { phase } : { phase, nodeName: NODE },
    }).object,
  );
  const { uid = '' } = created.metadata;
  const owner = { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', name: 'vm', uid, controller: true };
  const launcher = await base.create(
    PodKind,
    buildPod('default/launcher', {
      metadata: { ownerReferences: [owner] },
      spec: { nodeName: NODE, terminationGracePeriodSeconds: 30, ...(probes && { containers: [probed(probes)] }) },
      ...(wasReady !== undefined && { status: { phase: 'Running', containerStatuses: [containerStatus(wasReady)] } }),
    }).object,
  );
  if (standing) sandbox = made(launcher.metadata.uid ?? '');

  const vmi = (): Promise<VirtualMachineInstance> => base.get(VirtualMachineInstanceKind, VMI_KEY);
  const pod = (): Promise<Pod> => base.get(PodKind, POD_KEY);
  const tell = async (): Promise<void> => {
    const object = await vmi();
    for (const handler of handlers) handler({ type: 'modified', object } as never);
    await settled();
  };
  return {
    ...{ runner, clock, steps, events, faults, gates, vmi, pod, tell },
    emit: (event: GuestEvent) => emit(event),
    lose: () => (domain = 'off'),
    serverIsAway: (isAway: boolean) => (isServerAway = isAway),
    sync: async () => {
      await runner.sync(await pod(), signal);
      await settled();
    },
    /** As the VMI controller does when the pod is ready. */
    handOver: async () => {
      const object = await vmi();
      await base.update(VirtualMachineInstanceKind, {
        ...object,
        status: { ...object.status, phase: 'Scheduled', nodeName: NODE },
      });
      await tell();
    },
    deleteVmi: async () => {
      await base.delete(VirtualMachineInstanceKind, VMI_KEY);
      await tell();
    },
    /** As the VMI controller does when the guest has ended, or its user at any moment. */
    terminate: async (gracePeriodSeconds?: number) => {
      // without patience the object goes at once; what the agent has seen of it goes on
      const seen = launcher;
      isTerminating = true;
      await base.delete(PodKind, POD_KEY, gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }).catch(() => {});
      const metadata = { ...seen.metadata, deletionTimestamp: 'now', deletionGracePeriodSeconds: gracePeriodSeconds ?? 30 };
      await runner.terminate({ ...seen, metadata }, signal);
      isTerminating = false;
    },
    /** Whether the agent has removed the object: the last thing that it does. */
    isPodRemoved: () => cluster.requests.at(-1) === 'delete pods default/launcher' && !isTerminating,
  };
}

/** The container of a guest with probes. */
const probed = (probes: object): NonNullable<Pod['spec']>['containers'][number] => ({
  ...{ name: 'compute', image: 'slipway/virt-launcher', ...probes },
});

const containerStatus = (ready: boolean) => ({ name: 'compute', image: '', imageID: '', restartCount: 0, ready });

function fakeInformer() {
  const handlers: ((event: InformerEvent<VirtualMachineInstance>) => void)[] = [];
  const vmis = { addHandler: (handler: (typeof handlers)[number]) => handlers.push(handler), lister: { get: () => undefined } };
  return { handlers, vmis: vmis as unknown as Informer<VirtualMachineInstance> }; // what the runner calls
}

/** Lets everything happen that does not wait for time. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 40; turn++) await new Promise((resolve) => setImmediate(resolve));
}

const phaseOf = (object: { status?: { phase?: string } }): string | undefined => object.status?.phase;
const conditionOf = (vmi: VirtualMachineInstance, type: string) => vmi.status?.conditions?.find((one) => one.type === type);

describe('a launcher pod', () => {
  it('gets sandbox, network, volumes and then, when it is handed over, its guest', async () => {
    const { sync, handOver, steps, vmi, pod, events } = await world();
    await sync();
    expect(steps).toEqual(['sandbox', 'network', 'volumes', 'find']);
    expect((await pod()).status).toMatchObject({ phase: 'Running', podIP: '10.244.0.2', hostIP: '10.0.0.1' });
    await handOver();
    expect(steps.slice(4)).toEqual(['killGuest', 'helpers', 'start', 'consoles']);
    expect(phaseOf(await vmi())).toBe('Running');
    expect(events).toEqual(['Created: VirtualMachineInstance defined.', 'Started: VirtualMachineInstance started.']);
  });

  it.each([
    ['sandbox', 'make the sandbox'],
    ['network', 'make the sandbox'],
    ['volumes', 'prepare the volumes'],
    ['find', 'ask libvirt for the guest'],
    ['start', 'start the guest'],
  ] as const)('says why when %s fails, and goes on by itself', async (step, what) => {
    const { sync, handOver, faults, events, vmi, clock } = await world();
    // volumes are tried a first time in silence: a disk may still be being filled
    faults.push(step, ...(step === 'volumes' ? [step] : []));
    await sync();
    await handOver();
    const message = `Cannot ${what}: no ${step} today; ${step} must be repaired`;
    expect(events).toContain(`Warning SyncFailed: ${message}`);
    expect(conditionOf(await vmi(), 'Synchronized')).toMatchObject({ status: 'False', message });
    expect(phaseOf(await vmi())).not.toBe('Running');
    for (let turn = 0; turn < 3; turn++) {
      clock.advance(20_000);
      await settled();
    }
    expect(phaseOf(await vmi())).toBe('Running');
    expect(conditionOf(await vmi(), 'Synchronized')).toBeUndefined();
  });

  it('has a guest that is ready only when its probe says so, and keeps that over a restart of the agent', async () => {
    const readinessProbe = { tcpSocket: { port: 'nobody' } };
    const fresh = await world({ probes: { readinessProbe } });
    await fresh.sync();
    await fresh.handOver();
    expect(phaseOf(await fresh.vmi())).toBe('Running');
    expect(conditionOf(await fresh.vmi(), 'Ready')).toMatchObject({ status: 'False', reason: 'ContainersNotReady' });
    expect((await fresh.pod()).status?.containerStatuses).toMatchObject([{ ready: false, state: { running: {} } }]);
    const known = await world({ probes: { readinessProbe }, phase: 'Running', wasReady: true, standing: { domain: 'running' } });
    await known.sync();
    expect((await known.pod()).status).toMatchObject({ phase: 'Running', containerStatuses: [{ ready: true }] });
    for (let failures = 0; failures < 3; failures++) {
      known.clock.advance(10_000);
      await settled();
    }
    expect((await known.pod()).status?.containerStatuses).toMatchObject([{ ready: false }]);
  });

  it('ends a guest whose liveness probe fails, and says so', async () => {
    const livenessProbe = { tcpSocket: { port: 'nobody' } };
    const { sync, handOver, clock, vmi, pod, events } = await world({ probes: { livenessProbe } });
    await sync();
    await handOver();
    for (let failures = 0; failures < 3; failures++) {
      expect(phaseOf(await vmi())).toBe('Running');
      clock.advance(10_000);
      await settled();
    }
    // without a grace period that is a clean end, as upstream
    expect(phaseOf(await vmi())).toBe('Succeeded');
    expect(phaseOf(await pod())).toBe('Succeeded');
    expect(events).toContain('Killing: Container compute failed liveness probe');
    const why = 'no interface of the guest declares a port of this name';
    expect(events).toContain(`Warning Unhealthy: Liveness probe failed: ${why}`);
  });

  it('is handed over although the server was away when its pod ran', async () => {
    const { sync, serverIsAway, pod, clock } = await world();
    serverIsAway(true);
    await sync();
    expect(phaseOf(await pod())).toBe('Pending');
    serverIsAway(false);
    clock.advance(1_000);
    await settled();
    expect(phaseOf(await pod())).toBe('Running');
  });

  it('keeps the guest that it started while the server was away', async () => {
    const { sync, handOver, serverIsAway, vmi, steps, clock } = await world();
    await sync();
    serverIsAway(true);
    await handOver();
    expect(phaseOf(await vmi())).toBe('Scheduled');
    serverIsAway(false);
    clock.advance(1_000);
    await settled();
    expect(phaseOf(await vmi())).toBe('Running');
    expect(steps.filter((step) => step === 'start')).toHaveLength(1);
  });

  it('notices a hand-over of which no event came', async () => {
    const { sync, gates, handOver, vmi, clock } = await world();
    // the event comes while nobody listens yet
    gates.set('find', handOver);
    await sync();
    clock.advance(3_000);
    await settled();
    expect(phaseOf(await vmi())).toBe('Running');
  });
});

describe('the end of a guest', () => {
  it('is recorded once the server is back, and covers what was written before', async () => {
    const { sync, handOver, serverIsAway, emit, vmi, pod, clock, events } = await world();
    await sync();
    await handOver();
    serverIsAway(true);
    emit({ type: 'ended', phase: 'Failed', reason: 'QEMU ended unexpectedly' });
    await settled();
    expect(phaseOf(await vmi())).toBe('Running');
    serverIsAway(false);
    for (let turn = 0; turn < 3; turn++) {
      clock.advance(20_000);
      await settled();
    }
    expect([phaseOf(await vmi()), phaseOf(await pod())]).toEqual(['Failed', 'Failed']);
    expect(events).toContain('Warning Stopped: The VirtualMachineInstance crashed: QEMU ended unexpectedly.');
  });

  it('comes by the power button, then by force when the grace period is over', async () => {
    const { sync, handOver, deleteVmi, steps, vmi, clock } = await world({ graceSeconds: 12 });
    await sync();
    await handOver();
    await deleteVmi();
    expect(steps).not.toContain('plug');
    for (let turn = 0; turn < 3; turn++) {
      clock.advance(5_000);
      await settled();
    }
    expect(steps.slice(steps.indexOf('powerDown'))).toEqual(['powerDown', 'powerDown', 'powerDown', 'plug']);
    expect(phaseOf(await vmi())).toBe('Failed');
  });

  it('is clean when nobody asked for patience', async () => {
    const { sync, handOver, deleteVmi, steps, vmi } = await world({ graceSeconds: 0 });
    await sync();
    await handOver();
    await deleteVmi();
    expect(steps).not.toContain('powerDown');
    expect(phaseOf(await vmi())).toBe('Succeeded');
  });
});

describe('an agent that starts again', () => {
  it('adopts a guest that runs', async () => {
    const { sync, steps, vmi } = await world({ standing: { domain: 'running' }, phase: 'Running' });
    await sync();
    expect(steps).toEqual(['network', 'volumes', 'find', 'consoles', 'find']);
    expect(phaseOf(await vmi())).toBe('Running');
  });

  it('sees that the guest was paused meanwhile, or goes on', async () => {
    const paused = { type: 'paused', reason: 'PausedIOError' } as const;
    const away = await world({ standing: { domain: 'running', power: paused }, phase: 'Running' });
    await away.sync();
    const { status } = await away.vmi();
    expect(status?.conditions?.find(({ type }) => type === 'Paused')).toMatchObject({ status: 'True', reason: 'PausedIOError' });
  });

  it('finishes a start in which the earlier one was killed', async () => {
    const { sync, steps, vmi } = await world({ standing: { domain: 'running' }, phase: 'Scheduled' });
    await sync();
    expect(steps).not.toContain('start');
    expect(phaseOf(await vmi())).toBe('Running');
  });

  it('records the end that nobody saw', async () => {
    const { sync, steps, vmi, pod } = await world({ standing: { domain: 'off' }, phase: 'Running' });
    await sync();
    expect(steps).not.toContain('start');
    expect([phaseOf(await vmi()), phaseOf(await pod())]).toEqual(['Succeeded', 'Succeeded']);
  });

  it('does not start a guest again whose sandbox is gone', async () => {
    const { sync, steps, vmi, events } = await world({ phase: 'Running' });
    await sync();
    expect(steps).not.toContain('start');
    expect(phaseOf(await vmi())).toBe('Failed');
    expect(events).toEqual(['Warning Stopped: The VirtualMachineInstance crashed: its QEMU is gone.']);
  });

  it('gives a guest whose VMI is deleted while it is being adopted its grace period', async () => {
    const { sync, gates, deleteVmi, steps, vmi } = await world({ standing: { domain: 'running' }, phase: 'Running' });
    const goOn = oneShot();
    gates.set('find', () => goOn.promise);
    await sync();
    await deleteVmi();
    expect(phaseOf(await vmi())).toBe('Running');
    goOn.fire();
    await settled();
    expect(steps).toContain('plug');
    expect(phaseOf(await vmi())).toBe('Succeeded');
  });

  it('gives up a deleted guest that it cannot adopt', async () => {
    const { sync, deleteVmi, faults, vmi } = await world({ standing: { domain: 'running' }, phase: 'Running' });
    faults.push('find');
    await sync();
    await deleteVmi();
    expect(phaseOf(await vmi())).toBe('Failed');
  });

  it('gives a guest whose pod is being deleted its grace period', async () => {
    const { terminate, steps, vmi, isPodRemoved } = await world({ standing: { domain: 'running' }, phase: 'Running' });
    await terminate();
    expect(steps).toContain('plug');
    expect(phaseOf(await vmi())).toBe('Succeeded');
    expect(isPodRemoved()).toBe(true);
  });
});

describe('a deletion', () => {
  const cleanUp = ['tearDown', 'release', 'destroy'];

  it.each(['sandbox', 'network', 'volumes', 'find', 'start'] as const)(
    'of the VMI while %s is under way leaves nothing behind',
    async (step) => {
      const { sync, handOver, gates, deleteVmi, terminate, steps, vmi, isPodRemoved } = await world();
      const reached = oneShot();
      const goOn = oneShot();
      gates.set(step, () => {
        reached.fire();
        return goOn.promise;
      });
      await sync();
      await handOver();
      await reached.promise;
      await deleteVmi();
      goOn.fire();
      await settled();
      expect(phaseOf(await vmi())).toMatch(/Failed|Succeeded/);
      await terminate();
      expect(steps.slice(-3)).toEqual(cleanUp);
      expect(isPodRemoved()).toBe(true);
    },
  );

  it.each(['sandbox', 'network', 'volumes', 'find', 'start'] as const)(
    'of the pod while %s is under way leaves nothing behind',
    async (step) => {
      const { sync, handOver, gates, terminate, steps, isPodRemoved } = await world();
      const reached = oneShot();
      const goOn = oneShot();
      gates.set(step, () => {
        reached.fire();
        return goOn.promise;
      });
      await sync();
      await handOver();
      await reached.promise;
      const ending = terminate();
      await settled();
      goOn.fire();
      await ending;
      expect(steps.slice(-3)).toEqual(cleanUp);
      expect(isPodRemoved()).toBe(true);
    },
  );

  it('by force does not wait for the guest', async () => {
    const { sync, handOver, terminate, steps, isPodRemoved } = await world({ graceSeconds: 600 });
    await sync();
    await handOver();
    await terminate(0);
    expect(steps).not.toContain('powerDown');
    expect(steps.slice(-4)).toEqual(['kill', ...cleanUp]);
    expect(isPodRemoved()).toBe(true);
  });

  it('goes on after a step of the cleaning up has failed', async () => {
    const { sync, handOver, terminate, faults, steps, isPodRemoved } = await world();
    await sync();
    await handOver();
    faults.push('tearDown');
    await expect(terminate()).rejects.toThrow('tearDown must be repaired');
    expect(isPodRemoved()).toBe(false);
    // the dispatcher repeats it
    await terminate();
    expect(steps.slice(-3)).toEqual(cleanUp);
    expect(isPodRemoved()).toBe(true);
  });
});
