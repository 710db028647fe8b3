import type { Dashboard, Graph, Panel, Stat, Table, Variable } from './dashboard.ts';

/** Columns of a dashboard. */
const WIDTH = 24;
const SIZES: Readonly<Record<Panel['type'], { readonly w: number; readonly h: number }>> = {
  stat: { w: 4, h: 4 },
  graph: { w: 12, h: 8 },
  table: { w: 12, h: 8 },
};
/**
 * The console of OpenShift shows the panel types `graph`, `singlestat` and `table` (with `styles`) and no newer ones. Grafana
 * turns these into its present types when a dashboard says this version or an older one; from 24 on it takes a table as new.
 */
const SCHEMA_VERSION = 22;
const DATASOURCE = '$datasource';

type Json = Readonly<Record<string, unknown>>;

/** A dashboard in Grafana's JSON model, for a Grafana and for the console of OpenShift alike. */
export function renderDashboard({ name, title, description, variables, rows }: Dashboard): Json {
  const panels: Json[] = [];
  let y = 0;
  for (const row of rows) {
    panels.push(rowPanel(row.title, panels.length + 1, y));
    y += 1;
    for (const { panel, x, top } of placed(row.panels)) {
      const { w, h } = SIZES[panel.type];
      const gridPos = { x, y: y + top, w, h };
      // the console counts twelve columns
      panels.push({ id: panels.length + 1, ...aboutPanel(panel), gridPos, span: w / 2, ...bodyOf(panel) });
    }
    y += heightOf(row.panels);
  }
  return {
    title,
    uid: name,
    description,
    tags: ['kubevirt', 'slipway'],
    schemaVersion: SCHEMA_VERSION,
    version: 1,
    editable: true,
    graphTooltip: 1,
    time: { from: 'now-1h', to: 'now' },
    refresh: '1m',
    timezone: 'browser',
    annotations: { list: [] },
    links: [],
    templating: { list: [datasourceVariable, ...variables.map(queryVariable)] },
    panels,
  };
}

interface Placed {
  readonly panel: Panel;
  readonly x: number;
  readonly top: number;
}

/** From left to right; what does not fit begins a new line. */
function placed(panels: readonly Panel[]): readonly Placed[] {
  let [x, top, height] = [0, 0, 0];
  return panels.map((panel) => {
    const { w, h } = SIZES[panel.type];
    if (x + w > WIDTH) [x, top, height] = [0, top + height, 0];
    const at = { panel, x, top };
    [x, height] = [x + w, Math.max(height, h)];
    return at;
  });
}

const heightOf = (panels: readonly Panel[]): number =>
  Math.max(0, ...placed(panels).map(({ panel, top }) => top + SIZES[panel.type].h));

const rowPanel = (title: string, id: number, y: number): Json => ({
  id,
  type: 'row',
  title,
  showTitle: true,
  collapsed: false,
  gridPos: { x: 0, y, w: WIDTH, h: 1 },
  panels: [],
});

const aboutPanel = ({ title, description }: Panel): Json => ({ title, description, datasource: DATASOURCE });

function bodyOf(panel: Panel): Json {
  switch (panel.type) {
    case 'graph':
      return graphBody(panel);
    case 'stat':
      return statBody(panel);
    case 'table':
      return tableBody(panel);
  }
}

const refIdOf = (index: number): string => String.fromCharCode('A'.charCodeAt(0) + index);

const graphBody = ({ unit, queries, isStacked = false }: Graph): Json => ({
  type: 'graph',
  targets: queries.map(({ expr, legend }, index) => ({
    refId: refIdOf(index),
    expr,
    legendFormat: legend,
    format: 'time_series',
  })),
  lines: true,
  linewidth: 1,
  fill: isStacked ? 3 : 0,
  stack: isStacked,
  nullPointMode: 'null',
  legend: { show: true },
  tooltip: { shared: true, sort: 2, value_type: 'individual' },
  xaxis: { mode: 'time', show: true },
  yaxes: [
    { format: unit, min: 0, show: true, logBase: 1 },
    { format: 'short', show: false, logBase: 1 },
  ],
});

const statBody = ({ unit, expr, words }: Stat): Json => ({
  type: 'singlestat',
  targets: [{ refId: 'A', expr, instant: true, format: 'time_series' }],
  format: unit,
  valueName: 'current',
  ...(words && {
    mappingType: 1,
    valueMaps: Object.entries(words).map(([value, text]) => ({ op: '=', value, text })),
  }),
});

const tableBody = ({ unit, expr, columns, valueTitle }: Table): Json => ({
  type: 'table',
  targets: [{ refId: 'A', expr, instant: true, format: 'table' }],
  transform: 'table',
  showHeader: true,
  // their order is that of the columns in the console; what none of them names is not shown
  styles: [
    { pattern: 'Time', type: 'hidden' },
    ...Object.entries(columns).map(([pattern, alias]) => ({ pattern, alias, type: 'string' })),
    valueTitle === undefined
      ? { pattern: 'Value', type: 'hidden' }
      : { pattern: 'Value', alias: valueTitle, type: 'number', unit, decimals: 2 },
  ],
});

const datasourceVariable = {
  name: 'datasource',
  label: 'Prometheus',
  type: 'datasource',
  query: 'prometheus',
  hide: 0,
  refresh: 1,
  current: {},
  options: [],
};

const queryVariable = ({ name, label, values }: Variable): Json => ({
  name,
  label,
  type: 'query',
  datasource: DATASOURCE,
  query: values,
  hide: 0,
  // at each change of the time
  refresh: 2,
  sort: 1,
  multi: true,
  includeAll: true,
  allValue: '.+',
  current: { text: 'All', value: '$__all' },
  options: [],
});
