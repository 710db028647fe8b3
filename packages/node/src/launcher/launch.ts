import { isNotFound, keyOf, formatTime, StatusError } from '@slipway/apimachinery';
import { type Pod, PodKind, type VirtualMachineInstance, VmiPhase } from '@slipway/api';
import type { Client } from '@slipway/client';
import { backOffDelay, type EventRecorder, type Logger, sleep, type TimerClock } from '@slipway/runtime';
import { bootInstance, type DomainPlan, planDomain, renderDomain } from '@slipway/virt';
import type { NodeConfig, PodNetwork, PodNetworkStatus, PreparedVolume, Sandbox, VolumeManager } from '../contracts.ts';
import { DeviceSync } from '../hotplug/index.ts';
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts';
import type { RunningSandbox, SandboxManager } from '../sandbox/index.ts';
import { domainFacts } from './domain-facts.ts';
import type { FreezableGuest, FreezeTimers } from './freeze-timers.ts';
import { GuestAgent } from './guest-agent.ts';
import { type GuestEvent, GuestSession } from './guest-session.ts';
import { endedInstance, pausedInstance, reportedInstance, runningInstance, unsynchronizedInstance } from './instance-status.ts';
import { InstanceWriter } from './instance-writer.ts';
import { aborted, domainName, limitsOf, oneShot, requestedCpus } from './launch-parts.ts';
import type { ConfigSource, NodeFacts } from './node-facts.ts';
import { podStatus, type PodState } from './pod-status.ts';

export interface LaunchDeps {
  readonly client: Client;
  readonly config: NodeConfig;
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
  readonly events: EventRecorder;
  readonly network: PodNetwork;
  readonly volumes: VolumeManager;
  readonly sandboxes: SandboxManager;
  readonly facts: NodeFacts;
  readonly freezes: FreezeTimers;
  readonly clusterConfig: ConfigSource;
  readonly hostIP: string;
  readonly consoleLogOf: (podUid: string) => string;
}

const RETRY = { baseMs: 500, maxMs: 15_000, jitter: 0.2 };
const DEFAULT_GRACE_SECONDS = 30;
/** A guest that was still booting missed the power button: it is pressed again. */
const POWER_BUTTON_EVERY_MS = 5_000;
/** A start that takes longer than this looks for itself whether the VMI was handed over. */
const REREAD_MS = 3_000;
const SHUTDOWN_RETRY_MS = 500;
const AGENT_REFRESH_MS = 30_000;
const AGENT_RETRY_MS = 1_000;

/** One launcher pod from its sandbox to the end of its guest. */
export class Launch {
  readonly writer: InstanceWriter;
  session: GuestSession | undefined;
  private readonly deps: LaunchDeps;
  private readonly stopping = new AbortController();
  private readonly ended = oneShot();
  private changed = oneShot();
  private pod: Pod;
  private podIPs: readonly string[] = [];
  private isStarted = false;
  private isShuttingDown = false;
  private shutdownStartMs: number | undefined;
  private outcome: 'Succeeded' | 'Failed' | undefined;
  private agentConnected = false;
  private devices: DeviceSync | undefined;
  private running: Promise<void> = Promise.resolve();

  constructor(deps: LaunchDeps, pod: Pod, vmi: VirtualMachineInstance) {
    this.deps = deps;
    this.pod = pod;
    this.writer = new InstanceWriter(deps.client, vmi);
  }

  /** Resolves when the guest runs or will not. */
  get started(): Promise<void> {
    return this.running;
  }

  /** Addresses of the pod, once it has its network. */
  get addresses(): readonly string[] {
    return this.podIPs;
  }

  start(): void {
    this.running = this.run().catch((error: unknown) => {
      if (!this.stopping.signal.aborted) this.deps.log.error({ pod: this.podKey, error: String(error) }, 'launch failed');
    });
  }

  /** The pod or the VMI has changed. */
  notify(pod?: Pod): void {
    if (pod) {
      this.pod = pod;
      this.refreshReadiness();
    }
    const { changed } = this;
    this.changed = oneShot();
    changed.fire();
    this.devices?.notify();
    if (this.writer.gone || this.writer.current.metadata.deletionTimestamp !== undefined) this.beginShutdown();
  }

  /** Ends the guest within its grace period and resolves when it has ended. */
  async stop(immediately: boolean): Promise<void> {
    if (!this.isStarted || immediately) this.stopping.abort(new Error('The pod is being deleted'));
    else {
      this.beginShutdown();
      await this.ended.promise;
      this.stopping.abort(new Error('The guest has ended'));
    }
    await this.running;
    if (this.outcome === undefined) await this.finish('Failed', 'its pod was deleted');
    this.session?.close();
  }

  /** Leaves everything running: the agent itself is going down. */
  abandon(): void {
    this.stopping.abort(new Error('The agent is stopping'));
    this.session?.close();
  }

  /** The guest as something whose file systems can be frozen. */
  freezable(): FreezableGuest {
    const { signal } = this.stopping;
    const agent = async (act: (libvirt: LibvirtConnection, domain: DomainRef) => Promise<unknown>): Promise<unknown> => {
      const { session } = this;
      if (session === undefined) throw new Error('The guest has not started');
      return act(await session.libvirt(), await session.domain());
    };
    return {
      name: this.writer.current.metadata.uid ?? '',
      freeze: () => agent((libvirt, domain) => libvirt.freeze(domain)),
      thaw: () => agent((libvirt, domain) => libvirt.thaw(domain)),
      update: (change) => this.writer.update((vmi) => (this.hasEnded() ? vmi : change(vmi)), signal),
    };
  }

  private get podKey(): string {
    return `${this.pod.metadata.namespace}/${this.pod.metadata.name}`;
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    const vmi = this.writer.current;
    const { sandbox, network } = await this.retried('make the sandbox', () => this.openSandbox(vmi));
    this.podIPs = network.podIPs;
    const session = new GuestSession({
      sandbox,
      programs: this.deps.facts.programs,
      consoleLog: this.deps.consoleLogOf(sandbox.podUid),
      onEvent: (event) => this.onGuestEvent(event),
    });
    this.session = session;
    const prepared = this.earlyVolumes(sandbox);
    prepared.catch(() => {});
    const podRunning = this.writePod({ phase: 'Running' }, network);
    podRunning.catch(() => {});
    const name = domainName(vmi);
    const found = await session.find(name);
    if (found?.isActive !== true && !this.hasEnded()) {
      await this.untilScheduled();
      if (this.hasEnded()) return;
    }
    if (this.hasEnded()) return;
    await this.retried('start the guest', () => this.startGuest(session, network, prepared, found?.isActive ?? false));
    await podRunning;
    signal.throwIfAborted();
  }

  private hasEnded(): boolean {
    return this.outcome !== undefined;
  }

  /** The sandbox of this pod, found or made, with its network. */
  private async openSandbox(vmi: VirtualMachineInstance): Promise<{ sandbox: RunningSandbox; network: PodNetworkStatus }> {
    const { sandboxes, network } = this.deps;
    const { signal } = this.stopping;
    const podUid = this.pod.metadata.uid ?? '';
    const standing = await sandboxes.find(podUid);
    if (standing) {
      try {
        return { sandbox: standing, network: await network.setUp(this.pod, vmi, standing, signal) };
      } catch (error) {
        // an agent was killed while it made the network: nothing runs in it yet, so the next attempt begins anew
        if (!signal.aborted && this.writer.current.status?.phase !== VmiPhase.running) {
          await sandboxes.kill(podUid);
          await network.tearDown(podUid);
          await sandboxes.destroy(podUid);
        }
        throw error;
      }
    }
    let setUp: Promise<PodNetworkStatus> | undefined;
    const onNamespace = (sandbox: Sandbox): void => {
      setUp = network.setUp(this.pod, vmi, sandbox, signal);
      setUp.catch(() => {});
    };
    const hostname = this.pod.spec?.hostname ?? this.pod.metadata.name ?? 'guest';
    const guest = { namespace: vmi.metadata.namespace ?? '', name: vmi.metadata.name ?? '' };
    const sandbox = await sandboxes.create(
      { podUid, hostname, guest, limits: limitsOf(this.pod, this.deps.facts), onNamespace },
      signal,
    );
    return { sandbox, network: (await setUp) ?? { podIPs: [], interfaces: [] } };
  }

  private prepareVolumes(sandbox: Sandbox): Promise<readonly PreparedVolume[]> {
    return this.deps.volumes.prepare(this.writer.current, this.pod, sandbox, this.stopping.signal);
  }

  /** Tries at once; disks that are still being filled are tried again when the VMI is Scheduled, which is after that. */
  private async earlyVolumes(sandbox: Sandbox): Promise<readonly PreparedVolume[]> {
    try {
      return await this.prepareVolumes(sandbox);
    } catch {
      await this.untilScheduled();
      return this.retried('prepare the volumes', () => this.prepareVolumes(sandbox));
    }
  }

  private async untilScheduled(): Promise<void> {
    const { signal } = this.stopping;
    for (;;) {
      const { changed } = this;
      const { status } = this.writer.current;
      if (status?.phase === VmiPhase.scheduled && status.nodeName === this.deps.config.nodeName) return;
      if (status?.phase === VmiPhase.running || this.hasEnded()) return;
      const isDue = sleep(this.deps.clock, REREAD_MS, signal).then(() => true);
      const isLate = await Promise.race([changed.promise, this.ended.promise, isDue, aborted(signal)]);
      signal.throwIfAborted();
      // a hand-over that happened between two reads of the cache is no event of ours
      if (isLate === true) await this.writer.refresh(signal).catch(() => {});
    }
  }

  private async startGuest(
    session: GuestSession,
    network: PodNetworkStatus,
    prepared: Promise<readonly PreparedVolume[]>,
    isActive: boolean,
  ): Promise<void> {
    const { facts, clusterConfig, events } = this.deps;
    const vmi = this.writer.current;
    const volumes = await prepared;
    const plan = planDomain(bootInstance(vmi), domainFacts({ vmi, node: facts, config: clusterConfig(), network, volumes }));
    if (vmi.status?.phase === VmiPhase.running && !isActive) {
      await this.finish('Failed', 'its QEMU is gone');
      return;
    }
    if (vmi.metadata.deletionTimestamp !== undefined && !isActive) {
      await this.finish('Failed', 'it was deleted before it started');
      return;
    }
    if (!isActive) {
      await session.start(plan.name, renderDomain(plan), vmi.spec.startStrategy === 'Paused');
      events.normal(vmi, 'Created', 'VirtualMachineInstance defined.');
    }
    this.isStarted = true;
    await this.deps.sandboxes.shareProcessor(this.pod.metadata.uid ?? '', requestedCpus(this.pod));
    session.openConsoles();
    await this.writeRunning(plan, network);
    if (!isActive) events.normal(vmi, 'Started', 'VirtualMachineInstance started.');
    if (this.writer.current.metadata.deletionTimestamp !== undefined) this.beginShutdown();
    if (isActive) this.deps.freezes.adopt(this.freezable(), this.writer.current);
    this.pollAgent().catch(() => {});
    this.plugDevices(session, network);
  }

  /** Keeps what is plugged in and out of the running guest as the VMI asks. */
  private plugDevices(session: GuestSession, network: PodNetworkStatus): void {
    const { facts, clusterConfig } = this.deps;
    this.devices = new DeviceSync({
      ...this.deps,
      pod: () => this.pod,
      sandbox: session.sandbox,
      facts: (vmi) => domainFacts({ vmi, node: facts, config: clusterConfig(), network, volumes: [] }),
      instance: () => this.writer.current,
      update: (change, signal) => this.writer.update((vmi) => (this.hasEnded() ? vmi : change(vmi)), signal),
      libvirt: () => session.libvirt(),
      domain: () => session.domain(),
    });
    const ended = new AbortController();
    this.ended.promise.then(() => ended.abort(new Error('The guest has ended'))).catch(() => {});
    this.devices.run(AbortSignal.any([this.stopping.signal, ended.signal])).catch(() => {});
  }

  private async writeRunning(plan: DomainPlan, network: PodNetworkStatus): Promise<void> {
    const { facts, clock } = this.deps;
    await this.writer.update((vmi) => {
      if (vmi.status?.phase !== VmiPhase.scheduled) return vmi;
      const running = runningInstance(vmi, {
        ...{ plan, network, nowMs: clock.now(), kvmReason: facts.kvm.reason },
        machineType: facts.host.machineAliases?.[plan.machine] ?? plan.machine,
        missingLimits: this.session?.sandbox.missingLimits ?? [],
      });
      return vmi.spec.startStrategy === 'Paused' ? pausedInstance(running, 'PausedByUser', clock.now()) : running;
    }, this.stopping.signal);
  }

  private onGuestEvent(event: GuestEvent): void {
    const { log } = this.deps;
    const report = (error: unknown): void => {
      if (!this.stopping.signal.aborted) log.warn({ pod: this.podKey, error: String(error) }, 'guest event not recorded');
    };
    switch (event.type) {
      case 'ended':
        this.finish(event.phase, event.reason).catch(report);
        break;
      case 'agent':
        this.agentConnected = event.connected;
        this.pollAgent().catch(report);
        break;
      case 'device':
        this.devices?.observe(event.event);
        break;
      case 'paused':
        if (this.isStarted) this.writePaused(event.reason).catch(report);
        break;
      case 'resumed':
        if (this.isStarted) this.writePaused(undefined).catch(report);
        break;
      default:
    }
  }

  private async writePaused(reason: string | undefined): Promise<void> {
    const { clock } = this.deps;
    await this.writer.update((vmi) => {
      if (vmi.status?.phase !== VmiPhase.running || this.outcome !== undefined) return vmi;
      return pausedInstance(vmi, reason, clock.now());
    }, this.stopping.signal);
  }

  private polling = false;

  /** Writes what the guest agent says when it is new; again and again while it is connected. */
  private async pollAgent(): Promise<void> {
    const { session } = this;
    const { clock } = this.deps;
    const { signal } = this.stopping;
    if (this.polling || session === undefined || !this.isStarted) return;
    this.polling = true;
    try {
      for (; !signal.aborted && !this.hasEnded(); ) {
        const report = await new GuestAgent(await session.libvirt(), await session.domain()).report().catch(() => undefined);
        if (report) this.agentConnected = true;
        if (report || !this.agentConnected)
          await this.writer.update((vmi) => {
            if (vmi.status?.phase !== VmiPhase.running || this.hasEnded()) return vmi;
            return reportedInstance(vmi, report, clock.now());
          }, signal);
        if (!this.agentConnected) return;
        await sleep(clock, report ? AGENT_REFRESH_MS : AGENT_RETRY_MS, signal);
      }
    } finally {
      this.polling = false;
    }
  }

  private beginShutdown(): void {
    if (this.isShuttingDown || !this.isStarted || this.hasEnded()) {
      if (!this.isStarted && !this.hasEnded() && this.writer.current.metadata.deletionTimestamp !== undefined)
        this.finish('Failed', 'it was deleted before it started').catch(() => {});
      return;
    }
    this.isShuttingDown = true;
    const again = async (error: unknown): Promise<void> => {
      this.isShuttingDown = false;
      this.deps.log.warn({ pod: this.podKey, error: String(error) }, 'guest not shut down');
      await sleep(this.deps.clock, SHUTDOWN_RETRY_MS, this.stopping.signal);
      this.beginShutdown(); // its libvirt may have been killed just then
    };
    this.shutDown()
      .catch(again)
      .catch(() => {});
  }

  /** Presses the power button until the guest is off or the grace period is over, then pulls the plug. */
  private async shutDown(): Promise<void> {
    const { session } = this;
    const { clock, events } = this.deps;
    const vmi = this.writer.current;
    if (session === undefined) return;
    const isFirst = this.shutdownStartMs === undefined;
    const startMs = (this.shutdownStartMs ??= clock.now());
    // read again and again: a forced stop makes the period shorter while it runs
    const graceMs = (): number => (this.writer.current.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000;
    const leftMs = (): number => startMs + graceMs() - clock.now();
    if (graceMs() > 0 && isFirst) events.normal(vmi, 'ShuttingDown', 'Signaled Graceful Shutdown');
    while (!this.hasEnded() && leftMs() > 0) {
      await session.powerDown().catch(() => {}); // a guest that is just ending refuses
      await this.untilLater(Math.min(POWER_BUTTON_EVERY_MS, leftMs()), graceMs);
    }
    if (this.hasEnded()) return;
    this.isDestroyClean = graceMs() === 0;
    await session.destroy();
    await this.ended.promise;
  }

  /** Waits for the time, the end of the guest, or another grace period. */
  private async untilLater(waitMs: number, graceMs: () => number): Promise<void> {
    const before = graceMs();
    const waited = sleep(this.deps.clock, waitMs, this.stopping.signal).then(() => true);
    const ended = this.ended.promise.then(() => true);
    for (let isOver = false; !isOver && graceMs() === before; )
      isOver = await Promise.race([waited, ended, this.changed.promise.then(() => false)]);
  }

  /** Without a grace period being switched off is a clean end. */
  private isDestroyClean = false;

  private async finish(phase: 'Succeeded' | 'Failed', reason: string): Promise<void> {
    if (this.outcome !== undefined) return;
    const final = this.isDestroyClean ? 'Succeeded' : phase;
    this.outcome = final;
    const { clock, events, log } = this.deps;
    const vmi = this.writer.current;
    const isFinal = (now: VirtualMachineInstance): boolean => now.status?.phase === 'Succeeded' || now.status?.phase === 'Failed';
    // until it is handed over, the VMI belongs to its controller
    const isOurs = (now: VirtualMachineInstance): boolean => now.status?.nodeName === this.deps.config.nodeName;
    log.info({ vmi: `${vmi.metadata.namespace}/${vmi.metadata.name}`, phase: final, reason }, 'guest ended');
    const forever = new AbortController().signal;
    try {
      await this.untilWritten(() =>
        this.writer.update((now) => (isFinal(now) || !isOurs(now) ? now : endedInstance(now, final, clock.now())), forever),
      );
      const hasRun = this.isStarted || vmi.status?.phase === VmiPhase.running; // the latter: it ended while no agent watched
      if (hasRun && final === 'Succeeded') events.normal(vmi, 'Stopped', 'The VirtualMachineInstance was shut down.');
      else if (hasRun) events.warning(vmi, 'Stopped', `The VirtualMachineInstance crashed: ${reason}.`);
      const message = final === 'Failed' ? { message: `The guest ended: ${reason}` } : {};
      await this.untilWritten(() => this.writePod({ phase: final, ...message }));
    } finally {
      this.ended.fire();
    }
  }

  /** A guest ends once: what is said of it must not be lost because the server is away just then. */
  private async untilWritten(write: () => Promise<void>): Promise<void> {
    const { clock, random } = this.deps;
    for (let failures = 1; ; failures++) {
      try {
        await write();
        return;
      } catch (error) {
        if (error instanceof StatusError && error.code < 500 && error.code !== 429) throw error;
        await sleep(clock, backOffDelay(failures, RETRY, random), new AbortController().signal);
      }
    }
  }

  private refreshReadiness(): void {
    if (this.podIPs.length === 0 || this.outcome !== undefined) return;
    const wanted = this.statusOf({ phase: 'Running' }).conditions?.find(({ type }) => type === 'Ready')?.status;
    const has = this.pod.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
    if (has !== undefined && wanted !== has) this.writePod({ phase: 'Running' }).catch(() => {});
  }

  private statusOf(state: Pick<PodState, 'phase' | 'message'>): NonNullable<Pod['status']> {
    const { clock, hostIP } = this.deps;
    return podStatus(this.pod, { ...state, podIPs: this.podIPs, hostIP, now: formatTime(clock.now()) });
  }

  private async writePod(state: Pick<PodState, 'phase' | 'message'>, network?: PodNetworkStatus): Promise<void> {
    const { client } = this.deps;
    const key = keyOf(this.pod);
    try {
      // a status write of a pod takes annotations too
      const metadata = { uid: this.pod.metadata.uid, ...(network?.annotations && { annotations: network.annotations }) };
      const patch = { metadata, status: this.statusOf(state) };
      await client.patch(PodKind, key, patch, { type: 'strategic', subresource: 'status' });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** Repeats a step with growing delays until it works or the pod is deleted; the VMI says meanwhile what is wrong. */
  private async retried<T>(what: string, step: () => Promise<T>): Promise<T> {
    const { clock, random, log, events } = this.deps;
    const { signal } = this.stopping;
    for (let failures = 1; ; failures++) {
      try {
        return await step();
      } catch (error) {
        signal.throwIfAborted();
        if (this.hasEnded()) throw error;
        const message = `Cannot ${what}: ${error instanceof Error ? error.message : String(error)}`;
        log.warn({ pod: this.podKey, failures, error: message }, 'launch step failed');
        events.warning(this.writer.current, 'SyncFailed', message);
        await this.writer.update((vmi) => unsynchronizedInstance(vmi, message, clock.now()), signal).catch(() => {});
        await Promise.race([sleep(clock, backOffDelay(failures, RETRY, random), signal), this.ended.promise]);
      }
    }
  }
}
