/** Reading a text costs a tenth of a unit per character. */
export const PER_CHARACTER = 0.1;
export const PER_PATTERN_CHARACTER = 0.25;
/** One turn of a loop, beyond what stands in it. */
export const STEP_COST = 3;
