/** What a dashboard shows; `renderDashboard` makes of it what Grafana reads. */
export interface Dashboard {
  /** Name of its file, without `.json`, and its address in Grafana. */
  readonly name: string;
  readonly title: string;
  readonly description: string;
  /** What may be chosen above the panels, in this order. */
  readonly variables: readonly Variable[];
  readonly rows: readonly Row[];
}

/** Values of a label, all of them at first; panels use it as `=~"$name"`. */
export interface Variable {
  readonly name: string;
  readonly label: string;
  /** Where its values are: `label_values(METRIC, LABEL)`. */
  readonly values: string;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

export type Unit = 'short' | 'bytes' | 'Bps' | 's' | 'percentunit' | 'ops' | 'reqps';

export interface Query {
  readonly expr: string;
  /** Name of a line, with labels as `{{name}}`. */
  readonly legend: string;
}

interface PanelBase {
  readonly title: string;
  readonly description: string;
  readonly unit: Unit;
}

/** Lines over time. */
export interface Graph extends PanelBase {
  readonly type: 'graph';
  readonly queries: readonly Query[];
  readonly isStacked?: boolean;
}

/** One number, as it is now. */
export interface Stat extends PanelBase {
  readonly type: 'stat';
  readonly expr: string;
  /** Words for numbers. */
  readonly words?: Readonly<Record<string, string>>;
}

/** One line for each result, with some of its labels. */
export interface Table extends PanelBase {
  readonly type: 'table';
  readonly expr: string;
  /** Headings by label. */
  readonly columns: Readonly<Record<string, string>>;
  /** Heading of the value; without one it is not shown. */
  readonly valueTitle?: string;
}

export type Panel = Graph | Stat | Table;

export const graph = (
  title: string,
  unit: Unit,
  description: string,
  queries: Readonly<Record<string, string>>,
  isStacked = false,
): Graph => ({
  type: 'graph',
  title,
  unit,
  description,
  queries: Object.entries(queries).map(([legend, expr]) => ({ legend, expr })),
  isStacked,
});

export const stat = (title: string, unit: Unit, description: string, expr: string, words?: Stat['words']): Stat => ({
  type: 'stat',
  title,
  unit,
  description,
  expr,
  ...(words && { words }),
});

/** The metric, with what is chosen above the panels, and with more conditions. */
export const chosen = (metric: string, ...more: readonly string[]): string =>
  `${metric}{${['namespace=~"$namespace"', ...more].join(',')}}`;

/** Per second, over as long as the interval between two points of a line needs. */
export const rate = (selector: string): string => `rate(${selector}[$__rate_interval])`;

export const NAMESPACE: Variable = {
  name: 'namespace',
  label: 'Namespace',
  values: 'label_values(kubevirt_vm_info, namespace)',
};
