import { connectBeneath } from '@slipway/hostapi';
import type { TimerClock } from '@slipway/runtime';
import { type ConsoleLog, ConsoleHub, openConsoleLog, readConsoleLog, UsbRedirections, VncSessions } from '../console/index.ts';
import type { RunningSandbox } from '../sandbox/index.ts';
import { SERIAL_SOCKET, USB_SOCKETS, VNC_SOCKET } from './domain-facts.ts';

const SCROLLBACK_BYTES = 64 * 1024;

export interface GuestConsolesDeps {
  readonly sandbox: Pick<RunningSandbox, 'dir'>;
  /** File that keeps what the serial console shows. */
  readonly log: string;
  readonly clock: TimerClock;
  /** Hears what the guest writes to its serial console. */
  readonly onOutput: (chunk: Uint8Array) => void;
  /** The guest writes more than anybody reads. */
  readonly onFlood: () => void;
}

/** The ways to see and touch a running guest: its serial console, which is logged, VNC and USB. Owns them until `close`. */
export class GuestConsoles {
  readonly serial: ConsoleHub;
  readonly vnc: VncSessions;
  readonly usb: UsbRedirections;
  private log: ConsoleLog | undefined;

  constructor({ sandbox, log: file, clock, onOutput, onFlood }: GuestConsolesDeps) {
    const log = openConsoleLog(file, { now: () => clock.now() });
    this.log = log;
    this.serial = new ConsoleHub({
      socketPath: SERIAL_SOCKET,
      // the directory belongs to the guest's user
      connect: () => connectBeneath(sandbox.dir, SERIAL_SOCKET),
      earlier: readConsoleLog(file, SCROLLBACK_BYTES),
      onOutput: (chunk) => {
        log.append(chunk);
        onOutput(chunk);
      },
      onFlood,
      clock,
    });
    this.serial.start();
    this.vnc = new VncSessions(() => connectBeneath(sandbox.dir, VNC_SOCKET));
    this.usb = new UsbRedirections((slot) => connectBeneath(sandbox.dir, `${USB_SOCKETS}${slot}`));
  }

  close(): void {
    this.serial.close();
    this.vnc.close();
    this.usb.close();
    this.log?.close();
    this.log = undefined;
  }
}
