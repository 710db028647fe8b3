import type { Clock } from '@slipway/runtime';

/** One line of progress, as the node agent reads it. */
export interface ProgressLine {
  readonly phase: 'Download' | 'Convert' | 'Copy';
  /** 0 to 100, of the whole transfer. */
  readonly percent?: number;
  readonly bytes: number;
  readonly totalBytes?: number;
  readonly bytesPerSecond?: number;
  readonly etaSeconds?: number;
  /** What the transfer waits for. */
  readonly problem?: string;
}

const INTERVAL_MS = 500;
/** The whole line is an annotation, which is cut at 512 characters. */
const MAX_PROBLEM = 200;

/** Tells how far a transfer is: at most twice a second, never backwards. */
export class ProgressReporter {
  private lastMs = 0;
  private lastPercent = 0;
  private last: ProgressLine = { phase: 'Download', bytes: 0 };
  private readonly startMs: number;
  private startBytes: number | undefined;

  private readonly clock: Clock;
  private readonly print: (line: string) => void;

  constructor(clock: Clock, print: (line: string) => void) {
    this.clock = clock;
    this.print = print;
    this.startMs = clock.now();
  }

  /** Share of the download in the whole, 0 to 1; the rest is conversion. */
  downloadShare = 1;

  download(bytes: number, totalBytes: number | undefined): void {
    this.startBytes ??= bytes;
    const elapsedSeconds = (this.clock.now() - this.startMs) / 1000;
    const rate = elapsedSeconds > 0 ? Math.round((bytes - this.startBytes) / elapsedSeconds) : 0;
    this.report({
      phase: 'Download',
      bytes,
      ...(totalBytes && { totalBytes, percent: (bytes / totalBytes) * 100 * this.downloadShare }),
      ...(rate > 0 && { bytesPerSecond: rate }),
      ...(rate > 0 && totalBytes && { etaSeconds: Math.ceil((totalBytes - bytes) / rate) }),
    });
  }

  convert(percent: number, totalBytes: number): void {
    const whole = 100 * this.downloadShare + percent * (1 - this.downloadShare);
    this.report({ phase: 'Convert', bytes: Math.round((totalBytes * percent) / 100), totalBytes, percent: whole });
  }

  /** The transfer waits: told at once, with how far it is. */
  paused(problem: string): void {
    this.lastMs = 0;
    this.report({ ...this.last, problem: problem.slice(0, MAX_PROBLEM) });
  }

  private report(line: ProgressLine): void {
    const now = this.clock.now();
    if (now - this.lastMs < INTERVAL_MS) return;
    this.lastMs = now;
    const { problem: _, bytesPerSecond: _rate, etaSeconds: _eta, ...last } = line;
    this.last = last;
    if (line.percent !== undefined) this.lastPercent = Math.max(this.lastPercent, Math.round(line.percent * 100) / 100);
    this.print(JSON.stringify(line.percent === undefined ? line : { ...line, percent: this.lastPercent }));
  }
}
