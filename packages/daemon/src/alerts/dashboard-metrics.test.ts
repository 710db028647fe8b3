import { dashboardFiles } from '@slipway/operators';
import { node } from '@slipway/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type MonitoredWorld, monitoredWorld } from './testing/monitored-world.ts';
import { REFERENCE_METRICS } from './testing/reference-metrics.ts';

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat?: string }[];
  readonly styles?: readonly { readonly pattern: string; readonly alias?: string }[];
}
interface Model {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly query: string; readonly type: string }[] };
}

/** Words of PromQL that stand where a metric could. */
const WORDS = new Set(['or', 'and', 'unless', 'by', 'on', 'group_left']);
const LABELLED = /\b(?:by|on|group_left) \([^)]*\)/g;
const HISTOGRAM = /_(?:bucket|sum|count)$/;
const list = (text: string): readonly string[] => text.split(',').map((label) => label.trim());

/** Metrics of an expression, with the labels that it selects them by. */
const selectorsOf = (expr: string): readonly (readonly [metric: string, labels: readonly string[]])[] =>
  [...expr.replace(LABELLED, '').matchAll(/(?<![\w"$.])([a-z_]\w*)(?:\{([^}]*)\})?(?!\w|\s*\()/g)]
    .filter(([, name = '']) => !WORDS.has(name) && !/^\d+[smhd]$/.test(name))
    .map(([, name = '', matchers = '']) => [
      name,
      [...matchers.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)].map(([, label = '']) => label),
    ]);

/** Labels that are left of a metric: `sum by (a, b) (rate(metric`. */
const groupingsOf = (expr: string): readonly (readonly [metric: string, labels: readonly string[]])[] =>
  [...expr.matchAll(/by \(([^)]*)\) \((?:[a-z_]+\()*([a-z_]\w*)/g)].map(([, labels = '', metric = '']) => [metric, list(labels)]);

let monitored: MonitoredWorld;
/** Labels by metric: as the references have them, and as the server shows what is its own. */
const known = new Map<string, ReadonlySet<string>>();
/** Shown without a sample here, by a server that nobody has connected to: test/e2e looks at their labels. */
const UNSEEN = /^apiserver_flowcontrol_/;

beforeAll(async () => {
  monitored = await monitoredWorld();
  await monitored.world.with(node('node-a'));
  await monitored.world.settle();
  const families = await monitored.families();
  for (const { name, samples } of families) known.set(name, new Set(samples.flatMap(({ labels = {} }) => Object.keys(labels))));
  const { body } = await monitored.world.client.raw({ method: 'GET', path: '/metrics' });
  for (const [, name = ''] of String(body).matchAll(/^# TYPE (\w+) /gm)) known.set(name, known.get(name) ?? new Set());
  for (const [, name = '', labels = ''] of String(body).matchAll(/^([a-z_]\w*)(?:\{(.*)\})? \S+$/gm))
    known.set(name, new Set([...(known.get(name) ?? []), ...[...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => label)]));
  for (const [name, , labels] of REFERENCE_METRICS)
    known.set(name, new Set([...(known.get(name) ?? []), ...labels.split(' ').filter((label) => label !== '')]));
}, 60_000);
afterAll(() => monitored.world.close());

function labelsOf(metric: string): ReadonlySet<string> | undefined {
  const found = known.get(metric) ?? known.get(metric.replace(HISTOGRAM, ''));
  return found && metric.endsWith('_bucket') ? new Set([...found, 'le']) : found;
}

describe.each(dashboardFiles())('the dashboard $name', ({ text }) => {
  const { panels, templating } = JSON.parse(text) as Model;
  const shown = panels.flatMap(({ title, targets = [], styles = [] }) =>
    targets.map(({ expr, legendFormat = '' }) => ({ title, expr, legendFormat, styles })),
  );
  const queries = templating.list.filter(({ type }) => type === 'query').map(({ query }) => query);

  it('asks for metrics that there are, by labels that they have', () => {
    const variables = queries.map((query) => query.replace(/^label_values\((.*), (\w+)\)$/, 'sum by ($2) ($1)'));
    for (const expr of [...shown.map((each) => each.expr), ...variables]) {
      const selectors = selectorsOf(expr);
      expect(selectors.length, expr).toBeGreaterThan(0);
      const groupings = groupingsOf(expr);
      for (const [metric, labels] of [...selectors, ...groupings]) {
        const has = labelsOf(metric);
        expect(has, `${metric} in ${expr}`).toBeDefined();
        if (UNSEEN.test(metric)) continue;
        expect([...(has ?? [])], `${metric} in ${expr}`).toEqual(expect.arrayContaining([...labels]));
      }
    }
  });

  it('names lines and columns by labels that are left', () => {
    for (const { title, expr, legendFormat, styles } of shown) {
      const named = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = '']) => label);
      const columns = styles.flatMap(({ pattern }) => (['Time', 'Value'].includes(pattern) ? [] : [pattern]));
      const groupings = groupingsOf(expr).flatMap(([, labels]) => labels);
      const all = selectorsOf(expr).flatMap(([metric]) => [...(labelsOf(metric) ?? [])]);
      const left = expr.includes('by (') ? groupings : all;
      expect([title, left]).toEqual([title, expect.arrayContaining([...named, ...columns])]);
    }
  });
});
