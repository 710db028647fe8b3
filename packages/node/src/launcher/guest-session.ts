import { connectBeneath, isSameProcess } from '@slipway/hostapi';
import { sleep, type TimerClock } from '@slipway/runtime';
import { type ConsoleLog, ConsoleHub, openConsoleLog, readConsoleLog, VncSessions } from '../console/index.ts';
import {
  DOMAIN_STATE,
  type DomainEvent,
  type DomainRef,
  ERROR_CODE,
  LIFECYCLE,
  type LibvirtConnection,
  LibvirtError,
  STOPPED,
} from '../libvirt/index.ts';
import { connectLibvirt, type HostPrograms, type RunningSandbox } from '../sandbox/index.ts';
import { SERIAL_SOCKET, VNC_SOCKET } from './domain-facts.ts';

export type GuestEvent =
  | { readonly type: 'ended'; readonly phase: 'Succeeded' | 'Failed'; readonly reason: string }
  | { readonly type: 'paused'; readonly reason: 'PausedByUser' | 'PausedIOError' }
  | { readonly type: 'resumed' }
  | { readonly type: 'agent'; readonly connected: boolean }
  | { readonly type: 'device'; readonly event: DomainEvent };

export interface GuestSessionDeps {
  readonly sandbox: RunningSandbox;
  readonly programs: HostPrograms;
  readonly consoleLog: string;
  readonly clock: TimerClock;
  readonly onEvent: (event: GuestEvent) => void;
  /** Replaced in tests. */
  readonly connect?: (onEvent: (event: DomainEvent) => void, signal: AbortSignal) => Promise<LibvirtConnection>;
  /** Whether the sandbox stands. Replaced in tests. */
  readonly isAlive?: () => boolean;
}

/** Domain shut-off reasons after which the guest counts as ended well. */
const CLEAN_SHUTOFF: readonly number[] = [1, 5, 7]; // shutdown, saved, from snapshot
const [REASON_UNKNOWN, REASON_FAILED_START] = [0, 6];
const IO_ERROR_SUSPEND = 2;
/**
 * A daemon that was started again believes for a while in a QEMU that is gone, and finds out without an event: it is
 * asked until it must have.
 */
const DOUBT_MS = [200, 1_000, 5_000, 15_000, 60_000] as const;
const SCROLLBACK_BYTES = 64 * 1024;

/** The connection to one sandbox's libvirt and what hangs on the domain: consoles, events. Owns them until `close`. */
export class GuestSession {
  private readonly deps: GuestSessionDeps;
  private connection: Promise<LibvirtConnection>;
  private domainName = '';
  private log: ConsoleLog | undefined;
  private hub: ConsoleHub | undefined;
  private vncSessions: VncSessions | undefined;
  private readonly closing = new AbortController();
  private hasEnded = false;
  /** The domain has been seen running: when it is off, it has ended. */
  private hasRun = false;
  /** Started by us, not found: what libvirt says of it before it has run is about the start. */
  private isOurs = false;
  /** Forced off by us; then the guest did not end by itself. */
  private isForced = false;

  constructor(deps: GuestSessionDeps) {
    this.deps = deps;
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
  async find(name: string): Promise<{ readonly isActive: boolean; readonly isPaused: boolean } | undefined> {
    const libvirt = await this.connection;
    try {
      const { state, reason } = await libvirt.state(await libvirt.lookup(name));
      this.domainName = name;
      const isActive = state !== DOMAIN_STATE.shutoff && state !== DOMAIN_STATE.crashed;
      if (isActive && !this.hasRun && !this.isOurs) this.doubt(libvirt);
      this.hasRun ||= isActive;
      if (!isActive && this.isEnd(reason)) this.ended(CLEAN_SHUTOFF.includes(reason), 'while nobody watched');
      return { isActive, isPaused: state === DOMAIN_STATE.paused };
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
      onOutput: (chunk) => log.append(chunk),
    });
    this.hub.start();
    this.vncSessions = new VncSessions(() => connectBeneath(sandbox.dir, VNC_SOCKET));
  }

  get console(): ConsoleHub | undefined {
    return this.hub;
  }

  get vnc(): VncSessions | undefined {
    return this.vncSessions;
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
    this.hub?.close();
    this.vncSessions?.close();
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
    libvirt.closed.then(() => this.reconnect()).catch(() => {});
    return libvirt;
  }

  /** The daemon died: its init starts another, which adopts the domain. */
  private reconnect(): void {
    if (this.closing.signal.aborted) return;
    this.connection = this.connect();
    this.connection.then((libvirt) => this.domainName !== '' && this.doubt(libvirt)).catch(() => this.noticeDeadSandbox());
  }

  private noticeDeadSandbox(): void {
    if (!this.closing.signal.aborted && !this.isAlive) this.ended(false, 'its sandbox was killed');
  }

  /** Looks again and again whether the domain that this daemon took over is really there. */
  private doubt(libvirt: LibvirtConnection): void {
    const { signal } = this.closing;
    const look = async (): Promise<void> => {
      for (const waitMs of DOUBT_MS) {
        if (this.hasEnded || (await this.connection) !== libvirt) return;
        await this.find(this.domainName);
        await sleep(this.deps.clock, waitMs, signal);
      }
    };
    look().catch(() => {}); // a connection that failed is replaced, and its successor doubted in turn
  }

  private onDomainEvent(event: DomainEvent): void {
    if (event.type === 'agent') this.deps.onEvent(event);
    if (event.type.startsWith('device-')) this.deps.onEvent({ type: 'device', event });
    if (event.type !== 'lifecycle') return;
    if (event.event === LIFECYCLE.stopped) this.stopped(event.detail);
    else if (event.event === LIFECYCLE.crashed) this.ended(false, 'it crashed');
    else if (event.event === LIFECYCLE.resumed) this.deps.onEvent({ type: 'resumed' });
    else if (event.event === LIFECYCLE.suspended)
      this.deps.onEvent({ type: 'paused', reason: event.detail === IO_ERROR_SUSPEND ? 'PausedIOError' : 'PausedByUser' });
  }

  private stopped(detail: number): void {
    if (detail === STOPPED.shutdown || detail === STOPPED.saved || detail === STOPPED.fromSnapshot)
      this.ended(true, 'it shut down');
    else if (detail === STOPPED.destroyed) this.ended(false, this.isForced ? 'it was forced off' : 'it was destroyed');
    else this.ended(false, 'QEMU ended unexpectedly');
  }

  private ended(isClean: boolean, reason: string): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.deps.onEvent({ type: 'ended', phase: isClean ? 'Succeeded' : 'Failed', reason });
  }
}
