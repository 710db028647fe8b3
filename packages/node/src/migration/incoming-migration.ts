import type { Duplex } from 'node:stream';
import { type VirtualMachineInstance, VmiPhase } from '@slipway/api';
import { sleep } from '@slipway/runtime';
import type { PreparedFiles, PreparedVolume } from '../contracts.ts';
import { DOMAIN_STATE, PAUSED_REASON } from '../libvirt/index.ts';
import { PeerChannel, type PeerMessage, type PeerStream } from '../peer-link/index.ts';
import { findDomain, type MigrationDeps, type MovableGuest, type TargetParts } from './contracts.ts';
import { makeTargetDirectory, passOn } from './migration-sockets.ts';
import { movedInstance, roleOf, withMigrationState } from './migration-state.ts';
import { placesMessage, readOffer } from './messages.ts';
import { repeated } from './repeated.ts';
import { moveTrace } from './move-trace.ts';
import { untilChanged } from './until-changed.ts';

/** What came with a guest. */
export interface Received {
  readonly volumes: readonly PreparedVolume[];
  readonly files: PreparedFiles;
}

const LOOK_MS = 1_000;

/** The target's side of one migration: from the hand-off until the guest is here, or stays where it is. */
export class IncomingMigration {
  private readonly deps: MigrationDeps;
  private readonly guest: MovableGuest;
  private readonly parts: TargetParts;
  private readonly migration: string;
  private readonly trace;
  private channel: PeerChannel | undefined;
  private received: Received | undefined;
  private verdict: { readonly type: 'given' | 'kept'; readonly isPaused: boolean } | undefined;
  private wake: () => void = () => {};
  /** One offer after the other. */
  private tail: Promise<void> = Promise.resolve();

  constructor(deps: MigrationDeps, guest: MovableGuest, parts: TargetParts, migration: string) {
    this.deps = deps;
    this.guest = guest;
    this.parts = parts;
    this.migration = migration;
    this.trace = moveTrace(guest.clock);
  }

  /**
   * Resolves when the guest runs here, with what came along, or nothing when an earlier agent saw to that; with a reason when
   * it does not come.
   */
  async run(signal: AbortSignal): Promise<Received | string | undefined> {
    const { guest, deps, migration, trace } = this;
    trace.note('ready');
    await untilChanged(guest, () => this.isHandedOff || this.isOver, signal);
    if (this.isHandedOff && (await this.powerHere()) === 'running') {
      // only one to whom the guest was given has let it run
      await this.accept(false, signal);
      return undefined;
    }
    if (!this.isHandedOff) return this.discard('the migration is over');
    await makeTargetDirectory(guest.sandbox, migration);
    const sourceNode = guest.vmi().status?.migrationState?.sourceNode ?? '';
    const unexpect = deps.link.expect(migration, sourceNode, (kind, stream) => this.take(kind, stream, signal));
    try {
      trace.note('handed off');
      await this.publish(signal);
      trace.note('published');
      guest.events.normal(guest.vmi(), 'PreparingTarget', 'VirtualMachineInstance Migration Target Prepared.');
      const verdict = await this.untilDecided(signal);
      if (verdict.type === 'kept' || this.received === undefined) return await this.discard('it stays where it is');
      await this.accept(verdict.isPaused, signal);
      guest.log.info({ migration, ...trace.times(), job: await this.jobNumbers() }, 'guest has come');
      return this.received;
    } finally {
      unexpect();
      this.channel?.close();
    }
  }

  /** Something has happened to the domain. */
  notice(): void {
    this.trace.note('event');
    this.wake();
  }

  private get isHandedOff(): boolean {
    const { guest } = this;
    const role = roleOf(guest.vmi(), guest.pod().metadata.name ?? '', guest.nodeName);
    return role?.side === 'target' && role.migration === this.migration;
  }

  /** The state names this migration as over, or another one. */
  private get isOver(): boolean {
    const { guest } = this;
    const state = guest.vmi().status?.migrationState;
    const isFinal = state?.migrationUid === this.migration && (state.completed === true || state.failed === true);
    const isEnded = guest.vmi().status?.phase !== VmiPhase.running;
    return guest.isGone() || isFinal || isEnded || guest.pod().metadata.deletionTimestamp !== undefined;
  }

  private async publish(signal: AbortSignal): Promise<void> {
    const { host, port } = this.deps.link.address;
    const where = { targetNodeAddress: host, targetDirectMigrationNodePorts: { [port]: 0 } };
    await this.guest.update((vmi) => withMigrationState(vmi, this.migration, (state) => ({ ...state, ...where })), signal);
  }

  private take(kind: PeerStream, stream: Duplex, signal: AbortSignal): void {
    const { sandbox, daemonSocket } = this.guest;
    this.trace.note(`stream ${kind}`);
    if (kind === 'agent') {
      this.channel?.close();
      this.channel = new PeerChannel(stream, (message) => this.receive(message, signal));
      this.wake();
    } else if (this.received === undefined) stream.destroy();
    else passOn({ sandbox, migration: this.migration, daemonSocket }, kind, stream);
  }

  private receive(message: PeerMessage, signal: AbortSignal): void {
    const { channel } = this;
    const { type } = message;
    if (type === 'offer') this.tail = this.tail.then(() => this.prepare(message, channel, signal));
    else if (type === 'kept') this.decide(type, false);
    else if (type === 'given')
      this.tail = this.tail.then(async () => {
        // this agent was started again: what it made for the offer is found
        if (this.received === undefined) await this.prepare(message, channel, signal);
        if (this.received !== undefined) this.decide(type, message['isPaused'] === true);
      });
  }

  private decide(type: 'given' | 'kept', isPaused: boolean): void {
    this.verdict ??= { type, isPaused };
    this.trace.note(type);
    this.wake();
  }

  private async prepare(message: PeerMessage, channel: PeerChannel | undefined, signal: AbortSignal): Promise<void> {
    const { guest, parts, deps } = this;
    try {
      const { disks } = readOffer(message);
      const volumes = await deps.volumes.receive(guest.vmi(), guest.pod(), guest.sandbox, disks, signal);
      const files = await parts.prepareFiles(signal);
      this.received = { volumes, files };
      this.trace.note('places made');
      channel?.send(
        placesMessage({
          disks: new Map(volumes.map(({ name, path, format }) => [name, { path, format }])),
          taps: new Map(
            parts.network.interfaces.flatMap(({ name, tapName }) => (tapName === undefined ? [] : [[name, tapName]])),
          ),
          files: fileNames(files),
          target: { podUid: guest.sandbox.podUid, link: deps.linkAddresses },
        }),
      );
    } catch (error) {
      guest.log.warn({ error: String(error) }, 'no place for a guest that would come');
      channel?.send({ type: 'refused', reason: error instanceof Error ? error.message : String(error) });
    }
  }

  private async untilDecided(signal: AbortSignal): Promise<{ readonly type: 'given' | 'kept'; readonly isPaused: boolean }> {
    const { guest } = this;
    for (;;) {
      const woken = new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      if (this.verdict !== undefined) return this.verdict;
      if (this.isOver || !this.isHandedOff) return { type: 'kept', isPaused: false };
      if ((await this.powerHere()) === 'complete') {
        this.channel?.send({ type: 'ask' });
        this.deps.network.expect(guest.sandbox.podUid, signal).catch(() => {}); // `takeOver` does it then
        this.trace.note('asked');
      }
      const timer = new AbortController();
      const late = sleep(guest.clock, LOOK_MS, AbortSignal.any([signal, timer.signal]));
      late.catch(() => {});
      await Promise.race([woken, late, guest.changed()]);
      timer.abort();
      signal.throwIfAborted();
    }
  }

  /** What the domain does here: `complete` when it is whole and waits. */
  private async powerHere(): Promise<'absent' | 'coming' | 'complete' | 'running'> {
    try {
      const libvirt = await this.guest.libvirt();
      const domain = await findDomain(libvirt, this.guest.name);
      if (domain === undefined) return 'absent';
      const { state, reason } = await libvirt.state(domain);
      if (state === DOMAIN_STATE.running || state === DOMAIN_STATE.blocked) return 'running';
      return state === DOMAIN_STATE.paused && reason === PAUSED_REASON.user ? 'complete' : 'coming';
    } catch {
      return 'absent'; // its daemon is being started again
    }
  }

  private async accept(isPaused: boolean, signal: AbortSignal): Promise<void> {
    const { guest, deps, migration, trace } = this;
    const { podUid } = guest.sandbox;
    await repeated(guest, 'what came with a guest does not count yet', () => deps.volumes.accept(podUid), signal);
    trace.note('disks accepted');
    const takenOver = repeated(guest, 'addresses not taken over yet', () => deps.network.takeOver(podUid, signal), signal);
    takenOver.then(() => trace.note('addresses here')).catch(() => {});
    if (!isPaused) await repeated(guest, 'a guest that came does not run yet', () => this.resume(), signal);
    trace.note('running');
    await takenOver;
    // whoever had a console or a display of it comes as soon as they know where it is
    guest.openConsoles();
    const now = guest.clock.now();
    const change = (vmi: VirtualMachineInstance) => movedInstance(vmi, migration, { node: guest.nodeName, nowMs: now });
    await repeated(guest, 'it is not known yet that a guest came', () => guest.update(change, signal), signal);
    trace.note('known');
  }

  private async resume(): Promise<void> {
    const libvirt = await this.guest.libvirt();
    const domain = await findDomain(libvirt, this.guest.name);
    if (domain !== undefined && (await libvirt.state(domain)).state === DOMAIN_STATE.paused) await libvirt.resume(domain);
  }

  /** What libvirt counted, with the downtime that QEMU saw; for the log. */
  private async jobNumbers(): Promise<Readonly<Record<string, unknown>>> {
    try {
      const libvirt = await this.guest.libvirt();
      const domain = await findDomain(libvirt, this.guest.name);
      return domain === undefined ? {} : Object.fromEntries(await libvirt.jobStats(domain, { completed: true }));
    } catch {
      return {}; // it does not matter to anybody but a reader
    }
  }

  private async discard(reason: string): Promise<string> {
    const { guest, deps } = this;
    await repeated(guest, 'what came with a guest is still here', async () => {
      await guest.killGuest();
      await deps.volumes.discard(guest.sandbox.podUid);
    });
    return reason;
  }
}

/** Files of the domain that are no disks, by the name of their element. */
function fileNames({ statePath, kernelBoot = {} }: PreparedFiles): ReadonlyMap<string, string> {
  const nvram = statePath === undefined ? undefined : `${statePath}/nvram.fd`;
  const names = { nvram, kernel: kernelBoot.kernel, initrd: kernelBoot.initrd };
  return new Map(Object.entries(names).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
