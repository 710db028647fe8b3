/** What one rendering may use; templates come from people who are not trusted. */
export interface Limits {
  /** Nodes executed, list items made, values printed. */
  readonly maxSteps: number;
  /** Characters made by all functions and templates together. */
  readonly maxCharacters: number;
  /** How deep templates may call each other. */
  readonly maxDepth: number;
}

export const DEFAULT_LIMITS: Limits = { maxSteps: 5_000_000, maxCharacters: 256 * 1024 * 1024, maxDepth: 1000 };

/** The template asked for more than it may have. */
export class LimitExceeded extends Error {}

/** Counts what a rendering uses and ends it when it is too much. */
export class Budget {
  private steps = 0;
  private characters = 0;
  readonly limits: Limits;
  private readonly deadline: { readonly now: () => number; readonly at: number } | undefined;

  constructor(limits: Limits = DEFAULT_LIMITS, deadline?: { readonly now: () => number; readonly at: number }) {
    this.limits = limits;
    this.deadline = deadline;
  }

  step(count = 1): void {
    const before = this.steps;
    this.steps += count;
    if (this.steps > this.limits.maxSteps) throw new LimitExceeded(`the template takes more than ${this.limits.maxSteps} steps`);
    if (this.deadline && before >> 10 !== this.steps >> 10 && this.deadline.now() > this.deadline.at)
      throw new LimitExceeded('the template takes too long');
  }

  /** Call before making a text of this length. */
  grow(characters: number): void {
    this.characters += characters;
    if (!(this.characters <= this.limits.maxCharacters))
      throw new LimitExceeded(`the template makes more than ${this.limits.maxCharacters} characters`);
  }
}
