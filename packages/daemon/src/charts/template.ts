import { randomBytes } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve, sep } from 'node:path';
import { readChart, TreeError } from '@slipway/gitops';
import {
  ChartError,
  type ChartFile,
  type GoMap,
  loadChart,
  mergeTables,
  parseValues,
  readArchive,
  readJson,
  type RenderedChart,
  setJson,
  setLiteral,
  setValues,
  templateChart,
  textValue,
} from '@slipway/helm';

export interface TemplateCommandOptions {
  readonly values?: readonly string[];
  readonly set?: readonly string[];
  readonly setString?: readonly string[];
  readonly setFile?: readonly string[];
  readonly setJson?: readonly string[];
  readonly setLiteral?: readonly string[];
  readonly namespace: string;
  readonly nameTemplate?: string;
  readonly kubeVersion: string;
  readonly apiVersions?: readonly string[];
  readonly showOnly?: readonly string[];
  readonly includeCrds?: boolean;
  readonly hooks: boolean;
  readonly isUpgrade?: boolean;
  readonly skipSchemaValidation?: boolean;
  readonly skipTests?: boolean;
  readonly showNotes?: boolean;
}

/** `slipway template [NAME] CHART`: a chart as the objects it makes; needs no cluster. */
export async function template(names: readonly string[], options: TemplateCommandOptions): Promise<void> {
  try {
    process.stdout.write(await renderChart(names, options));
  } catch (error) {
    if (!(error instanceof ChartError || error instanceof TreeError)) throw error;
    process.stderr.write(`Error: ${error.message.trimEnd()}\n`);
    process.exitCode = 1;
  }
}

/** What `template` prints. Throws ChartError or TreeError. */
export async function renderChart(names: readonly string[], options: TemplateCommandOptions): Promise<string> {
  const [release, path] =
    names.length > 1 ? [names[0] ?? '', names[1] ?? ''] : [options.nameTemplate ?? 'release-name', names[0] ?? ''];
  const chart = await loadChart(await chartFiles(path).catch((error: unknown) => notAChart(path, error)));
  const rendered = templateChart(chart, await userValues(options), {
    capabilities: { kubeVersion: options.kubeVersion, apiVersions: options.apiVersions ?? [] },
    release: { name: release, namespace: options.namespace, isUpgrade: options.isUpgrade === true, revision: 1n },
    now: Date.now,
    randomBytes,
    skipsSchema: options.skipSchemaValidation === true,
    warn: (message) => process.stderr.write(`warning: ${message}\n`),
  });
  return layOut(rendered, chart.metadata.name, options);
}

/** A directory, or a chart that was packaged. */
async function chartFiles(path: string): Promise<ChartFile[]> {
  const place = resolve(path);
  if ((await stat(place)).isFile()) return readArchive(await readFile(place));
  // `file://../other` of a chart that the user has on disk may lead anywhere on it
  return readChart(place, sep);
}

function notAChart(path: string, error: unknown): never {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR') throw new ChartError(`path "${path}" not found`);
  throw error;
}

/** Values of all flags, in Helm's order of precedence. */
async function userValues(options: TemplateCommandOptions): Promise<GoMap> {
  const values: GoMap = new Map();
  for (const file of options.values ?? []) mergeTables(values, parseValues(await textOf(file)));
  for (const line of options.setJson ?? []) setJson(values, line, jsonValue, mergeTables);
  for (const line of options.set ?? []) setValues(values, line);
  for (const line of options.setString ?? []) setValues(values, line, textValue);
  for (const line of options.setFile ?? []) {
    const at = line.indexOf('=');
    const content = await textOf(line.slice(at + 1));
    setLiteral(values, `${line.slice(0, at)}=${content}`);
  }
  for (const line of options.setLiteral ?? []) setLiteral(values, line);
  return values;
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file === '-' ? '/dev/stdin' : file, 'utf8');
  } catch {
    throw new ChartError(`open ${dirname(resolve(file))}${sep}${file.split(sep).at(-1) ?? ''}: no such file or directory`);
  }
}

function jsonValue(text: string): ReturnType<GoMap['get']> {
  const read = readJson(text);
  if ('complaint' in read) throw new ChartError(`failed parsing --set-json data ${text}: ${read.complaint}`);
  return read.value;
}

function layOut({ manifests, hooks, crds, notes }: RenderedChart, chart: string, options: TemplateCommandOptions): string {
  const parts: { source: string; text: string }[] = [];
  if (options.includeCrds)
    for (const { path, data } of crds) parts.push({ source: path, text: new TextDecoder().decode(data).trim() });
  parts.push(...manifests);
  if (options.hooks) parts.push(...hooks.filter(({ events }) => !(options.skipTests && events.includes('test'))));
  const wanted = options.showOnly?.map((path) => `${chart}/${path.replace(/^\.?\//, '')}`);
  const missing = wanted?.find((path) => !parts.some(({ source }) => source === path));
  if (missing !== undefined) throw new ChartError(`could not find template ${missing.slice(chart.length + 1)} in chart`);
  const text = parts
    .filter(({ source }) => wanted?.includes(source) ?? true)
    .map(({ source, text: body }) => `---\n# Source: ${source}\n${body}\n`)
    .join('');
  return options.showNotes && notes !== '' ? `${text}---\n# Notes\n${notes}` : text;
}
