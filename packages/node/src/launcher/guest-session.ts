import { connectBeneath, isSameProcess } from '@slipway/hostapi';
import { GuestTrouble } from '@slipway/api';
import { backOffDelay, RateBudget, type RateLimit, sleep, type TimerClock } from '@slipway/runtime';
import {
  type ConsoleLog,
  ConsoleHub,
  FirmwareWatch,
  openConsoleLog,
  readConsoleLog,
  UsbRedirections,
  VncSessions,
} from '../console/index.ts';
import {
  DOMAIN_STATE,
  type DomainEvent,
  type DomainRef,
  ERROR_CODE,
  LIFECYCLE,
  type LibvirtConnection,
  LibvirtError,
  SHUTOFF_MIGRATED,
  STOPPED,
  SUSPENDED,
  WATCHDOG_POWEROFF,
} from '../libvirt/index.ts';
import { connectLibvirt, type HostPrograms, type RunningSandbox } from '../sandbox/index.ts';
import { SERIAL_SOCKET, USB_SOCKETS, VNC_SOCKET } from './domain-facts.ts';
import { EventGate } from './event-gate.ts';

export type GuestEvent =
  | {
      readonly type: 'ended';
      readonly phase: 'Succeeded' | 'Failed';
      readonly reason: string;
      /** For `status.reason`, when there is a word for it. */
      readonly statusReason?: string;
      /** libvirt says that it goes on elsewhere. */
      readonly hasMoved?: boolean;
    }
  | { readonly type: 'paused'; readonly reason: 'PausedByUser' | 'PausedIOError' }
  | { readonly type: 'resumed' }
  | { readonly type: 'agent'; readonly connected: boolean }
  | { readonly type: 'device'; readonly event: DomainEvent }
  /** The guest goes beyond what a guest may do: for people. */
  | { readonly type: 'trouble'; readonly reason: string; readonly message: string };

/** Whether the processors run, as far as people are concerned. */
export type PowerEvent = Extract<GuestEvent, { readonly type: 'paused' | 'resumed' }>;

export interface GuestSessionDeps {
  readonly sandbox: RunningSandbox;
  readonly programs: HostPrograms;
  readonly consoleLog: string;
  readonly clock: TimerClock;
  readonly onEvent: (event: GuestEvent) => void;
  /** The guest boots signed loaders alone. */
  readonly hasSecureBoot?: boolean;
  /** Replaced in tests. */
  readonly connect?: (onEvent: (event: DomainEvent) => void, signal: AbortSignal) => Promise<LibvirtConnection>;
  /** Whether the sandbox stands. Replaced in tests. */
  readonly isAlive?: () => boolean;
}

/** Domain shut-off reasons after which the guest counts as ended well. */
const CLEAN_SHUTOFF: readonly number[] = [1, 5, 7]; // shutdown, saved, from snapshot
const [REASON_UNKNOWN, REASON_FAILED_START] = [0, 6];
/** QEMU stands still because it has sent everything, or is just sending. */
const MOVING: readonly number[] = [SUSPENDED.migrated, SUSPENDED.postCopy, SUSPENDED.postCopyFailed];
const [PAUSED_USER, PAUSED_IO_ERROR] = [1, 5];
/**
 * A daemon that was started again believes for a while in a QEMU that is gone, and finds out without an event: it is
 * asked until it must have.
 */
const DOUBT_MS = [200, 1_000, 5_000, 15_000, 60_000] as const;
/** virDomainEventCrashedDetailType: the guest said so by its panic device. */
const CRASHED_PANICKED = 0;
/** `status.reason` of an instance whose guest has panicked. */
const GUEST_PANICKED = 'GuestPanicked';
/** `status.reason` of an instance that its watchdog has switched off. */
const WATCHDOG_EXPIRED = 'GuestWatchdogExpired';
const SCROLLBACK_BYTES = 64 * 1024;
/** A daemon that does not live longer than this is connected to ever more seldom. */
const SHORT_LIFE_MS = 10_000;
const RECONNECT = { baseMs: 200, maxMs: 30_000, jitter: 0 };
/** Below the limit of calls of libvirt, so that a silent agent fails its call and not the connection. */
const AGENT_SECONDS = 50;
/** What an ordinary guest causes passes at once; a flood is thinned out. */
const EVENT_LIMITS = {
  agent: { burst: 10, perSecond: 0.1 },
  power: { burst: 20, perSecond: 0.5 },
  device: { burst: 64, perSecond: 2 },
} as const;
/** More than ten resets within five minutes. */
const RESETS: RateLimit = { burst: 10, perSecond: 10 / 300 };
const TELL_RESETS_MS = 10 * 60_000;

const TROUBLE_TEXT = {
  [GuestTrouble.consoleFlood]:
    'The guest writes more to its serial console than anybody reads: it is slowed down, and its log keeps the last 2 MiB. Make it less talkative, for example by the kernel argument "quiet" or a lower log level of the service that writes',
  [GuestTrouble.eventFlood]:
    'The guest, or its QEMU, causes more events than are worth following: they are followed a few times a minute. Look at its devices and its agent inside the guest; restart it if nothing is found',
  [GuestTrouble.resetLoop]:
    'The guest was reset more than 10 times within 5 minutes. Look at its console for the reason (a panic with "panic=", a watchdog, a boot loop), and stop the VM meanwhile if it should not use the processor',
} as const;

/** Undefined in between: libvirt itself has stopped the processors for a moment, or the guest sleeps. */
function powerOf(state: number, reason: number): PowerEvent | undefined {
  if (state === DOMAIN_STATE.running || state === DOMAIN_STATE.blocked) return { type: 'resumed' };
  if (state !== DOMAIN_STATE.paused) return undefined;
  if (reason === PAUSED_IO_ERROR) return { type: 'paused', reason: 'PausedIOError' };
  return reason === PAUSED_USER ? { type: 'paused', reason: 'PausedByUser' } : undefined;
}

/** The connection to one sandbox's libvirt and what hangs on the domain: consoles, events. Owns them until `close`. */
export class GuestSession {
  private readonly deps: GuestSessionDeps;
  private connection: Promise<LibvirtConnection>;
  private domainName = '';
  private readonly firmware: FirmwareWatch | undefined;
  private log: ConsoleLog | undefined;
  private hub: ConsoleHub | undefined;
  private vncSessions: VncSessions | undefined;
  private usbRedirections: UsbRedirections | undefined;
  private readonly closing = new AbortController();
  private hasEnded = false;
  /** The domain has been seen running: when it is off, it has ended. */
  private hasRun = false;
  private lastPower: PowerEvent['type'] = 'resumed';
  /** Started by us, not found: what libvirt says of it before it has run is about the start. */
  private isOurs = false;
  private readonly gates: Readonly<Record<keyof typeof EVENT_LIMITS, EventGate<GuestEvent>>>;
  private readonly resets: RateBudget;
  private toldResetsMs = Number.NEGATIVE_INFINITY;
  /** Connections that ended soon, one after the other. */
  private shortLives = 0;
  /** Forced off by us; then the guest did not end by itself. */
  private isForced = false;
  /** The watchdog switches the guest off: its QEMU exits right after saying so. */
  private isWatchdogOff = false;

  constructor(deps: GuestSessionDeps) {
    this.deps = deps;
    this.firmware = deps.hasSecureBoot ? new FirmwareWatch() : undefined;
    const gate = (limit: RateLimit): EventGate<GuestEvent> =>
      new EventGate({ limit, clock: deps.clock, deliver: deps.onEvent, onFlood: () => this.trouble(GuestTrouble.eventFlood) });
    const { agent, power, device } = EVENT_LIMITS;
    this.gates = { agent: gate(agent), power: gate(power), device: gate(device) };
    this.resets = new RateBudget(RESETS, deps.clock);
    this.connection = this.connect();
    this.connection.catch(() => this.noticeDeadSandbox()); // reported to whoever asks for it, too
  }

  get sandbox(): RunningSandbox {
    return this.deps.sandbox;
  }

  libvirt(): Promise<LibvirtConnection> {
    return this.connection;
  }

  async domain(): Promise<DomainRef> {
    return (await this.connection).lookup(this.domainName);
  }

  /** Whether the domain runs already: the agent was away. Undefined when there is none by this name. */
  async find(name: string): Promise<{ readonly isActive: boolean; readonly power: PowerEvent | undefined } | undefined> {
    const libvirt = await this.connection;
    try {
      const { state, reason } = await libvirt.state(await libvirt.lookup(name));
      this.domainName = name;
      const isActive = state !== DOMAIN_STATE.shutoff && state !== DOMAIN_STATE.crashed;
      if (isActive && !this.hasRun && !this.isOurs) {
        this.doubt(libvirt);
        await this.limitAgent(libvirt);
      }
      const power = powerOf(state, reason);
      if (!this.hasRun && power) this.lastPower = power.type;
      this.hasRun ||= isActive;
      if (!isActive && this.isEnd(reason)) {
        const hasMoved = reason === SHUTOFF_MIGRATED;
        this.ended(hasMoved || CLEAN_SHUTOFF.includes(reason), 'while nobody watched', undefined, hasMoved);
      }
      return { isActive, power };
    } catch (error) {
      if (!(error instanceof LibvirtError) || error.code !== ERROR_CODE.noDomain) throw error;
      if (this.hasRun) this.ended(false, 'libvirt lost it');
      return undefined;
    }
  }

  /** Whether a domain that is off for this reason has run. A daemon that was killed does not know the reason. */
  private isEnd(reason: number): boolean {
    if (this.hasRun) return true;
    return !this.isOurs && reason !== REASON_UNKNOWN && reason !== REASON_FAILED_START;
  }

  /** Defines and starts the domain. */
  async start(name: string, xml: string, paused: boolean): Promise<void> {
    const libvirt = await this.connection;
    this.domainName = name;
    this.isOurs = true;
    await libvirt.create(await libvirt.define(xml), { paused });
    this.lastPower = paused ? 'paused' : 'resumed';
    this.hasRun = true;
    await this.limitAgent(libvirt);
  }

  /** A guest whose agent takes a command and never answers must not hold up libvirt. */
  private async limitAgent(libvirt: LibvirtConnection): Promise<void> {
    try {
      await libvirt.limitAgentResponse(await libvirt.lookup(this.domainName), AGENT_SECONDS);
    } catch {
      // a libvirt that cannot do this gives its connection up after a minute instead
    }
  }

  /** Defines the domain and loads a saved state into it; the processors wait. */
  async restore(name: string, xml: string, path: string): Promise<void> {
    const libvirt = await this.connection;
    this.domainName = name;
    this.isOurs = true;
    await libvirt.define(xml);
    await libvirt.restorePaused(path, xml);
    this.hasRun = true;
  }

  /** Serves the consoles of the running domain. May be repeated. */
  openConsoles(): void {
    if (this.hub !== undefined) return;
    const { sandbox, consoleLog, clock } = this.deps;
    this.log = openConsoleLog(consoleLog, { now: () => clock.now() });
    const { log } = this;
    this.hub = new ConsoleHub({
      socketPath: SERIAL_SOCKET,
      // the directory belongs to the guest's user
      connect: () => connectBeneath(sandbox.dir, SERIAL_SOCKET),
      earlier: readConsoleLog(consoleLog, SCROLLBACK_BYTES),
      onOutput: (chunk) => {
        log.append(chunk);
        this.watchFirmware(chunk);
      },
      onFlood: () => this.trouble(GuestTrouble.consoleFlood),
      clock,
    });
    this.hub.start();
    this.vncSessions = new VncSessions(() => connectBeneath(sandbox.dir, VNC_SOCKET));
    this.usbRedirections = new UsbRedirections((slot) => connectBeneath(sandbox.dir, `${USB_SOCKETS}${slot}`));
  }

  get console(): ConsoleHub | undefined {
    return this.hub;
  }

  get vnc(): VncSessions | undefined {
    return this.vncSessions;
  }

  get usb(): UsbRedirections | undefined {
    return this.usbRedirections;
  }

  /** Asks the guest to shut down. */
  async powerDown(): Promise<void> {
    await this.unlessOff(async (libvirt) => libvirt.shutdown(await this.domain(), 'acpi'));
  }

  /** Resolves when the guest is off; that it ended is an event. */
  async destroy(): Promise<void> {
    this.isForced = true;
    await this.unlessOff(async (libvirt) => libvirt.destroy(await this.domain()));
  }

  /** What fails because the guest is off has not failed: libvirt may have noticed that without an event. */
  private async unlessOff(act: (libvirt: LibvirtConnection) => Promise<void>): Promise<void> {
    try {
      await act(await this.connection);
    } catch (error) {
      const found = await this.find(this.domainName);
      if (found?.isActive === true || !this.hasEnded) throw error;
    }
  }

  close(): void {
    this.closing.abort(new Error('The session was closed'));
    for (const gate of Object.values(this.gates)) gate.close();
    this.hub?.close();
    this.vncSessions?.close();
    this.usbRedirections?.close();
    this.log?.close();
    this.log = undefined;
    this.connection.then((libvirt) => libvirt.close()).catch(() => {});
  }

  private get isAlive(): boolean {
    return this.deps.isAlive?.() ?? isSameProcess(this.deps.sandbox.init);
  }

  private async connect(): Promise<LibvirtConnection> {
    const { sandbox, programs } = this.deps;
    const onEvent = (event: DomainEvent): void => this.onDomainEvent(event);
    const { signal } = this.closing;
    const connect =
      this.deps.connect ?? (() => connectLibvirt({ sandbox, programs, onEvent, isAlive: () => this.isAlive }, signal));
    const libvirt = await connect(onEvent, signal);
    const sinceMs = this.deps.clock.now();
    libvirt.closed
      .then(() => {
        this.shortLives = this.deps.clock.now() - sinceMs < SHORT_LIFE_MS ? this.shortLives + 1 : 0;
        this.reconnect();
      })
      .catch(() => {});
    return libvirt;
  }

  private async connectAgain(): Promise<LibvirtConnection> {
    const { signal } = this.closing;
    // once is an accident; a daemon that ends every connection must not keep the agent busy
    if (this.shortLives > 1)
      await sleep(
        this.deps.clock,
        backOffDelay(this.shortLives - 1, RECONNECT, () => 0),
        signal,
      );
    return this.connect();
  }

  /** The daemon died: its init starts another, which adopts the domain. */
  private reconnect(): void {
    if (this.closing.signal.aborted) return;
    this.connection = this.connectAgain();
    this.connection.then((libvirt) => this.domainName !== '' && this.doubt(libvirt)).catch(() => this.noticeDeadSandbox());
  }

  private noticeDeadSandbox(): void {
    if (!this.closing.signal.aborted && !this.isAlive) this.ended(false, 'its sandbox was killed');
  }

  /** Looks again and again whether the domain that this daemon took over is really there. */
  private doubt(libvirt: LibvirtConnection): void {
    const { signal } = this.closing;
    const look = async (): Promise<void> => {
      for (const [index, waitMs] of DOUBT_MS.entries()) {
        if (this.hasEnded || (await this.connection) !== libvirt) return;
        const found = await this.find(this.domainName);
        // what happened while no daemon was there was no event
        if (index === 0 && found?.power && found.power.type !== this.lastPower) this.tellPower(found.power);
        await sleep(this.deps.clock, waitMs, signal);
      }
    };
    look().catch(() => {}); // a connection that failed is replaced, and its successor doubted in turn
  }

  private onDomainEvent(event: DomainEvent): void {
    const { agent, device } = this.gates;
    if (event.type === 'agent') agent.offer('agent', event);
    else if (event.type.startsWith('device-')) device.offer(deviceKey(event), { type: 'device', event });
    else if (event.type === 'reboot') this.countReset();
    else if (event.type === 'watchdog') this.isWatchdogOff ||= event.action === WATCHDOG_POWEROFF;
    if (event.type !== 'lifecycle') return;
    if (event.event === LIFECYCLE.stopped) this.stopped(event.detail);
    else if (event.event === LIFECYCLE.crashed) this.crashed(event.detail);
    else if (event.event === LIFECYCLE.resumed) this.tellPower({ type: 'resumed' });
    else if (event.event === LIFECYCLE.suspended && !MOVING.includes(event.detail))
      this.tellPower({ type: 'paused', reason: event.detail === SUSPENDED.ioError ? 'PausedIOError' : 'PausedByUser' });
  }

  private tellPower(event: PowerEvent): void {
    this.lastPower = event.type;
    this.gates.power.offer('power', event);
  }

  private countReset(): void {
    const now = this.deps.clock.now();
    if (this.resets.tryTake(1) === 0 || now - this.toldResetsMs < TELL_RESETS_MS) return;
    this.toldResetsMs = now;
    this.trouble(GuestTrouble.resetLoop);
  }

  private watchFirmware(chunk: Uint8Array): void {
    const entry = this.firmware?.see(chunk);
    if (entry === undefined) return;
    const message = `Secure boot refused ${entry}: the boot loader is not signed by a key that the firmware trusts. Use an image with a signed loader, or set firmware.bootloader.efi.secureBoot to false`;
    this.deps.onEvent({ type: 'trouble', reason: GuestTrouble.bootRefused, message });
  }

  private trouble(reason: keyof typeof TROUBLE_TEXT): void {
    this.deps.onEvent({ type: 'trouble', reason, message: TROUBLE_TEXT[reason] });
  }

  private stopped(detail: number): void {
    if (detail === STOPPED.migrated) this.ended(true, 'it moved', undefined, true);
    else if (detail === STOPPED.shutdown || detail === STOPPED.saved || detail === STOPPED.fromSnapshot)
      this.ended(true, 'it shut down');
    else if (detail === STOPPED.destroyed) this.ended(false, this.isForced ? 'it was forced off' : 'it was destroyed');
    else if (this.isWatchdogOff) this.ended(false, 'its watchdog expired and switched it off', WATCHDOG_EXPIRED);
    else this.ended(false, 'QEMU ended unexpectedly');
  }

  private crashed(detail: number): void {
    if (detail === CRASHED_PANICKED) this.ended(false, 'its kernel panicked', GUEST_PANICKED);
    else this.ended(false, 'it crashed');
  }

  private ended(isClean: boolean, reason: string, statusReason?: string, hasMoved = false): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    const phase = isClean ? 'Succeeded' : 'Failed';
    const more = { ...(statusReason !== undefined && { statusReason }), ...(hasMoved && { hasMoved }) };
    this.deps.onEvent({ type: 'ended', phase, reason, ...more });
  }
}

const deviceKey = (event: DomainEvent): string => `${event.type} ${'alias' in event ? event.alias.slice(0, 128) : ''}`;
