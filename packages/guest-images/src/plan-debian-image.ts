import type { BuildPlan } from './build-plan.ts';

/** Debian 12 with real cloud-init. */
export function planDebianImage(): BuildPlan {
  throw new Error('not yet');
}
