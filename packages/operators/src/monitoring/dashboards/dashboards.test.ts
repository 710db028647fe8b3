import { ConfigMapKind } from '@slipway/api';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { HCO_NAME, HyperConvergedKind } from '../../kinds.ts';
import { parsePromql } from '../promql/syntax.ts';
import { dashboardFiles, dashboardsController } from './index.ts';

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: string;
  readonly span?: number;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[];
  readonly styles?: readonly { readonly pattern: string; readonly alias?: string; readonly type: string }[];
  readonly panels?: readonly unknown[];
}
interface Model {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  readonly schemaVersion: number;
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string; readonly query: string }[] };
  readonly panels: readonly Panel[];
}

const files = dashboardFiles().map((file) => ({ ...file, model: JSON.parse(file.text) as Model }));
/** Those that Grafana itself fills in. */
const BUILT_IN = ['__range', '__rate_interval'];
const filledIn = (expr: string): string => expr.replace(/\$__\w+/g, '5m').replace(/\$\w+/g, '.+');

it('has the four dashboards, each under a name of its own', () => {
  expect(files.map(({ name }) => name)).toEqual([
    'kubevirt-top-consumers',
    'kubevirt-virtual-machines',
    'kubevirt-migrations',
    'slipway-control-plane',
  ]);
  expect(new Set(files.map(({ model }) => model.title)).size).toBe(files.length);
});

describe.each(files)('the dashboard $name', ({ name, model }) => {
  const { panels } = model;
  const shown = panels.filter(({ type }) => type !== 'row');
  const variables = model.templating.list;

  it('says what it is, in a form that Grafana and the console of OpenShift read', () => {
    expect(model.uid).toBe(name);
    expect(model.uid.length).toBeLessThanOrEqual(40);
    expect([model.title, model.description].every((text) => text.length > 10)).toBe(true);
    // a newer one, and Grafana would take the panels for present ones
    expect(model.schemaVersion).toBe(22);
    expect(['graph', 'row', 'singlestat', 'table']).toEqual(expect.arrayContaining(panels.map(({ type }) => type)));
    expect(panels[0]?.type).toBe('row');
  });

  it('has panels with titles and ids of their own, side by side', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { title, description = '' } of shown) expect([title, description]).not.toContain('');
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) => {
      expect([x >= 0, y >= 0, w > 0, h > 0, x + w <= 24]).toEqual([true, true, true, true, true]);
      return Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`);
    });
    expect(new Set(cells).size).toBe(cells.length);
    for (const { span, gridPos } of shown) expect(span).toBe(gridPos.w / 2);
  });

  it('asks the Prometheus that is chosen above, by expressions that are PromQL', () => {
    expect(variables[0]).toMatchObject({ name: 'datasource', type: 'datasource', query: 'prometheus' });
    const known = [...BUILT_IN, ...variables.map((variable) => variable.name)];
    for (const { datasource, title, targets = [] } of shown) {
      expect([title, datasource]).toEqual([title, '$datasource']);
      expect(targets.length).toBeGreaterThan(0);
      expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
      for (const { expr } of targets) {
        const used = [...expr.matchAll(/\$(\w+)/g)].map(([, variable = '']) => variable);
        expect(known).toEqual(expect.arrayContaining(used));
        expect(() => parsePromql(filledIn(expr)), expr).not.toThrow();
      }
    }
  });

  it('uses each variable that it offers, and fills it from labels', () => {
    const texts = [
      ...shown.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
      ...variables.map(({ query }) => query),
    ];
    for (const variable of variables.slice(1)) {
      expect(variable).toMatchObject({ type: 'query', datasource: '$datasource', includeAll: true, allValue: '.+' });
      expect(variable.query).toMatch(/^label_values\(.+, \w+\)$/);
      expect(texts.some((text) => text.includes(`"$${variable.name}"`))).toBe(true);
    }
  });

  it('names the columns of its tables', () => {
    for (const { styles = [] } of panels.filter(({ type }) => type === 'table')) {
      expect(styles[0]).toEqual({ pattern: 'Time', type: 'hidden' });
      expect(styles.at(-1)?.pattern).toBe('Value');
      const visible = styles.filter(({ type }) => type !== 'hidden');
      expect(visible.length).toBeGreaterThan(1);
      expect(visible.every(({ alias = '' }) => alias !== '')).toBe(true);
    }
  });
});

describe('dashboards for the console', () => {
  const PLACE = 'openshift-config-managed';
  const TOP = `${PLACE}/grafana-dashboard-kubevirt-top-consumers`;
  const hyperConverged = built(HyperConvergedKind, `openshift-cnv/${HCO_NAME}`, { spec: {} });
  let world: TestWorld;
  afterEach(() => world.close());

  async function started(): Promise<void> {
    world = testWorld({ controllers: [dashboardsController] });
    await world.with(hyperConverged);
    await world.settle();
  }

  it('come when nobody waits for the platform any more', async () => {
    await started();
    expect(await world.list(ConfigMapKind, PLACE)).toEqual([]);
    await world.advance(5_000);
    const objects = await world.list(ConfigMapKind, PLACE);
    expect(objects.map(({ metadata }) => metadata.name).toSorted((a = '', b = '') => a.localeCompare(b))).toEqual([
      'grafana-dashboard-kubevirt-migrations',
      'grafana-dashboard-kubevirt-top-consumers',
      'grafana-dashboard-kubevirt-virtual-machines',
      'grafana-dashboard-slipway-control-plane',
    ]);
    expect(objects.every(({ metadata }) => metadata.labels?.['console.openshift.io/dashboard'] === 'true')).toBe(true);
    const { data } = await world.get(ConfigMapKind, TOP);
    expect(data).toEqual({ 'kubevirt-top-consumers.json': dashboardFiles()[0]?.text });
    expect(await world.events()).toEqual([]);
  });

  it('come back as they were when somebody edits or deletes them', async () => {
    await started();
    await world.advance(5_000);
    const before = await world.get(ConfigMapKind, TOP);
    await world.client.update(ConfigMapKind, { ...before, data: { 'kubevirt-top-consumers.json': '{}' } });
    await world.settle();
    expect((await world.get(ConfigMapKind, TOP)).data).toEqual(before.data);
    expect(await world.events(hyperConverged)).toEqual([
      'Warning Overwritten Overwritten ConfigMap grafana-dashboard-kubevirt-top-consumers',
    ]);
    const unlabelled = { ...before.metadata, labels: {} };
    const { metadata } = await world.get(ConfigMapKind, TOP);
    await world.client.update(ConfigMapKind, {
      ...before,
      metadata: { ...unlabelled, resourceVersion: metadata.resourceVersion ?? '' },
    });
    await world.settle();
    expect((await world.get(ConfigMapKind, TOP)).metadata.labels).toEqual(before.metadata.labels);
    await world.client.delete(ConfigMapKind, { namespace: PLACE, name: before.metadata.name ?? '' });
    await world.settle();
    expect((await world.get(ConfigMapKind, TOP)).data).toEqual(before.data);
  });

  it('go with the HyperConverged, and leave those of others', async () => {
    await started();
    await world.with(
      built(ConfigMapKind, `${PLACE}/other`, { metadata: { labels: { 'console.openshift.io/dashboard': 'true' } }, data: {} }),
    );
    await world.advance(5_000);
    expect((await world.list(ConfigMapKind, PLACE)).length).toBe(5);
    await world.client.delete(HyperConvergedKind, { namespace: 'openshift-cnv', name: HCO_NAME });
    await world.settle();
    expect((await world.list(ConfigMapKind, PLACE)).map(({ metadata }) => metadata.name)).toEqual(['other']);
  });
});
