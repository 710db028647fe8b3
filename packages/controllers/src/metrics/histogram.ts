import type { MetricFamily, MetricSample } from '@slipway/runtime';

/** Seconds; as KubeVirt groups the times of phases. */
export const PHASE_BUCKETS = [0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 90, 120, 180, 300, 600, 1200, 1800, 3600] as const;

interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly counts: number[];
  sum: number;
  count: number;
}

/** Counts values by size. */
export class Histogram {
  private readonly series = new Map<string, Series>();
  private readonly about: { readonly name: string; readonly help: string };

  constructor(name: string, help: string) {
    this.about = { name, help };
  }

  observe(labels: Readonly<Record<string, string>>, value: number): void {
    const key = JSON.stringify(labels);
    const found = this.series.get(key) ?? { labels, counts: PHASE_BUCKETS.map(() => 0), sum: 0, count: 0 };
    this.series.set(key, found);
    for (const [index, bound] of PHASE_BUCKETS.entries())
      if (value <= bound) found.counts[index] = (found.counts[index] ?? 0) + 1;
    found.sum += value;
    found.count += 1;
  }

  family(): MetricFamily {
    return { ...this.about, type: 'histogram', samples: [...this.series.values()].flatMap(samplesOf) };
  }
}

function samplesOf({ labels, counts, sum, count }: Series): MetricSample[] {
  const bucket = (le: string, value: number): MetricSample => ({ suffix: '_bucket', labels: { ...labels, le }, value });
  return [
    ...PHASE_BUCKETS.map((bound, index) => bucket(String(bound), counts[index] ?? 0)),
    bucket('+Inf', count),
    { suffix: '_sum', labels, value: sum },
    { suffix: '_count', labels, value: count },
  ];
}
