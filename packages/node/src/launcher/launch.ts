import { GuestTrouble, Label, type Pod, type VirtualMachineInstance, VmiCondition, VmiPhase } from '@slipway/api';
import { bootInstance, type DomainPlan, planDomain, renderDomain } from '@slipway/virt';
import type { PodNetworkStatus, PreparedFiles, PreparedVolume, Sandbox } from '../contracts.ts';
import type { DeviceSync } from '../hotplug/index.ts';
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts';
import { dumpMemory } from '../memory-dump/index.ts';
import { finishResume, type ResumeDeps, resumeGuest, saveMemory } from '../suspend/index.ts';
import { AgentReporter } from './agent-reporter.ts';
import { domainFacts } from './domain-facts.ts';
import type { FreezableGuest } from './freeze-timers.ts';
import type { GuestEvent } from './guest-event.ts';
import { GuestSession } from './guest-session.ts';
import { plugDevices } from './guest-devices.ts';
import { tellMetrics } from './guest-metrics.ts';
import { GuestMoves, isAwaited } from './guest-moves.ts';
import { probeGuest } from './guest-probing.ts';
import { GuestShutdown } from './guest-shutdown.ts';
import { untilHandedOver } from './hand-over.ts';
import { endedInstance, pausedInstance, runningInstance, withCondition, withMigratability } from './instance-status.ts';
import { InstanceWriter } from './instance-writer.ts';
import { domainName, oneShot, requestedCpus } from './launch-parts.ts';
import { retried, untilWritten } from './launch-retry.ts';
import type { GuestControl, LaunchDeps, LaunchView } from './launch-view.ts';
import { LauncherPod } from './launcher-pod.ts';
import { openSandbox } from './open-sandbox.ts';

/** What hangs on a guest once its sandbox stands. */
interface Guest {
  readonly session: GuestControl;
  readonly shutdown: GuestShutdown;
  readonly agent: AgentReporter;
}

/** EFI boots signed loaders alone unless the spec says otherwise. */
function isSecureBoot({ spec }: VirtualMachineInstance): boolean {
  const efi = spec.domain.firmware?.bootloader?.efi;
  return efi !== undefined && efi.secureBoot !== false;
}

const isTarget = ({ metadata }: Pod): boolean => metadata.labels?.[Label.migrationJobUid] !== undefined;

const isReady = ({ status }: VirtualMachineInstance): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === VmiCondition.ready && is === 'True') === true;

/** Why a guest that does not run is not started. */
function obstacleOf({ status, metadata }: VirtualMachineInstance): string | undefined {
  if (status?.phase === VmiPhase.running) return 'its QEMU is gone';
  return metadata.deletionTimestamp === undefined ? undefined : 'it was deleted before it started';
}

/** What was prepared for a guest before it starts. */
interface Prepared {
  readonly volumes: readonly PreparedVolume[];
  readonly files: PreparedFiles;
}

/** One launcher pod from its sandbox to the end of its guest. */
export class Launch {
  readonly writer: InstanceWriter;
  private readonly deps: LaunchDeps;
  private readonly pod: LauncherPod;
  private readonly view: LaunchView;
  private readonly stopping = new AbortController();
  private readonly ended = oneShot();
  private changed = oneShot();
  private guest: Guest | undefined;
  private devices: DeviceSync | undefined;
  private moves: GuestMoves | undefined;
  private isStarted = false;
  private isTroubled = false;
  /** Why the guest is being ended, when nobody asked for its end. */
  private endReason: string | undefined;
  private outcome: 'Succeeded' | 'Failed' | undefined;
  private running: Promise<void> = Promise.resolve();

  constructor(deps: LaunchDeps, pod: Pod, vmi: VirtualMachineInstance) {
    this.deps = deps;
    this.pod = new LauncherPod(deps, pod, isTarget(pod) && isReady(vmi));
    this.writer = new InstanceWriter(deps.client, vmi);
    this.view = {
      ...{ deps, pod: this.pod, writer: this.writer, signal: this.stopping.signal, ended: this.ended.promise },
      hasEnded: () => this.outcome !== undefined,
      changed: () => this.changed.promise,
      troubled: () => {
        this.isTroubled = true;
        if (this.isDeleting) this.beginShutdown();
      },
    };
  }

  /** The guest runs on another node. */
  get hasLeft(): boolean {
    return this.moves?.isGiven === true;
  }

  /** Resolves when the guest runs or will not. */
  get started(): Promise<void> {
    return this.running;
  }

  /** The connection to the guest, once its sandbox stands. */
  get session(): GuestControl | undefined {
    return this.guest?.session;
  }

  /** Addresses of the pod, once it has its network. */
  get addresses(): readonly string[] {
    return this.pod.addresses;
  }

  start(): void {
    this.running = this.run().catch((error: unknown) => {
      if (!this.stopping.signal.aborted) this.deps.log.error({ pod: this.pod.key, error: String(error) }, 'launch failed');
    });
  }

  /** The pod or the VMI has changed. */
  notify(pod?: Pod): void {
    if (pod) {
      this.pod.observe(pod);
      untilWritten(this.deps, () => this.pod.refreshReadiness(), this.stopping.signal).catch(() => {});
    }
    const { changed } = this;
    this.changed = oneShot();
    changed.fire();
    this.devices?.notify();
    if (this.isStarted && !this.view.hasEnded()) this.refreshMigratability();
    if (this.isStarted && !this.view.hasEnded()) this.moves?.notice(() => this.endMoved());
    if (this.writer.gone || this.isDeleting) this.beginShutdown();
  }

  /** Disks and cards come and go. */
  private refreshMigratability(): void {
    const { clusterConfig, clock, config } = this.deps;
    const change = (vmi: VirtualMachineInstance): VirtualMachineInstance =>
      vmi.status?.nodeName === config.nodeName ? withMigratability(vmi, clusterConfig(), clock.now()) : vmi;
    this.writer.update(change, this.stopping.signal).catch(() => {}); // the next change of the VMI tries again
  }

  /** The watch has lost the VMI: it is gone, or not this node's any more. */
  doubt(): void {
    const look = (): Promise<void> => this.writer.refresh(this.stopping.signal);
    untilWritten(this.deps, look, this.stopping.signal)
      .then(() => this.notify())
      .catch(() => {});
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
    const session = (): GuestControl => {
      if (this.session === undefined) throw new Error('The guest has not started');
      return this.session;
    };
    return {
      name: this.writer.current.metadata.uid ?? '',
      freeze: async () => (await session().libvirt()).freeze(await session().domain()),
      thaw: async () => (await session().libvirt()).thaw(await session().domain()),
      update: (change) => this.writer.update((vmi) => (this.view.hasEnded() ? vmi : change(vmi)), this.stopping.signal),
    };
  }

  /** Writes the guest's memory over the content of a claim. */
  async dumpMemory(libvirt: LibvirtConnection, domain: DomainRef, claimName: string): Promise<void> {
    const { session, pod, deps } = this;
    if (session === undefined) throw new Error('The guest has not started');
    const dump = { volumes: deps.volumes, pod: pod.current, sandbox: session.sandbox, libvirt, domain };
    await dumpMemory(dump, this.writer.current, claimName, this.stopping.signal);
  }

  /** Writes the guest's memory into a claim and switches the guest off. */
  async saveMemory(libvirt: LibvirtConnection, domain: DomainRef, claimName: string): Promise<void> {
    const { session, pod, deps } = this;
    if (session === undefined) throw new Error('The guest has not started');
    const save = { volumes: deps.volumes, pod: pod.current, sandbox: session.sandbox, libvirt, domain };
    await saveMemory(save, this.writer.current, claimName, this.stopping.signal);
  }

  private get isDeleting(): boolean {
    return this.writer.current.metadata.deletionTimestamp !== undefined;
  }

  private async run(): Promise<void> {
    const { view } = this;
    const { sandbox, network } = await retried(view, 'make the sandbox', () => openSandbox(view));
    const open = this.deps.openSession ?? ((deps) => new GuestSession(deps));
    const session = open({
      sandbox,
      programs: this.deps.facts.programs,
      consoleLog: this.deps.consoleLogOf(sandbox.podUid),
      clock: this.deps.clock,
      onEvent: (event) => this.onSessionEvent(event),
      hasSecureBoot: isSecureBoot(this.writer.current),
    });
    this.guest = { session, shutdown: new GuestShutdown(view, session), agent: new AgentReporter(view, session) };
    const { migrations } = this.deps;
    this.moves = migrations && new GuestMoves(view, migrations, session);
    const isComing = isAwaited(view);
    if (!isComing && (await this.moves?.finishLeaving())) return this.endMoved();
    const prepared = isComing ? this.receive(network, sandbox) : this.earlyVolumes(sandbox);
    prepared.catch(() => {});
    const podRunning = untilWritten(this.deps, () => this.pod.writeRunning(network), view.signal);
    podRunning.catch(() => {});
    if (isComing) await prepared;
    if (this.view.hasEnded()) return;
    const name = domainName(this.writer.current);
    const find = async (): Promise<boolean> => (await session.find(name))?.isActive ?? false;
    let isActive: boolean | undefined = await retried(view, 'ask libvirt for the guest', find);
    if (!isActive && !view.hasEnded()) await untilHandedOver(view);
    await retried(view, 'start the guest', async () => {
      isActive ??= await find();
      const parts = { network, prepared, isActive };
      isActive = undefined; // an attempt that fails may have started the guest all the same
      if (!view.hasEnded()) await this.startGuest(session, parts);
    });
    await podRunning;
    view.signal.throwIfAborted();
  }

  /** Waits for the guest that comes from another node, with its disks. */
  private async receive(network: PodNetworkStatus, sandbox: Sandbox): Promise<Prepared> {
    const received = await (this.moves ? this.moves.receive(network) : 'this node is alone');
    if (received === undefined) return this.earlyVolumes(sandbox);
    if (typeof received !== 'string') return received;
    await this.endQuietly('Failed', `The guest did not come: ${received}`);
    return { volumes: [], files: { shares: [] } };
  }

  private endMoved(): void {
    this.endQuietly('Succeeded')
      .then(() => this.session?.close())
      .catch(() => {});
  }

  /** Nothing has become of the guest: it is on another node. */
  private async endQuietly(phase: 'Succeeded' | 'Failed', message?: string): Promise<void> {
    if (this.outcome !== undefined) return;
    this.outcome = phase;
    await untilWritten(this.deps, () => this.pod.writeEnded(phase, message), this.stopping.signal).finally(() =>
      this.ended.fire(),
    );
  }

  private async prepareVolumes(sandbox: Sandbox): Promise<Prepared> {
    const { volumes } = this.deps;
    const args = [this.writer.current, this.pod.current, sandbox, this.stopping.signal] as const;
    return { volumes: await volumes.prepare(...args), files: await volumes.prepareFiles(...args) };
  }

  /** Tries at once; disks that are still being filled are tried again when the VMI is Scheduled, which is after that. */
  private async earlyVolumes(sandbox: Sandbox): Promise<Prepared> {
    try {
      return await this.prepareVolumes(sandbox);
    } catch {
      await untilHandedOver(this.view);
      return retried(this.view, 'prepare the volumes', () => this.prepareVolumes(sandbox));
    }
  }

  private async startGuest(
    session: GuestControl,
    parts: {
      readonly network: PodNetworkStatus;
      readonly prepared: Promise<Prepared>;
      readonly isActive: boolean;
    },
  ): Promise<void> {
    const { facts, clusterConfig, events } = this.deps;
    const { network, isActive } = parts;
    const vmi = this.writer.current;
    const prepared = await parts.prepared;
    const env = (await this.deps.devices?.allocate(this.pod.current))?.env ?? {};
    const inputs = { vmi, node: facts, config: clusterConfig(), network, env, ...prepared };
    const plan = planDomain(bootInstance(vmi), domainFacts(inputs));
    const obstacle = isActive ? undefined : obstacleOf(vmi);
    if (obstacle !== undefined) return this.finish('Failed', obstacle);
    if (!isActive) {
      await this.deps.sandboxes.killGuest(this.pod.uid);
      await this.deps.startHelpers(session.sandbox, prepared.files, this.stopping.signal);
      const resume = { name: plan.name, network, prepared: prepared.volumes };
      if (!(await resumeGuest(this.resumeDeps(session), vmi, resume, this.stopping.signal)))
        await session.start(plan.name, renderDomain(plan), vmi.spec.startStrategy === 'Paused');
      events.normal(vmi, 'Created', 'VirtualMachineInstance defined.');
    } else if (vmi.status?.phase !== VmiPhase.running) await finishResume(this.resumeDeps(session), vmi, this.stopping.signal);
    this.isStarted = true;
    await this.deps.sandboxes.shareProcessor(this.pod.uid, requestedCpus(this.pod.current));
    session.openConsoles();
    await this.writeRunning(plan, network);
    if (!isActive) events.normal(vmi, 'Started', 'VirtualMachineInstance started.');
    if (this.isDeleting) this.beginShutdown();
    if (isActive) await this.adoptState(session, plan.name);
    this.guest?.agent.poll().catch(() => {});
    this.devices = plugDevices(this.view, session, network);
    tellMetrics(this.view, session, prepared.volumes);
    probeGuest(this.view, session, (reason) => {
      this.endReason = reason;
      this.beginShutdown();
    });
  }

  private resumeDeps(session: GuestControl): ResumeDeps {
    const { volumes, events, clock } = this.deps;
    return { session, volumes, events, pod: this.pod.current, sandbox: session.sandbox, nowMs: clock.now() };
  }

  /** What became of a guest that runs already while no agent watched. */
  private async adoptState(session: GuestControl, name: string): Promise<void> {
    const power = (await session.find(name))?.power;
    if (power) await this.writePaused(power.type === 'paused' ? power.reason : undefined);
    this.deps.freezes.adopt(this.freezable(), this.writer.current);
  }

  private async writeRunning(plan: DomainPlan, network: PodNetworkStatus): Promise<void> {
    const { facts, clock, clusterConfig } = this.deps;
    await this.writer.update((vmi) => {
      if (vmi.status?.phase !== VmiPhase.scheduled) return vmi;
      const running = runningInstance(vmi, {
        ...{ plan, network, nowMs: clock.now(), kvmReason: facts.kvm.reason, isProbedReady: this.pod.isReady },
        config: clusterConfig(),
        machineType: facts.host.machineAliases?.[plan.machine] ?? plan.machine,
        missingLimits: this.session?.sandbox.missingLimits ?? [],
      });
      return vmi.spec.startStrategy === 'Paused' ? pausedInstance(running, 'PausedByUser', clock.now()) : running;
    }, this.stopping.signal);
  }

  private onSessionEvent(event: GuestEvent): void {
    if (!this.moves?.holds(event, (again) => this.onGuestEvent(again))) this.onGuestEvent(event);
  }

  private onGuestEvent(event: GuestEvent): void {
    const report = (error: unknown): void => {
      if (this.stopping.signal.aborted) return;
      this.deps.log.warn({ pod: this.pod.key, error: String(error) }, 'guest event not recorded');
    };
    switch (event.type) {
      case 'ended':
        this.finish(event.phase, event.reason, event.statusReason).catch(report);
        break;
      case 'agent':
        this.guest?.agent.notice(event.connected);
        if (this.isStarted) this.guest?.agent.poll().catch(report);
        break;
      case 'device':
        this.devices?.observe(event.event);
        break;
      case 'trouble':
        this.deps.events.warning(this.writer.current, event.reason, event.message);
        if (event.reason === GuestTrouble.bootRefused) this.writeRefused(event.message).catch(report);
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

  private async writeRefused(message: string): Promise<void> {
    const text = { type: GuestTrouble.bootRefused, status: 'True', reason: 'LoaderNotTrusted', message } as const;
    const change = (vmi: VirtualMachineInstance): VirtualMachineInstance => {
      if (vmi.status?.phase !== VmiPhase.running || this.view.hasEnded()) return vmi;
      const conditions = withCondition(vmi.status.conditions, text, this.deps.clock.now());
      return { ...vmi, status: { ...vmi.status, conditions } };
    };
    await this.started; // the firmware may be faster than the phase
    await untilWritten(this.deps, () => this.writer.update(change, this.stopping.signal), this.stopping.signal);
  }

  private async writePaused(reason: string | undefined): Promise<void> {
    const { signal } = this.stopping;
    const change = (vmi: VirtualMachineInstance): VirtualMachineInstance => {
      if (vmi.status?.phase !== VmiPhase.running || this.view.hasEnded()) return vmi;
      return pausedInstance(vmi, reason, this.deps.clock.now());
    };
    await untilWritten(this.deps, () => this.writer.update(change, signal), signal);
  }

  private beginShutdown(): void {
    if (this.view.hasEnded() || this.hasLeft) return;
    if (this.isStarted) this.guest?.shutdown.begin();
    else if (this.isDeleting && !this.mayBeAdopted) this.finish('Failed', 'it was deleted before it started').catch(() => {});
  }

  /** An earlier agent has started the guest, and nothing has failed on the way to it: it is shut down when it is found. */
  private get mayBeAdopted(): boolean {
    return this.writer.current.status?.phase === VmiPhase.running && !this.isTroubled;
  }

  private async finish(phase: 'Succeeded' | 'Failed', reason: string, statusReason?: string): Promise<void> {
    if (this.outcome !== undefined) return;
    const final = this.guest?.shutdown.isClean === true ? 'Succeeded' : phase;
    this.outcome = final;
    const why = this.endReason ?? reason;
    const { deps, writer } = this;
    const vmi = writer.current;
    const isFinal = (now: VirtualMachineInstance): boolean => now.status?.phase === 'Succeeded' || now.status?.phase === 'Failed';
    // until it is handed over, the VMI belongs to its controller
    const isOurs = (now: VirtualMachineInstance): boolean => now.status?.nodeName === deps.config.nodeName;
    deps.log.info({ vmi: `${vmi.metadata.namespace}/${vmi.metadata.name}`, phase: final, reason: why }, 'guest ended');
    const forever = new AbortController().signal;
    try {
      // a guest ends once: what is said of it must not be lost
      const end = (now: VirtualMachineInstance): VirtualMachineInstance =>
        isFinal(now) || !isOurs(now) ? now : endedInstance(now, final, deps.clock.now(), statusReason);
      await untilWritten(deps, () => writer.update(end, forever), forever);
      const hasRun = isOurs(vmi) && (this.isStarted || vmi.status?.phase === VmiPhase.running); // the latter: it ended while no agent watched
      if (hasRun && final === 'Succeeded') deps.events.normal(vmi, 'Stopped', 'The VirtualMachineInstance was shut down.');
      else if (hasRun) deps.events.warning(vmi, 'Stopped', `The VirtualMachineInstance crashed: ${why}.`);
      const message = final === 'Failed' ? `The guest ended: ${why}` : undefined;
      await untilWritten(deps, () => this.pod.writeEnded(final, message), forever);
    } finally {
      this.ended.fire();
    }
  }
}
