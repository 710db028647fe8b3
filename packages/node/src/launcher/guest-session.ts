import { isSameProcess } from '@slipway/hostapi';
import { GuestTrouble } from '@slipway/api';
import { backOffDelay, type RateLimit, sleep, type TimerClock } from '@slipway/runtime';
import type { ConsoleHub, UsbRedirections, VncSessions } from '../console/index.ts';
import {
  DOMAIN_STATE,
  type DomainEvent,
  type DomainRef,
  ERROR_CODE,
  LIFECYCLE,
  type LibvirtConnection,
  LibvirtError,
  WATCHDOG_POWEROFF,
} from '../libvirt/index.ts';
import { connectLibvirt, type HostPrograms, type RunningSandbox } from '../sandbox/index.ts';
import { EventGate } from './event-gate.ts';
import { GuestConsoles } from './guest-consoles.ts';
import {
  endByCrash,
  endByStop,
  endedBadly,
  type EndEvent,
  endUnwatched,
  type GuestEvent,
  powerAtSuspension,
  type PowerEvent,
  powerOf,
} from './guest-event.ts';
import { GuestTroubles } from './guest-troubles.ts';

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

const [REASON_UNKNOWN, REASON_FAILED_START] = [0, 6];
/**
 * A daemon that was started again believes for a while in a QEMU that is gone, and finds out without an event: it is
 * asked until it must have.
 */
const DOUBT_MS = [200, 1_000, 5_000, 15_000, 60_000] as const;
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

/** The connection to one sandbox's libvirt and what hangs on the domain: consoles, events. Owns them until `close`. */
export class GuestSession {
  private readonly deps: GuestSessionDeps;
  private connection: Promise<LibvirtConnection>;
  private domainName = '';
  private consoles: GuestConsoles | undefined;
  private readonly closing = new AbortController();
  private hasEnded = false;
  /** The domain has been seen running: when it is off, it has ended. */
  private hasRun = false;
  private lastPower: PowerEvent['type'] = 'resumed';
  /** Started by us, not found: what libvirt says of it before it has run is about the start. */
  private isOurs = false;
  private readonly gates: Readonly<Record<keyof typeof EVENT_LIMITS, EventGate<GuestEvent>>>;
  private readonly troubles: GuestTroubles;
  /** Connections that ended soon, one after the other. */
  private shortLives = 0;
  /** Forced off by us; then the guest did not end by itself. */
  private isForced = false;
  /** The watchdog switches the guest off: its QEMU exits right after saying so. */
  private isWatchdogOff = false;

  constructor(deps: GuestSessionDeps) {
    this.deps = deps;
    this.troubles = new GuestTroubles(deps);
    const gate = (limit: RateLimit): EventGate<GuestEvent> =>
      new EventGate({
        limit,
        clock: deps.clock,
        deliver: deps.onEvent,
        onFlood: () => this.troubles.tell(GuestTrouble.eventFlood),
      });
    const { agent, power, device } = EVENT_LIMITS;
    this.gates = { agent: gate(agent), power: gate(power), device: gate(device) };
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
      if (!isActive && this.isEnd(reason)) this.ended(endUnwatched(reason));
      return { isActive, power };
    } catch (error) {
      if (!(error instanceof LibvirtError) || error.code !== ERROR_CODE.noDomain) throw error;
      if (this.hasRun) this.ended(endedBadly('libvirt lost it'));
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
    const { sandbox, consoleLog, clock } = this.deps;
    this.consoles ??= new GuestConsoles({
      ...{ sandbox, log: consoleLog, clock },
      onOutput: (chunk) => this.troubles.watchConsole(chunk),
      onFlood: () => this.troubles.tell(GuestTrouble.consoleFlood),
    });
  }

  get console(): ConsoleHub | undefined {
    return this.consoles?.serial;
  }

  get vnc(): VncSessions | undefined {
    return this.consoles?.vnc;
  }

  get usb(): UsbRedirections | undefined {
    return this.consoles?.usb;
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
    this.consoles?.close();
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
    if (!this.closing.signal.aborted && !this.isAlive) this.ended(endedBadly('its sandbox was killed'));
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
    else if (event.type === 'reboot') this.troubles.countReset();
    else if (event.type === 'watchdog') this.isWatchdogOff ||= event.action === WATCHDOG_POWEROFF;
    if (event.type !== 'lifecycle') return;
    const { isForced, isWatchdogOff } = this;
    if (event.event === LIFECYCLE.stopped) this.ended(endByStop(event.detail, { isForced, isWatchdogOff }));
    else if (event.event === LIFECYCLE.crashed) this.ended(endByCrash(event.detail));
    else if (event.event === LIFECYCLE.resumed) this.tellPower({ type: 'resumed' });
    else if (event.event === LIFECYCLE.suspended) this.tellPower(powerAtSuspension(event.detail));
  }

  private tellPower(event: PowerEvent | undefined): void {
    if (event === undefined) return;
    this.lastPower = event.type;
    this.gates.power.offer('power', event);
  }

  private ended(event: EndEvent): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.deps.onEvent(event);
  }
}

const deviceKey = (event: DomainEvent): string => `${event.type} ${'alias' in event ? event.alias.slice(0, 128) : ''}`;
