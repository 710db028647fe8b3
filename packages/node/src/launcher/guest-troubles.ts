import { GuestTrouble } from '@slipway/api';
import { RateBudget, type RateLimit, type TimerClock } from '@slipway/runtime';
import { FirmwareWatch } from '../console/index.ts';
import type { GuestEvent } from './guest-event.ts';

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

export interface GuestTroublesDeps {
  readonly clock: TimerClock;
  readonly onEvent: (event: GuestEvent) => void;
  /** The guest boots signed loaders alone. */
  readonly hasSecureBoot?: boolean | undefined;
}

/** Tells people what a guest does that no guest should, and what they can do about it. */
export class GuestTroubles {
  private readonly deps: GuestTroublesDeps;
  private readonly firmware: FirmwareWatch | undefined;
  private readonly resets: RateBudget;
  private toldResetsMs = Number.NEGATIVE_INFINITY;

  constructor(deps: GuestTroublesDeps) {
    this.deps = deps;
    this.firmware = deps.hasSecureBoot ? new FirmwareWatch() : undefined;
    this.resets = new RateBudget(RESETS, deps.clock);
  }

  tell(reason: keyof typeof TROUBLE_TEXT): void {
    this.deps.onEvent({ type: 'trouble', reason, message: TROUBLE_TEXT[reason] });
  }

  countReset(): void {
    const now = this.deps.clock.now();
    if (this.resets.tryTake(1) === 0 || now - this.toldResetsMs < TELL_RESETS_MS) return;
    this.toldResetsMs = now;
    this.tell(GuestTrouble.resetLoop);
  }

  /** Reads along what firmware and guest write to the serial console. */
  watchConsole(chunk: Uint8Array): void {
    const entry = this.firmware?.see(chunk);
    if (entry === undefined) return;
    const message = `Secure boot refused ${entry}: the boot loader is not signed by a key that the firmware trusts. Use an image with a signed loader, or set firmware.bootloader.efi.secureBoot to false`;
    this.deps.onEvent({ type: 'trouble', reason: GuestTrouble.bootRefused, message });
  }
}
