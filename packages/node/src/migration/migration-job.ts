import type { kubevirt } from '@slipway/api';
import { sleep } from '@slipway/runtime';
import { guestMemoryBytes } from '@slipway/virt';
import type { DomainRef, LibvirtConnection, MigrateOptions } from '../libvirt/index.ts';
import type { MovableGuest } from './contracts.ts';
import { downtimeLimitMs, type DowntimeSteps, jobLimits, type JobProgress, newProgress, watchJob } from './watch-job.ts';

const POLL_MS = 200;
/** Unless the migration's settings say something else. */
const MOST_DOWNTIME_MS = 900;

export interface MigrationJobDeps {
  readonly guest: MovableGuest;
  readonly libvirt: LibvirtConnection;
  readonly domain: DomainRef;
  readonly configuration: kubevirt.VMIMConfigurationOptions | undefined;
  readonly copiedBytes: number;
  readonly downtime: DowntimeSteps;
  /** Why the job must not go on; undefined when it may. */
  readonly abortReason: () => string | undefined;
  readonly onPaused: () => void;
  /** `isAsked`: somebody wanted that. */
  readonly onAborting: (isAsked: boolean) => void;
}

/** libvirt's job that moves one guest, and the watch over it. */
export class MigrationJob {
  /** Why it was aborted. */
  abortedFor: string | undefined;
  wasAsked = false;
  /** The guest was stopped so that it becomes ready. */
  hasPaused = false;
  private readonly deps: MigrationJobDeps;
  private hasEnded = false;
  private downtimeMs: number | undefined;

  constructor(deps: MigrationJobDeps) {
    this.deps = deps;
  }

  /** Resolves when libvirt says that the target has the guest; rejects when the job failed. */
  async run(options: MigrateOptions, signal: AbortSignal): Promise<void> {
    const { libvirt, domain } = this.deps;
    // before the job, which otherwise may end at once with as much left to send as libvirt allows
    await this.limitDowntime(0);
    const performed = libvirt.migrate(domain, options).finally(() => {
      this.hasEnded = true;
    });
    performed.catch(() => {});
    await Promise.race([performed, this.watch(signal)]);
    await performed;
  }

  private async watch(signal: AbortSignal): Promise<void> {
    const { guest, libvirt, domain, configuration, copiedBytes } = this.deps;
    const { clock } = guest;
    const limits = jobLimits(configuration, guestMemoryBytes(guest.vmi().spec.domain) + copiedBytes);
    let progress: JobProgress = newProgress(clock.now());
    this.downtimeMs = undefined; // once more now that the job runs
    while (!this.hasEnded) {
      await sleep(clock, POLL_MS, signal);
      const asked = this.deps.abortReason();
      if (asked !== undefined) await this.abort(asked, true);
      const stats = await libvirt.jobStats(domain).catch(() => undefined);
      if (this.hasEnded || stats === undefined) continue;
      if (Number(stats.get('memory_total') ?? 0) > 0) await this.limitDowntime(Number(stats.get('memory_iteration') ?? 0));
      const remainingBytes = Number(stats.get('data_remaining') ?? 0);
      const next = watchJob(progress, limits, { remainingBytes, nowMs: clock.now() });
      progress = next.progress;
      if (next.step.type === 'abort') await this.abort(next.step.reason, false);
      else if (next.step.type === 'pause') await this.pause();
    }
  }

  private async limitDowntime(round: number): Promise<void> {
    const { libvirt, domain, configuration, downtime } = this.deps;
    const limitMs = downtimeLimitMs(downtime, round, configuration?.maxDowntimeMs ?? MOST_DOWNTIME_MS);
    if (limitMs === this.downtimeMs) return;
    this.downtimeMs = limitMs;
    // without it the guest may stand still for a longer or shorter time
    await libvirt.limitDowntime(domain, limitMs).catch(() => {});
  }

  private async pause(): Promise<void> {
    this.hasPaused = true;
    await this.deps.libvirt.suspend(this.deps.domain).catch(() => {});
    this.deps.onPaused();
  }

  private async abort(reason: string, isAsked: boolean): Promise<void> {
    if (this.abortedFor === undefined) this.deps.onAborting(isAsked);
    this.abortedFor ??= reason;
    this.wasAsked ||= isAsked;
    await this.deps.libvirt.abortJob(this.deps.domain).catch(() => {}); // it may have ended just then
  }
}
