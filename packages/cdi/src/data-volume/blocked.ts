import type { StatusFacts } from './data-volume-status.ts';

/** Something outside the DataVolume keeps it from going on; looked at again when that changes, and now and then. */
export class Blocked extends Error {
  readonly problem: NonNullable<StatusFacts['problem']>;

  constructor(reason: string, message: string, phase = 'Pending') {
    super(message);
    this.problem = { reason, message, phase };
  }
}
