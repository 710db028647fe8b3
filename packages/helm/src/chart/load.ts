import { isObject } from '@slipway/apimachinery';
import { readYamlData, readYamlDocuments, YamlError } from '../functions/yaml.ts';
import { fromData, isMap, type GoMap } from '../template/values.ts';
import { readArchive } from './archive.ts';
import { type Chart, ChartError, type ChartFile, type ChartMetadata, type Dependency, textOfFile } from './chart.ts';
import { ignoreTest } from './ignore.ts';
import { mergeTables } from './coalesce.ts';

/** Charts within charts deeper than this are refused. */
const MAX_DEPTH = 20;

/** A chart from its files; subcharts in `charts/` as directories or archives. */
export async function loadChart(files: readonly ChartFile[], depth = 0): Promise<Chart> {
  if (depth > MAX_DEPTH) throw new ChartError('charts are nested too deeply');
  const ignored = files.find(({ path }) => path === '.helmignore');
  const isIgnored = ignoreTest(ignored ? textOfFile(ignored) : '');
  const kept = files.filter(({ path }) => !isIgnored(path));
  const metadata = readMetadata(kept);
  const schema = kept.find(({ path }) => path === 'values.schema.json');
  return {
    metadata,
    name: metadata.name,
    values: readValues(kept.find(({ path }) => path === 'values.yaml')),
    ...(schema && { schema: readSchema(schema) }),
    templates: kept.filter(({ path }) => path.startsWith('templates/')),
    files: kept.filter(({ path }) => isPlainFile(path)),
    dependencies: await subcharts(kept, depth),
  };
}

const OWN_FILES = new Set(['Chart.yaml', 'Chart.lock', 'values.yaml', 'values.schema.json', 'requirements.lock', '.helmignore']);
const isPlainFile = (path: string): boolean =>
  !OWN_FILES.has(path) && !path.startsWith('templates/') && !path.startsWith('charts/');

function yamlOf(file: ChartFile, what: string): unknown {
  try {
    return readYamlData(textOfFile(file));
  } catch (error) {
    if (error instanceof YamlError) throw new ChartError(`cannot load ${what}: error converting YAML to JSON: ${error.message}`);
    throw error;
  }
}

function readValues(file: ChartFile | undefined): GoMap {
  if (file === undefined) return new Map();
  try {
    return parseValues(textOfFile(file));
  } catch (error) {
    if (error instanceof ChartError) throw new ChartError(`cannot load values.yaml: ${error.message}`);
    throw error;
  }
}

/** A values file; several documents are merged in order. */
export function parseValues(text: string): GoMap {
  let documents: unknown[];
  try {
    documents = readYamlDocuments(text);
  } catch (error) {
    if (error instanceof YamlError) throw new ChartError(`error converting YAML to JSON: ${error.message}`);
    throw error;
  }
  const values: GoMap = new Map();
  for (const document of documents) {
    if (document === null || document === undefined) continue;
    const map = fromData(document);
    if (!isMap(map)) throw new ChartError('error unmarshaling JSON: json: cannot unmarshal the document into a map of values');
    mergeTables(values, map);
  }
  return values;
}

function readSchema(file: ChartFile): unknown {
  try {
    return JSON.parse(textOfFile(file));
  } catch (error) {
    throw new ChartError(`cannot load values.schema.json: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function readMetadata(files: readonly ChartFile[]): ChartMetadata {
  const file = files.find(({ path }) => path === 'Chart.yaml');
  if (file === undefined) throw new ChartError('Chart.yaml file is missing');
  const fields = yamlOf(file, 'Chart.yaml');
  if (!isObject(fields)) throw new ChartError('cannot load Chart.yaml: it is no map');
  const text = (key: string): string | undefined => (typeof fields[key] === 'string' ? fields[key] : undefined);
  const fail = (message: string): never => {
    throw new ChartError(`validation: ${message}`);
  };
  const name = text('name') ?? fail('chart.metadata.name is required');
  if (text('apiVersion') === undefined) fail('chart.metadata.apiVersion is required');
  if (fields['version'] === undefined || fields['version'] === '') fail('chart.metadata.version is required');
  if (name.includes('/') || name === '.' || name === '..') fail(`chart.metadata.name "${name}" is invalid`);
  const type = text('type') ?? 'application';
  if (type !== 'application' && type !== 'library')
    throw new ChartError('validation: chart.metadata.type must be application or library');
  const kubeVersion = text('kubeVersion');
  return {
    name,
    version: String(fields['version'] as string | number),
    type,
    ...(kubeVersion !== undefined && { kubeVersion }),
    dependencies: readDependencies(fields, files),
    fields,
  };
}

/** Charts of the first API version list them in a file of their own. */
function readDependencies(fields: Readonly<Record<string, unknown>>, files: readonly ChartFile[]): Dependency[] {
  const old = files.find(({ path }) => path === 'requirements.yaml');
  const source = fields['apiVersion'] === 'v1' && old ? yamlOf(old, 'requirements.yaml') : fields;
  const list = isObject(source) ? source['dependencies'] : undefined;
  return Array.isArray(list) ? list.filter(isObject).map(dependencyOf) : [];
}

function dependencyOf(entry: Readonly<Record<string, unknown>>): Dependency {
  const text = (key: string): string | undefined =>
    entry[key] === undefined || entry[key] === null ? undefined : String(entry[key] as string);
  const tags = Array.isArray(entry['tags']) ? entry['tags'].map(String) : undefined;
  const imports = Array.isArray(entry['import-values'])
    ? entry['import-values'].map(importOf).filter((item) => item !== undefined)
    : undefined;
  const optional = {
    version: text('version'),
    repository: text('repository'),
    condition: text('condition'),
    alias: text('alias'),
  };
  return {
    name: text('name') ?? '',
    // each is text here
    ...(Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) as Partial<Dependency>),
    ...(tags && { tags }),
    ...(imports && { importValues: imports }),
  };
}

function importOf(item: unknown): string | { child: string; parent: string } | undefined {
  if (typeof item === 'string') return item;
  if (!isObject(item) || typeof item['child'] !== 'string' || typeof item['parent'] !== 'string') return undefined;
  return { child: item['child'], parent: item['parent'] };
}

async function subcharts(files: readonly ChartFile[], depth: number): Promise<Chart[]> {
  const groups = new Map<string, ChartFile[]>();
  const charts: Chart[] = [];
  for (const { path, data } of files) {
    const [, name = '', rest] = /^charts\/([^/]+)(?:\/(.+))?$/.exec(path) ?? [];
    if (name === '' || /^[_.]/.test(name)) continue;
    if (rest !== undefined) groups.set(name, [...(groups.get(name) ?? []), { path: rest, data }]);
    else if (name.endsWith('.tgz')) charts.push(await loadChart(await readArchive(data), depth + 1));
  }
  for (const [name, inner] of groups) {
    if (!inner.some(({ path }) => path === 'Chart.yaml'))
      throw new ChartError(`error unpacking subchart ${name}: Chart.yaml file is missing`);
    charts.push(await loadChart(inner, depth + 1));
  }
  return charts;
}
