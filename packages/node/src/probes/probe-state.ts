import type { ProbeKind, ProbeSpec } from './probe-spec.ts';

/** What the answers so far amount to. */
export interface ProbeState {
  readonly isPassing: boolean;
  /** The last answer, and how many like it came in a row. */
  readonly last: boolean | undefined;
  readonly inARow: number;
}

/** Before the first answer a guest is alive, and not ready; `known` is what was found out before this agent started. */
export function initialState(kind: ProbeKind, known?: boolean): ProbeState {
  return { isPassing: kind === 'liveness' || known === true, last: undefined, inARow: 0 };
}

/** The state after one more answer. Pure. */
export function nextState(
  { isPassing, last, inARow }: ProbeState,
  answer: boolean,
  { successThreshold, failureThreshold }: Pick<ProbeSpec, 'successThreshold' | 'failureThreshold'>,
): ProbeState {
  const count = answer === last ? inARow + 1 : 1;
  const isDecided = count >= (answer ? successThreshold : failureThreshold);
  return { isPassing: isDecided ? answer : isPassing, last: answer, inARow: count };
}
