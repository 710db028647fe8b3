import { VmiCondition, type kubevirt } from '@slipway/api';
import { formatTime } from '@slipway/apimachinery';
import { sleep } from '@slipway/runtime';
import { bytesOf } from '@slipway/virt';
import type { OfferedDisk } from '../contracts.ts';
import { DOMAIN_STATE, type DomainRef, LibvirtError, PAUSED_REASON } from '../libvirt/index.ts';
import { PeerChannel, type PeerMessage } from '../peer-link/index.ts';
import { adaptDomain, diskTargets } from '../suspend/index.ts';
import { findDomain, type MigrationDeps, type MovableGuest } from './contracts.ts';
import { Decision } from './decision.ts';
import { MigrationJob } from './migration-job.ts';
import type { MovedTo } from './migration-record.ts';
import { openSourceSockets, socketInside } from './migration-sockets.ts';
import { failedMigration, publishedPort, roleOf, withMigrationState } from './migration-state.ts';
import { offerMessage, type Places, readPlaces } from './messages.ts';
import { moveTrace } from './move-trace.ts';
import { downtimeSteps } from './watch-job.ts';
import { untilChanged } from './until-changed.ts';

const MIB = 1024 ** 2;
const DIAL_PATIENCE_MS = 30_000;
const REDIAL_MS = 500;
const REASSURE_MS = 5_000;
/** Files of large disks are made before the target answers. */
const PLACES_TIMEOUT_MS = 120_000;

class Aborted extends Error {}

/** The source's side of one migration, from the hand-off to the decision and what follows from it. */
export class OutgoingMigration {
  readonly decision: Decision;
  private readonly deps: MigrationDeps;
  private readonly guest: MovableGuest;
  private readonly migration: string;
  private channel: PeerChannel | undefined;
  private onPlaces: ((message: PeerMessage) => void) | undefined;
  private disks: readonly OfferedDisk[] = [];
  /** The domain, from when its job begins. */
  private performing: DomainRef | undefined;
  private job: MigrationJob | undefined;
  private readonly trace;

  constructor(deps: MigrationDeps, guest: MovableGuest, migration: string) {
    this.deps = deps;
    this.guest = guest;
    this.migration = migration;
    this.trace = moveTrace(guest.clock);
    this.decision = new Decision({ deps, guest, migration, trace: this.trace });
  }

  /** Resolves when the guest runs elsewhere, or goes on here. */
  async run(signal: AbortSignal): Promise<'given' | 'kept'> {
    const { decision, trace, guest } = this;
    trace.note('asked for');
    try {
      if (await decision.recall()) decision.give();
      else if (this.state?.startTimestamp !== undefined)
        await decision.settle('The agent of the source node was started again', false);
      else await this.move(signal);
    } catch (error) {
      signal.throwIfAborted();
      await decision.settle(error instanceof Error ? error.message : String(error), error instanceof Aborted);
    }
    const verdict = await decision.made;
    if (verdict === 'given') await this.leave(signal);
    else await this.goOn(signal);
    this.channel?.close();
    guest.log.info({ migration: this.migration, verdict, ...trace.times() }, 'migration from here is over');
    return verdict;
  }

  /** The guest stands still because of the migration, and not because somebody wanted that. */
  get hasPaused(): boolean {
    return this.job?.hasPaused === true;
  }

  private get state(): kubevirt.VirtualMachineInstanceMigrationState | undefined {
    return roleOf(this.guest.vmi(), this.guest.pod().metadata.name ?? '', this.guest.nodeName)?.state;
  }

  /** Why the job must not go on; undefined when it may. */
  private get abortReason(): string | undefined {
    const vmi = this.guest.vmi();
    if (this.guest.isGone() || vmi.metadata.deletionTimestamp !== undefined) return 'The instance is being deleted';
    if (this.guest.pod().metadata.deletionTimestamp !== undefined) return 'The pod of the source is being deleted';
    if (this.state === undefined) return 'The migration was given up';
    return this.state.abortRequested ? 'Live migration has been aborted' : undefined;
  }

  private throwIfAborted(): void {
    const reason = this.abortReason;
    if (reason !== undefined) throw new Aborted(reason);
  }

  private async move(signal: AbortSignal): Promise<void> {
    const { guest, deps, migration, trace } = this;
    await untilChanged(guest, () => this.abortReason !== undefined || publishedPort(this.state ?? {}) !== undefined, signal);
    this.throwIfAborted();
    trace.note('target listens');
    this.disks = await deps.volumes.offer(guest.vmi(), guest.sandbox.podUid, signal);
    trace.note('disks offered');
    await this.dial(DIAL_PATIENCE_MS, signal);
    trace.note('dialled');
    const places = await this.offer(signal);
    trace.note('places known');
    const target: MovedTo = { ...places.target, node: this.state?.targetNode ?? '' };
    await this.decision.agree({ target, disks: this.disks });
    trace.note('agreed');
    const started = formatTime(guest.clock.now());
    await guest.update(
      (vmi) => withMigrationState(vmi, migration, (s) => ({ ...s, startTimestamp: started, mode: 'PreCopy' })),
      signal,
    );
    this.throwIfAborted();
    trace.note('start written');
    guest.events.normal(guest.vmi(), 'Migrating', 'VirtualMachineInstance is migrating.');
    const close = await openSourceSockets(guest.sandbox, migration, (stream) =>
      deps.link.dial(migration, this.peer(), stream, signal),
    );
    try {
      await this.perform(places, signal);
    } finally {
      await close();
    }
    this.decision.give();
  }

  private async perform(places: Places, signal: AbortSignal): Promise<void> {
    const { guest, migration, disks } = this;
    const [libvirt, configuration] = [await guest.libvirt(), this.state?.migrationConfiguration];
    const domain = await findDomain(libvirt, guest.name);
    if (domain === undefined) throw new Error('The guest is gone');
    const live = await libvirt.xml(domain, { migratable: true });
    const xml = adaptDomain(live, places);
    const targets = diskTargets(live);
    const copied = disks.filter(({ transfer }) => transfer === 'copied').map(({ name }) => targets.get(name) ?? '');
    this.performing = domain;
    await guest.hurry(true).catch(() => {}); // it takes longer then
    this.trace.note('job started');
    const note = (change: Partial<kubevirt.VirtualMachineInstanceMigrationState>): void => {
      guest.update((vmi) => withMigrationState(vmi, migration, (now) => ({ ...now, ...change })), signal).catch(() => {});
    };
    const job = new MigrationJob({
      ...{ guest, libvirt, domain, configuration, abortReason: () => this.abortReason },
      copiedBytes: disks.reduce((sum, disk) => sum + (disk.transfer === 'copied' ? disk.virtualSizeBytes : 0), 0),
      downtime: downtimeSteps(live),
      onPaused: () => note({ mode: 'Paused' }),
      onAborting: (isAsked) => (isAsked ? note({ abortStatus: 'Aborting' }) : undefined),
    });
    const options = {
      uri: `qemu+unix:///session?socket=${socketInside(migration, 'control')}`,
      xml,
      memoryUri: `unix://${socketInside(migration, 'memory')}`,
      ...(copied.length > 0 && { copied: { uri: `unix://${socketInside(migration, 'disks')}`, disks: copied } }),
      bandwidthMiB: Math.ceil(bytesOf(String(configuration?.bandwidthPerMigration ?? 0)) / MIB),
      autoConverge: configuration?.allowAutoConverge === true,
    };
    this.job = job;
    try {
      await job.run(options, signal);
      this.trace.note('job done');
    } catch (error) {
      signal.throwIfAborted();
      if (job.abortedFor !== undefined && error instanceof LibvirtError)
        throw job.wasAsked ? new Aborted(job.abortedFor) : new Error(job.abortedFor);
      throw error;
    }
  }

  private peer(): { readonly node: string; readonly host: string; readonly port: number } {
    const state = this.state ?? this.guest.vmi().status?.migrationState ?? {};
    return { node: state.targetNode ?? '', host: state.targetNodeAddress ?? '', port: publishedPort(state) ?? 0 };
  }

  /** Opens the conversation with the target; rejects when that does not work for so long. */
  private async dial(patienceMs: number, signal: AbortSignal): Promise<void> {
    const { guest, deps, migration } = this;
    const untilMs = guest.clock.now() + patienceMs;
    for (;;) {
      try {
        const stream = await deps.link.dial(migration, this.peer(), 'agent', signal);
        this.channel = new PeerChannel(stream, (message) => this.receive(message));
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (guest.clock.now() >= untilMs) throw error;
      }
      await sleep(guest.clock, REDIAL_MS, signal);
      this.throwIfAborted();
    }
  }

  private async offer(signal: AbortSignal): Promise<Places> {
    const { channel, guest, disks } = this;
    const answered = new Promise<PeerMessage>((resolve) => {
      this.onPlaces = resolve;
    });
    channel?.send(offerMessage({ disks }));
    const late = sleep(guest.clock, PLACES_TIMEOUT_MS, signal).then(() => 'late' as const);
    const gone = (channel?.closed ?? Promise.resolve()).then(() => 'gone' as const);
    const aborted = untilChanged(guest, () => this.abortReason !== undefined, signal).then(() => 'aborted' as const);
    aborted.catch(() => {});
    late.catch(() => {});
    const answer = await Promise.race([answered, late, gone, aborted]);
    this.throwIfAborted();
    if (typeof answer === 'string') throw new Error('The target did not say where the guest goes');
    if (answer.type === 'refused') throw new Error(`The target refused: ${String(answer['reason']).slice(0, 500)}`);
    return readPlaces(answer);
  }

  private receive(message: PeerMessage): void {
    if (message.type === 'places' || message.type === 'refused') this.onPlaces?.(message);
    else if (message.type === 'ask') this.answer().catch(() => {}); // it asks again
  }

  /** The target has the whole guest, and wants it. */
  private async answer(): Promise<void> {
    const { decision, guest } = this;
    this.trace.note('guest asked for');
    if (!decision.isMade) {
      // as long as the guest moves here, the target cannot have all of it
      const libvirt = await guest.libvirt();
      if (this.performing === undefined) return;
      if ((await libvirt.state(this.performing)).state === DOMAIN_STATE.running) return;
      decision.give();
    }
    this.tell(await decision.made);
    this.trace.note('answered');
  }

  private tell(verdict: 'given' | 'kept'): void {
    const { isPaused = false, disks = [] } = this.decision.agreed ?? {};
    this.channel?.send({ ...offerMessage({ disks }), type: verdict, isPaused });
  }

  /** The guest is given away: stays until the target has it in the API's eyes too. */
  private async leave(signal: AbortSignal): Promise<void> {
    const { guest, decision } = this;
    const { agreed } = decision;
    if (agreed === undefined) return;
    this.tell('given');
    const { left } = decision;
    left.catch((error: unknown) => guest.log.warn({ error: String(error) }, 'addresses of a guest that moved not handed over'));
    const hasMoved = (): boolean => guest.isGone() || guest.vmi().status?.nodeName !== guest.nodeName;
    for (;;) {
      await Promise.race([untilChanged(guest, hasMoved, signal), this.channel?.closed, sleep(guest.clock, REASSURE_MS, signal)]);
      if (!hasMoved()) await guest.refresh(signal).catch(() => {});
      if (hasMoved()) break;
      // a stream that says nothing may have lost its other end
      this.channel?.close();
      await sleep(guest.clock, REDIAL_MS, signal);
      if (publishedPort(guest.vmi().status?.migrationState ?? {}) !== undefined) await this.dial(0, signal).catch(() => {});
      this.tell('given');
    }
    await left.catch(() => {});
    guest.events.normal(guest.vmi(), 'Migrated', `The VirtualMachineInstance migrated to node ${agreed.target.node}.`);
  }

  private async goOn(signal: AbortSignal): Promise<void> {
    const { guest, migration, decision } = this;
    this.tell('kept');
    const { reason, isAborted } = decision;
    await guest.hurry(false).catch(() => {});
    const isPausedByUser = guest
      .vmi()
      .status?.conditions?.some(({ type, status }) => type === VmiCondition.paused && status === 'True');
    if (!isPausedByUser) await this.resume().catch(() => {});
    await guest.update((vmi) => failedMigration(vmi, migration, { reason, isAborted, nowMs: guest.clock.now() }), signal);
    guest.log.warn({ migration, reason }, 'guest stays here');
    guest.events.warning(guest.vmi(), 'Migrated', `VirtualMachineInstance migration uid ${migration} failed. reason:${reason}`);
  }

  /** A guest that stands still because of the migration goes on. */
  private async resume(): Promise<void> {
    const libvirt = await this.guest.libvirt();
    const domain = await findDomain(libvirt, this.guest.name);
    if (domain === undefined) return;
    const { state, reason } = await libvirt.state(domain);
    const isOurs = reason === PAUSED_REASON.migration || reason === PAUSED_REASON.user;
    if (state === DOMAIN_STATE.paused && isOurs) await libvirt.resume(domain);
  }
}
