import { parseConstraint, parseVersion } from '../functions/semver.ts';
import { toData } from '../functions/json.ts';
import { type Chart, ChartError, type ChartFile, textOfFile } from '../chart/chart.ts';
import { coalesceValues, type Warn } from '../chart/coalesce.ts';
import { processDependencies } from '../chart/dependencies.ts';
import { validateJsonSchema } from '../chart/json-schema.ts';
import { Budget } from '../template/budget.ts';
import { type GoMap, isMap, typed } from '../template/values.ts';
import { type EngineOptions, renderTemplates } from './engine.ts';
import { type Hook, type Manifest, sortManifests } from './manifests.ts';

export interface TemplateOptions extends EngineOptions {
  readonly skipsSchema?: boolean;
  readonly warn?: Warn;
}

export interface RenderedChart {
  readonly manifests: readonly Manifest[];
  readonly hooks: readonly Hook[];
  /** Definitions of custom resources, untouched. */
  readonly crds: readonly ChartFile[];
  readonly notes: string;
}

/** Renders a chart as `helm template` does. Throws ChartError. */
export function templateChart(chart: Chart, userValues: GoMap, options: TemplateOptions): RenderedChart {
  const warn = options.warn ?? ((): void => {});
  checkKubeVersion(chart, options.capabilities.kubeVersion);
  if (chart.metadata.type === 'library') throw new ChartError('library charts are not installable');
  const enabled = processDependencies(chart, userValues, warn);
  const values = typed(coalesceValues(enabled, userValues, warn), 'chartutil.Values');
  if (options.skipsSchema !== true) checkSchemas(enabled, values);
  const files = renderTemplates(enabled, values, options);
  const { notes, rest } = splitNotes(files, chart.metadata.name);
  return { ...sortManifests(rest), crds: crdsOf(enabled, chart.metadata.name), notes };
}

function checkKubeVersion({ metadata }: Chart, kubeVersion: string): void {
  if (metadata.kubeVersion === undefined) return;
  const check = parseConstraint(metadata.kubeVersion);
  const version = parseVersion(kubeVersion);
  if (check === undefined || version === undefined || !check(version))
    throw new ChartError(
      `chart requires kubeVersion: ${metadata.kubeVersion} which is incompatible with Kubernetes ${kubeVersion}`,
    );
}

function checkSchemas(chart: Chart, values: GoMap): void {
  const complaints = schemaComplaints(chart, values);
  if (complaints === '') return;
  throw new ChartError(`values don't meet the specifications of the schema(s) in the following chart(s):\n${complaints}`);
}

function schemaComplaints(chart: Chart, values: GoMap): string {
  let text = '';
  if (chart.schema !== undefined) {
    const lines = validateJsonSchema(chart.schema, toData(values, new Budget()));
    if (lines.length > 0) text += `${chart.metadata.name}:\n${lines.map((line) => `- ${line}\n`).join('')}\n`;
  }
  for (const child of chart.dependencies) {
    const own = values.get(child.name);
    if (isMap(own)) text += schemaComplaints(child, own);
  }
  return text;
}

/** The notes of the chart itself are shown; those of its subcharts are dropped. */
function splitNotes(files: ReadonlyMap<string, string>, chart: string): { notes: string; rest: Map<string, string> } {
  const rest = new Map([...files].filter(([name]) => !name.endsWith('NOTES.txt')));
  return { notes: files.get(`${chart}/templates/NOTES.txt`) ?? '', rest };
}

function crdsOf(chart: Chart, path: string): ChartFile[] {
  const own = chart.files
    .filter((file) => file.path.startsWith('crds/') && /\.(?:ya?ml|json)$/.test(file.path) && textOfFile(file).trim() !== '')
    .map((file) => ({ path: `${path}/${file.path}`, data: file.data }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  return [...own, ...chart.dependencies.flatMap((child) => crdsOf(child, `${path}/charts/${child.name}`))];
}
