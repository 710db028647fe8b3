import type { HistogramBuckets, MetricFamily } from '@slipway/runtime';

export type { MetricFamily };

/** One family in Prometheus' text format. */
export function renderFamily(family: MetricFamily): string {
  const { name, help, type, buckets } = family;
  const lines = buckets === undefined ? sampleLines(family) : bucketLines(name, buckets);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines}`;
}

const sampleLines = ({ name, samples }: MetricFamily): string =>
  samples
    .map(({ labels = {}, value, suffix = '' }) => {
      const text = labelText(labels);
      return `${name}${suffix}${text === '' ? '' : `{${text}}`} ${renderValue(value)}\n`;
    })
    .join('');

/** The same lines that the samples of the histogram would give, with the labels of a series written once for all of them. */
function bucketLines(name: string, { bounds, series }: HistogramBuckets): string {
  const limits = [...bounds.map(String), '+Inf'];
  let lines = '';
  for (const { labels, counts, sum } of series) {
    const text = labelText(labels);
    const before = `${name}_bucket{${text}${text === '' ? '' : ','}le="`;
    let total = 0;
    for (const [index, count] of counts.entries()) {
      total += count;
      lines += `${before}${limits[index]}"} ${total}\n`;
    }
    const all = text === '' ? '' : `{${text}}`;
    lines += `${name}_sum${all} ${renderValue(sum)}\n${name}_count${all} ${total}\n`;
  }
  return lines;
}

const labelText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(',');

const renderValue = (value: number): string =>
  Number.isFinite(value) ? String(value) : Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';

const SPECIAL = /[\\"\n]/;
const escaped = (value: string): string =>
  SPECIAL.test(value) ? value.replace(/[\\"\n]/g, (found) => (found === '\n' ? '\\n' : `\\${found}`)) : value;
