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

/** What may become of the guest of a row. Pure. */
export function allowedOutcomes({ disturbance, moment }: MigrationRow): readonly Outcome[] {
  const isKill = disturbance.endsWith('guest killed');
  if (moment === 'decided') return disturbance === 'target guest killed' ? ['restarted', 'moved'] : ['moved'];
  if (moment === 'deciding') return isKill ? ['moved', 'kept', 'restarted'] : ['moved', 'kept'];
  if (disturbance === 'source guest killed') return ['restarted'];
  if (disturbance === 'abort' || isKill) return ['kept'];
  // what is told again, or goes on after a pause, gets there
  return ['moved', 'kept'];
}
