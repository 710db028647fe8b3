import { HostError } from '@slipway/hostapi';

/** A volume that cannot be made or used now; the message says why and what to do. Retried with back-off. */
export class VolumeError extends HostError {
  /** PascalCase, for events. */
  readonly reason: string;

  constructor(reason: string, message: string, cause?: unknown) {
    super(message, { command: 'volume', cause });
    this.name = 'VolumeError';
    this.reason = reason;
  }
}
