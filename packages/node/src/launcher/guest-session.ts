import { connectBeneath, isSameProcess } from '@slipway/hostapi';
import { type ConsoleLog, ConsoleHub, openConsoleLog, readConsoleLog, VncSessions } from '../console/index.ts';
import {
  DOMAIN_STATE,
  type DomainEvent,
  type DomainRef,
  ERROR_CODE,
  LIFECYCLE,
  LibvirtConnection,
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
  readonly onEvent: (event: GuestEvent) => void;
}

/** Domain shut-off reasons after which the guest counts as ended well. */
const CLEAN_SHUTOFF: readonly number[] = [1, 5, 7]; // shutdown, saved, from snapshot
const IO_ERROR_SUSPEND = 2;
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
  /** Forced off by us; then the guest did not end by itself. */
  private isForced = false;

  constructor(deps: GuestSessionDeps) {
    this.deps = deps;
    this.connection = this.connect();
    this.connection.catch(() => {}); // reported to whoever asks for it
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
      this.hasRun ||= isActive;
      // a daemon that was killed does not know why its domain is off
      if (!isActive && (reason !== 0 || this.hasRun)) this.ended(CLEAN_SHUTOFF.includes(reason), 'while nobody watched');
      return { isActive, isPaused: state === DOMAIN_STATE.paused };
    } catch (error) {
      if (error instanceof LibvirtError && error.code === ERROR_CODE.noDomain) return undefined;
      throw error;
    }
  }

  /** Defines and starts the domain. */
  async start(name: string, xml: string, paused: boolean): Promise<void> {
    const libvirt = await this.connection;
    this.domainName = name;
    await libvirt.create(await libvirt.define(xml), { paused });
    this.hasRun = true;
  }

  /** Serves the consoles of the running domain. */
  openConsoles(): void {
    const { sandbox, consoleLog } = this.deps;
    this.log = openConsoleLog(consoleLog);
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
    await (await this.connection).shutdown(await this.domain(), 'acpi');
  }

  async destroy(): Promise<void> {
    this.isForced = true;
    await (await this.connection).destroy(await this.domain());
  }

  close(): void {
    this.closing.abort(new Error('The session was closed'));
    this.hub?.close();
    this.vncSessions?.close();
    this.log?.close();
    this.log = undefined;
    this.connection.then((libvirt) => libvirt.close()).catch(() => {});
  }

  private async connect(): Promise<LibvirtConnection> {
    const { sandbox, programs } = this.deps;
    const isAlive = (): boolean => isSameProcess(sandbox.init);
    const onEvent = (event: DomainEvent): void => this.onDomainEvent(event);
    const libvirt = await connectLibvirt({ sandbox, programs, onEvent, isAlive }, this.closing.signal);
    libvirt.closed.then(() => this.reconnect()).catch(() => {});
    return libvirt;
  }

  /** The daemon died: its init starts another, which adopts the domain. */
  private reconnect(): void {
    if (this.closing.signal.aborted) return;
    this.connection = this.connect();
    this.connection
      .then(() => (this.domainName === '' ? undefined : this.find(this.domainName)))
      .then((found) => {
        if (found === undefined && this.domainName !== '') this.ended(false, 'libvirt lost it');
      })
      .catch(() => {
        if (!isSameProcess(this.deps.sandbox.init)) this.ended(false, 'its sandbox was killed');
      });
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
