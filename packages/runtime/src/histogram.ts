import type { HistogramSeries, MetricFamily, MetricSample } from './metric-family.ts';

interface Series extends HistogramSeries {
  readonly counts: number[];
  sum: number;
}

export interface HistogramAbout {
  readonly name: string;
  readonly help: string;
  /** Upper bounds, smallest first. */
  readonly bounds: readonly number[];
}

/** Counts values by size. */
export class Histogram {
  private readonly series = new Map<string, Series>();
  private readonly about: HistogramAbout;

  constructor(about: HistogramAbout) {
    this.about = about;
  }

  observe(labels: Readonly<Record<string, string>>, value: number): void {
    const { bounds } = this.about;
    const key = Object.values(labels).join('\n');
    let found = this.series.get(key);
    if (found === undefined) {
      found = { labels, counts: Array.from({ length: bounds.length + 1 }, () => 0), sum: 0 };
      this.series.set(key, found);
    }
    const index = bounds.findIndex((bound) => value <= bound);
    const bucket = index < 0 ? bounds.length : index;
    found.counts[bucket] = (found.counts[bucket] ?? 0) + 1;
    found.sum += value;
  }

  /** Its samples are made when somebody looks at them: they are more than those of all other metrics together. */
  family(): MetricFamily {
    const { name, help, bounds } = this.about;
    const series = [...this.series.values()];
    return {
      ...{ name, help, type: 'histogram', buckets: { bounds, series } },
      get samples() {
        return series.flatMap((one) => samplesOf(one, bounds));
      },
    };
  }
}

function samplesOf({ labels, counts, sum }: HistogramSeries, bounds: readonly number[]): MetricSample[] {
  let total = 0;
  const buckets = counts.map((count, index): MetricSample => {
    total += count;
    const bound = bounds[index];
    return { suffix: '_bucket', labels: { ...labels, le: bound === undefined ? '+Inf' : String(bound) }, value: total };
  });
  return [...buckets, { suffix: '_sum', labels, value: sum }, { suffix: '_count', labels, value: total }];
}
