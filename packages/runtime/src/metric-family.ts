/** Samples of one metric, as Prometheus' text format groups them. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly samples: readonly MetricSample[];
  /** Of a histogram: what its samples are made of, for who needs only their text. */
  readonly buckets?: HistogramBuckets;
}

export interface HistogramBuckets {
  /** Upper bounds, smallest first. */
  readonly bounds: readonly number[];
  readonly series: readonly HistogramSeries[];
}

export interface HistogramSeries {
  readonly labels: Readonly<Record<string, string>>;
  /** Values up to each bound and above the one before it; the last are above all bounds. */
  readonly counts: readonly number[];
  readonly sum: number;
}

/** Whether somebody asks for the metric of this name; what nobody asks for need not be computed. */
export type MetricFilter = (name: string) => boolean;

export const everyMetric: MetricFilter = () => true;

export interface MetricSample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
  /** What follows the family's name: a histogram has samples `_bucket`, `_sum` and `_count`. */
  readonly suffix?: '_bucket' | '_sum' | '_count';
}

/** A family with one sample without labels. */
export const gauge = (name: string, help: string, value: number): MetricFamily => ({
  name,
  help,
  type: 'gauge',
  samples: [{ value }],
});
