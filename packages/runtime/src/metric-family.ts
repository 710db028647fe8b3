/** Samples of one metric, as Prometheus' text format groups them. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly samples: readonly MetricSample[];
}

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
