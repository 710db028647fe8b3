import type { kubevirt } from '@slipway/api';

type Configuration = kubevirt.VMIMConfigurationOptions & Pick<kubevirt.MigrationConfiguration, 'progressTimeout'>;

/** What limits a migration; times in milliseconds. */
export interface JobLimits {
  readonly progressTimeoutMs: number;
  readonly completionTimeoutMs: number;
  /** The guest may be stopped when it does not become ready otherwise. */
  readonly mayPause: boolean;
}

/** What was seen of a job so far. */
export interface JobProgress {
  readonly startedMs: number;
  readonly leastRemainingBytes: number;
  readonly progressedMs: number;
  readonly isPaused: boolean;
}

export type JobStep =
  | { readonly type: 'wait' }
  | { readonly type: 'pause' }
  | { readonly type: 'abort'; readonly reason: string };

const GIB = 1024 ** 3;
const [DEFAULT_PROGRESS_SECONDS, DEFAULT_SECONDS_PER_GIB] = [150, 150];

/** KubeVirt-compat: the time to complete grows with memory and disks that are sent, and is at least that of one GiB. */
export function jobLimits(configuration: Configuration | undefined, sentBytes: number): JobLimits {
  const { progressTimeout = DEFAULT_PROGRESS_SECONDS, completionTimeoutPerGiB = DEFAULT_SECONDS_PER_GIB } = configuration ?? {};
  return {
    progressTimeoutMs: progressTimeout * 1000,
    completionTimeoutMs: completionTimeoutPerGiB * Math.max(1, Math.ceil(sentBytes / GIB)) * 1000,
    mayPause: configuration?.allowWorkloadDisruption ?? configuration?.allowPostCopy ?? false,
  };
}

/** How long a guest may stand still at the end: at first, and for how many rounds of sending what has changed. */
export interface DowntimeSteps {
  readonly firstMs: number;
  readonly rounds: number;
}

const STEPS: DowntimeSteps = { firstMs: 50, rounds: 3 };
/**
 * For guests without KVM the number of rounds is what counts: QEMU before 9.0 misses changes that an emulated processor makes
 * while another round is being sent (its commit 03bfc2188f), and the guest arrives with old memory.
 */
const EMULATED_STEPS: DowntimeSteps = { firstMs: 300, rounds: 1 };

/** The steps of a domain, by its document. Pure. */
export const downtimeSteps = (domainXml: string): DowntimeSteps =>
  /^\s*<domain [^>]*type=['"]qemu['"]/.test(domainXml) ? EMULATED_STEPS : STEPS;

/**
 * For how long the guest may stand still at the end, in this round of sending what it has changed meanwhile: first as short as
 * a guest that does little needs it, then ever longer for one that changes more than can be sent. Pure.
 */
export function downtimeLimitMs({ firstMs, rounds }: DowntimeSteps, round: number, mostMs: number): number {
  const doubled = Math.min(Math.max(0, round - rounds), 16);
  return Math.min(firstMs * 2 ** doubled, mostMs);
}

export const newProgress = (nowMs: number): JobProgress => ({
  ...{ startedMs: nowMs, leastRemainingBytes: Number.POSITIVE_INFINITY, progressedMs: nowMs, isPaused: false },
});

/** What becomes of a job that has so much left to send. Pure. */
export function watchJob(
  before: JobProgress,
  limits: JobLimits,
  { remainingBytes, nowMs }: { readonly remainingBytes: number; readonly nowMs: number },
): { readonly progress: JobProgress; readonly step: JobStep } {
  const hasProgressed = remainingBytes < before.leastRemainingBytes;
  const progress = hasProgressed ? { ...before, leastRemainingBytes: remainingBytes, progressedMs: nowMs } : before;
  const quietMs = nowMs - progress.progressedMs;
  if (limits.progressTimeoutMs > 0 && quietMs > limits.progressTimeoutMs) {
    const reason = `Live migration stuck for ${Math.floor(quietMs / 1000)} seconds and has been aborted`;
    return { progress, step: { type: 'abort', reason } };
  }
  const elapsedMs = nowMs - progress.startedMs;
  if (limits.completionTimeoutMs <= 0 || elapsedMs <= limits.completionTimeoutMs) return { progress, step: { type: 'wait' } };
  if (progress.isPaused) {
    // a guest that stands still has had its time once more
    if (elapsedMs <= 2 * limits.completionTimeoutMs) return { progress, step: { type: 'wait' } };
  } else if (limits.mayPause) return { progress: { ...progress, isPaused: true }, step: { type: 'pause' } };
  const reason = `Live migration is not completed after ${Math.floor(elapsedMs / 1000)} seconds and has been aborted`;
  return { progress, step: { type: 'abort', reason } };
}
