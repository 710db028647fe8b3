import type { Labels, Sample } from './promql/evaluate.ts';
import { type Expression, selectorsIn } from './promql/syntax.ts';

interface Series {
  readonly labels: Labels;
  readonly points: { readonly atMs: number; readonly value: number }[];
}

/** Past values of the metrics that some rule looks back over, and of no others. */
export class SampleHistory {
  private readonly series = new Map<string, Map<string, Series>>();
  private lastMs: number | undefined;

  /** Keeps the present values of what the expressions look back over, and forgets what none does any more. */
  note(expressions: readonly Expression[], known: ReadonlyMap<string, readonly Sample[]>, nowMs: number): void {
    const ranges = new Map<string, number>();
    for (const { name, rangeMs } of expressions.flatMap(selectorsIn))
      if (rangeMs !== undefined) ranges.set(name, Math.max(rangeMs, ranges.get(name) ?? 0));
    for (const name of this.series.keys()) if (!ranges.has(name)) this.series.delete(name);
    for (const [name, rangeMs] of ranges) this.keep(name, known.get(name) ?? [], nowMs, rangeMs);
    this.lastMs = nowMs;
  }

  increase(name: string, rangeMs: number, nowMs: number): readonly (Sample & { readonly overMs: number })[] {
    return [...(this.series.get(name)?.values() ?? [])].flatMap(({ labels, points }) => {
      const seen = points.filter(({ atMs }) => atMs >= nowMs - rangeMs);
      const [first] = seen;
      const last = seen.at(-1);
      if (first === undefined || last === undefined || first === last) return [];
      const steps = seen.slice(1).map(({ value }, index) => {
        const before = seen[index]?.value ?? 0;
        return value >= before ? value - before : value; // a counter that began anew
      });
      return [{ labels, value: steps.reduce((sum, step) => sum + step, 0), overMs: last.atMs - first.atMs }];
    });
  }

  private keep(name: string, samples: readonly Sample[], nowMs: number, rangeMs: number): void {
    const isNew = !this.series.has(name);
    const byLabels = this.series.get(name) ?? new Map<string, Series>();
    this.series.set(name, byLabels);
    for (const { labels, value } of samples) {
      const key = JSON.stringify(labels);
      const found = byLabels.get(key) ?? { labels, points: this.startOf(isNew) };
      byLabels.set(key, found);
      found.points.push({ atMs: nowMs, value });
    }
    for (const [key, { points }] of byLabels) {
      while (points[0] !== undefined && points[0].atMs < nowMs - rangeMs) points.shift();
      if (points.length === 0) byLabels.delete(key);
    }
  }

  /** A series that was not there when the metric was looked at last began at zero. */
  private startOf(isNew: boolean): Series['points'] {
    return isNew || this.lastMs === undefined ? [] : [{ atMs: this.lastMs, value: 0 }];
  }
}
