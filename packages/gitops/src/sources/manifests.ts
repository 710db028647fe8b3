import { readFile } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import { isObject, type KubeObject } from '@slipway/apimachinery';
import { HostError, type CommandRunner } from '@slipway/hostapi';
import {
  type ChartFile,
  fromData,
  globTest,
  type GoMap,
  loadChart,
  mergeTables,
  MissingDependencies,
  parseValues,
  readYamlDocuments,
  type RenderedChart,
  setLiteral,
  setValues,
  templateChart,
  textValue,
  YamlError,
} from '@slipway/helm';
import type { ApplicationSource, HelmSource } from '../kinds.ts';
import { type RemoteDependency, remoteDependencies } from './chart-dependencies.ts';
import { SourceError } from './source-error.ts';
import { pathWithin, readChart, readTree } from './read-tree.ts';

export type SourceType = 'Helm' | 'Kustomize' | 'Directory';

export interface SourceInput {
  readonly source: ApplicationSource;
  /** Root of the repository's files. */
  readonly root: string;
  /** Repositories that value files name as `$ref`. */
  readonly refs: ReadonlyMap<string, string>;
  readonly appName: string;
  readonly namespace: string;
  /** `$NAME` in parameters and value files. */
  readonly variables: ReadonlyMap<string, string>;
  readonly kubeVersion: string;
  readonly apiVersions: readonly string[];
  /** Fetches a chart that a chart depends on, as a file below its `charts/`. */
  readonly dependency: (wanted: RemoteDependency, signal: AbortSignal) => Promise<ChartFile>;
}

export interface SourceDeps {
  readonly runner: CommandRunner;
  readonly now: () => number;
  readonly randomBytes: (count: number) => Uint8Array;
}

const REMOTE = /(?:^|=)\s*(?:https?:|ssh:|git:|git::|file:)/i;
/** Fields of a kustomization whose texts are no places. */
const PLAIN_FIELDS: ReadonlySet<string> = new Set([
  'commonAnnotations',
  'commonLabels',
  'labels',
  'metadata',
  'images',
  'buildMetadata',
  'patchesStrategicMerge',
]);
const KUSTOMIZATIONS = ['kustomization.yaml', 'kustomization.yml', 'Kustomization'];

/** The objects that a source makes. */
export async function generateManifests(
  input: SourceInput,
  deps: SourceDeps,
  signal: AbortSignal,
): Promise<{ readonly type: SourceType; readonly objects: KubeObject[] }> {
  const directory = await pathWithin(input.root, input.source.path ?? '.');
  const names = (await readTree(directory, input.root, 0)).map(({ path }) => path);
  const type = typeOf(input.source, names);
  if (input.source.plugin !== undefined) throw new SourceError('config management plugins are not supported');
  if (type === 'Helm') return { type, objects: await helmObjects(directory, input, deps, signal) };
  if (type === 'Kustomize') return { type, objects: await kustomizeObjects(directory, input, deps, signal) };
  return { type, objects: await directoryObjects(directory, input) };
}

/** An explicit block wins; else what lies in the directory. */
export function typeOf(source: ApplicationSource, names: readonly string[]): SourceType {
  if (source.helm) return 'Helm';
  if (source.kustomize) return 'Kustomize';
  if (source.directory) return 'Directory';
  if (names.includes('Chart.yaml')) return 'Helm';
  return names.some((name) => KUSTOMIZATIONS.includes(name)) ? 'Kustomize' : 'Directory';
}

async function helmObjects(directory: string, input: SourceInput, deps: SourceDeps, signal: AbortSignal): Promise<KubeObject[]> {
  const helm = input.source.helm ?? {};
  const files = await readChart(directory, input.root);
  const values = (): Promise<GoMap> => helmValues(directory, helm, input);
  const rendered = await renderFiles(files, values, input, deps).catch(async (error: unknown) => {
    const wanted = error instanceof MissingDependencies ? remoteDependencies(files, error.dependencies) : undefined;
    if (wanted === undefined) throw error;
    for (const dependency of wanted) files.push(await input.dependency(dependency, signal));
    return renderFiles(files, values, input, deps);
  });
  const crds = helm.skipCrds ? [] : rendered.crds.flatMap((file) => parseObjects(file));
  const hooks = rendered.hooks.filter(({ events }) => !events.every((event) => event === 'test' || event.endsWith('-rollback')));
  return [...crds, ...rendered.manifests.map(({ object }) => object), ...hooks.map(({ object }) => object)].flatMap(asObject);
}

async function renderFiles(
  files: readonly ChartFile[],
  values: () => Promise<GoMap>,
  input: SourceInput,
  { now, randomBytes }: SourceDeps,
): Promise<RenderedChart> {
  const helm = input.source.helm ?? {};
  return templateChart(await loadChart(files), await values(), {
    capabilities: { kubeVersion: helm.kubeVersion ?? input.kubeVersion, apiVersions: helm.apiVersions ?? input.apiVersions },
    release: {
      name: helm.releaseName ?? input.appName,
      namespace: helm.namespace ?? input.namespace,
      isUpgrade: false,
      revision: 1n,
    },
    now,
    randomBytes,
    skipsSchema: helm.skipSchemaValidation === true,
  });
}

async function helmValues(directory: string, helm: HelmSource, input: SourceInput): Promise<GoMap> {
  const values: GoMap = new Map();
  for (const name of helm.valueFiles ?? []) {
    const text = await valueFile(directory, substitute(name, input.variables), input);
    if (text !== undefined) mergeTables(values, parseValues(text));
    else if (!helm.ignoreMissingValueFiles) throw new SourceError(`value file ${name} not found`);
  }
  if (helm.valuesObject) {
    const map = fromData(helm.valuesObject);
    if (map instanceof Map) mergeTables(values, map);
  } else if (helm.values) mergeTables(values, parseValues(helm.values));
  await setParameters(values, directory, helm, input);
  return values;
}

async function setParameters(values: GoMap, directory: string, helm: HelmSource, input: SourceInput): Promise<void> {
  for (const { name = '', value = '', forceString } of helm.parameters ?? []) {
    const text = substitute(value, input.variables).replace(/[,{}]/g, (char, at: number, all: string) =>
      all[at - 1] === '\\' ? char : `\\${char}`,
    );
    setValues(values, `${name}=${text}`, forceString ? textValue : undefined);
  }
  for (const { name = '', path = '' } of helm.fileParameters ?? []) {
    const text = await valueFile(directory, path, input);
    if (text === undefined) throw new SourceError(`file ${path} of parameter ${name} not found`);
    setLiteral(values, `${name}=${text}`);
  }
}

/** A file of the chart's repository, or of another source by `$ref/path`. */
async function valueFile(directory: string, name: string, { root, refs }: SourceInput): Promise<string | undefined> {
  const [, ref, rest = ''] = /^\$([\w-]+)\/(.*)$/.exec(name) ?? [];
  if (/^[a-z]+:\/\//i.test(name)) throw new SourceError(`value file ${name}: only files of the sources are read`);
  const base = ref === undefined ? root : refs.get(ref);
  if (base === undefined) throw new SourceError(`source referenced ${JSON.stringify(ref)}, but no source has this ref`);
  const path =
    ref !== undefined ? rest : name.startsWith('/') ? name.slice(1) : normalize(join(directory.slice(root.length) || '.', name));
  const real = await pathWithin(base, path).catch((error: unknown) => {
    if (error instanceof Error && error.message.includes('does not exist')) return undefined;
    throw error;
  });
  return real === undefined ? undefined : readFile(real, 'utf8');
}

const substitute = (text: string, variables: ReadonlyMap<string, string>): string =>
  text.replace(/\$(?:\{(\w+)\}|(\w+))/g, (all, braced?: string, bare?: string) => variables.get(braced ?? bare ?? '') ?? all);

async function kustomizeObjects(
  directory: string,
  { root }: SourceInput,
  { runner }: SourceDeps,
  signal: AbortSignal,
): Promise<KubeObject[]> {
  // links that lead out of the repository are refused before the program follows them, and so is the network
  for (const file of await readTree(root, root)) refuseRemote(file);
  try {
    const { stdout } = await runner.run(
      ['kubectl', 'kustomize', directory],
      { timeoutMs: 60_000, maxOutputBytes: 64 * 1024 * 1024, env: { HOME: '/nonexistent', GIT_ALLOW_PROTOCOL: 'none' } },
      signal,
    );
    return parseObjects({ path: 'kustomization', data: new TextEncoder().encode(stdout) });
  } catch (error) {
    if (error instanceof HostError)
      throw new SourceError(`kustomize build failed: ${error.stderrTail === '' ? error.message : error.stderrTail}`);
    throw error;
  }
}

/** The program would fetch what a kustomization names by URL, from anywhere. */
function refuseRemote({ path, data }: ChartFile): void {
  if (!KUSTOMIZATIONS.includes(path.split('/').at(-1) ?? '')) return;
  const check = (value: unknown, key: string): void => {
    // patches that stand in the file are no names of files
    if (key === 'patch' || key === 'literals') return;
    if (Array.isArray(value)) for (const item of value) check(item, key);
    else if (isObject(value)) for (const [name, item] of Object.entries(value)) check(item, name);
    else if (typeof value === 'string' && REMOTE.test(value))
      throw new SourceError(`${path}: remote ${value} is not supported: copy it into the repository, or use a source of its own`);
  };
  for (const object of readDocuments({ path, data }))
    if (isObject(object)) for (const [key, value] of Object.entries(object)) if (!PLAIN_FIELDS.has(key)) check(value, key);
}

async function directoryObjects(directory: string, { source, root }: SourceInput): Promise<KubeObject[]> {
  const { recurse, include, exclude } = source.directory ?? {};
  const files = await readTree(directory, root, recurse ? undefined : 0);
  const includes = include ? globTest(include) : undefined;
  const excludes = exclude ? globTest(exclude) : undefined;
  return files
    .filter(({ path }) => /\.(?:ya?ml|json)$/.test(path) && (includes?.(path) ?? true) && !(excludes?.(path) ?? false))
    .flatMap(parseObjects);
}

/** Objects of a file of manifests; those of a List one by one. */
export function parseObjects({ path, data }: ChartFile): KubeObject[] {
  return readDocuments({ path, data }).flatMap(asObject);
}

function readDocuments({ path, data }: ChartFile): readonly unknown[] {
  try {
    return readYamlDocuments(new TextDecoder().decode(data));
  } catch (error) {
    if (error instanceof YamlError) throw new SourceError(`failed to unmarshal "${path}": ${error.message}`);
    throw error;
  }
}

function asObject(document: unknown): KubeObject[] {
  if (!isObject(document) || typeof document['kind'] !== 'string' || typeof document['apiVersion'] !== 'string') return [];
  if (document['kind'].endsWith('List') && Array.isArray(document['items'])) return document['items'].flatMap(asObject);
  const metadata = isObject(document['metadata']) ? document['metadata'] : {};
  // an object with a type is one; the server says what else is wrong
  return [{ ...document, metadata } as unknown as KubeObject];
}
