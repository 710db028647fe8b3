import { GuestTrouble } from '@slipway/api';
import { sleep } from '@slipway/runtime';
import type { GuestControl, LaunchView } from './launch-view.ts';

const DEFAULT_GRACE_SECONDS = 30;
/** A guest that was still booting missed the power button: it is pressed again. */
const POWER_BUTTON_EVERY_MS = 5_000;
const RETRY_MS = 500;

/** Ends a running guest: the power button until the guest is off or its grace period is over, then the plug. */
export class GuestShutdown {
  private readonly launch: LaunchView;
  private readonly session: GuestControl;
  private isUnderWay = false;
  private startMs: number | undefined;
  private wasForcedAtOnce = false;
  private hasTold = false;

  constructor(launch: LaunchView, session: GuestControl) {
    this.launch = launch;
    this.session = session;
  }

  /** Without a grace period being switched off is a clean end. */
  get isClean(): boolean {
    return this.wasForcedAtOnce;
  }

  /** Starts once; what fails is tried again until the guest has ended. */
  begin(): void {
    if (this.isUnderWay || this.launch.hasEnded()) return;
    this.isUnderWay = true;
    this.shutDown()
      .catch((error: unknown) => this.beginAgain(error))
      .catch(() => {});
  }

  private async beginAgain(error: unknown): Promise<void> {
    const { deps, pod, signal } = this.launch;
    this.isUnderWay = false;
    deps.log.warn({ pod: pod.key, error: String(error) }, 'guest not shut down');
    await sleep(deps.clock, RETRY_MS, signal);
    this.begin(); // its libvirt may have been killed just then
  }

  /** Read again and again: a forced stop makes the period shorter while it runs. */
  private graceMs(): number {
    return (this.launch.writer.current.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000;
  }

  private async shutDown(): Promise<void> {
    const { deps, writer, ended } = this.launch;
    const { clock, events } = deps;
    const isFirst = this.startMs === undefined;
    const startMs = (this.startMs ??= clock.now());
    const leftMs = (): number => startMs + this.graceMs() - clock.now();
    if (this.graceMs() > 0 && isFirst) events.normal(writer.current, 'ShuttingDown', 'Signaled Graceful Shutdown');
    while (!this.launch.hasEnded() && leftMs() > 0) {
      await this.session.powerDown().catch(() => {}); // a guest that is just ending refuses
      await this.untilLater(Math.min(POWER_BUTTON_EVERY_MS, leftMs()));
    }
    if (this.launch.hasEnded()) return;
    this.wasForcedAtOnce = this.graceMs() === 0;
    if (!this.wasForcedAtOnce && !this.hasTold) {
      this.hasTold = true;
      const message = `The guest did not shut down within ${this.graceMs() / 1000} s (terminationGracePeriodSeconds) and is switched off. Let it follow the power button (systemd-logind or acpid in the guest), or give it more time`;
      events.warning(writer.current, GuestTrouble.shutdownIgnored, message);
    }
    await this.session.destroy();
    await ended;
  }

  /** Waits for the time, the end of the guest, or another grace period. */
  private async untilLater(waitMs: number): Promise<void> {
    const { deps, ended, signal } = this.launch;
    const before = this.graceMs();
    const waited = sleep(deps.clock, waitMs, signal).then(() => true);
    const isOff = ended.then(() => true);
    for (let isOver = false; !isOver && this.graceMs() === before; )
      isOver = await Promise.race([waited, isOff, this.launch.changed().then(() => false)]);
  }
}
