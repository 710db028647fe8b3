/** What is done to a migration. */
export const DISTURBANCES = [
  'abort',
  'source agent killed',
  'target agent killed',
  'both agents killed',
  'source guest killed',
  'target guest killed',
  'source link cut',
  'target link cut',
] as const;
export type Disturbance = (typeof DISTURBANCES)[number];

/**
 * When it is done: the nodes are told; memory and disks are copied; the source writes its decision; the source's guest is
 * gone and the target's does not run yet.
 */
export const MOMENTS = ['preparing', 'copying', 'deciding', 'decided'] as const;
export type Moment = (typeof MOMENTS)[number];

/** Guests by their network; each has the disks that `DISKS` names. */
export const GUESTS = ['masquerade', 'bridge', 'lean'] as const;
export type GuestKind = (typeof GUESTS)[number];

/** What the guest does: nothing, write to all disks, write to its memory faster than some links copy. */
export const LOADS = ['idle', 'writing', 'dirtying'] as const;
export type Load = (typeof LOADS)[number];

export interface MigrationRow {
  readonly disturbance: Disturbance;
  readonly moment: Moment;
  readonly guest: GuestKind;
  readonly load: Load;
  /** Somebody has paused the guest before. */
  readonly isPaused: boolean;
}

/**
 * A covering set: each disturbance at each moment, and each of these two with each guest, load and pause; guest and load
 * with each other too. The full product would be 576. Pure.
 */
export function migrationRows(): readonly MigrationRow[] {
  return DISTURBANCES.flatMap((disturbance, d) =>
    MOMENTS.map((moment, m): MigrationRow => {
      // two Latin squares: of two factors that are known each third takes every value
      const guest = GUESTS[(d + m) % GUESTS.length] ?? 'masquerade';
      const load = LOADS[(d + 2 * m) % LOADS.length] ?? 'idle';
      return { disturbance, moment, guest, load, isPaused: m === (d + 1) % MOMENTS.length };
    }),
  );
}

/** How a migration may end: the guest is elsewhere, stays, or has died and runs anew. */
export type Outcome = 'moved' | 'kept' | 'restarted';

/** Where the guest was when it was killed is where it has died. */
const KILLED: Partial<Record<Disturbance, Readonly<Record<Moment, readonly Outcome[]>>>> = {
  'source guest killed': {
    preparing: ['restarted'],
    copying: ['restarted'],
    deciding: ['moved', 'restarted'],
    decided: ['moved'],
  },
  'target guest killed': {
    preparing: ['kept'],
    copying: ['kept'],
    deciding: ['kept', 'restarted'],
    decided: ['restarted'],
  },
};

/** What may become of the guest of a row, in the end. Pure. */
export function allowedOutcomes({ disturbance, moment }: MigrationRow): readonly Outcome[] {
  const killed = KILLED[disturbance];
  if (killed !== undefined) return killed[moment];
  if (moment === 'decided') return ['moved'];
  if (disturbance === 'abort' && moment !== 'deciding') return ['kept'];
  // what is told again, or goes on after a pause, gets there
  return ['moved', 'kept'];
}
