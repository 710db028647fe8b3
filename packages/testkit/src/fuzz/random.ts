/** A source of numbers that gives the same sequence for the same seed. */
export interface Random {
  /** From 0 to limit - 1. */
  below(limit: number): number;
  chance(share: number): boolean;
  pick<T>(choices: readonly T[]): T;
  bytes(maxLength: number): Buffer;
}

/** xorshift32: fast, and good enough to make inputs. */
export function seededRandom(seed: number): Random {
  let state = seed | 0 || 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const below = (limit: number): number => (limit <= 1 ? 0 : next() % limit);
  return {
    below,
    chance: (share) => next() < share * 0x1_0000_0000,
    pick: (choices) => {
      const choice = choices[below(choices.length)];
      if (choice === undefined && choices.length === 0) throw new Error('Nothing to choose from');
      return choice as (typeof choices)[number]; // the index is inside
    },
    bytes: (maxLength) => Buffer.from(Array.from({ length: below(maxLength + 1) }, () => below(256))),
  };
}
