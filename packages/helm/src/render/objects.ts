import { define } from '../template/functions.ts';
import type { Budget } from '../template/budget.ts';
import { type GoFunction, type GoMap, type GoObject, fromData, strings, typed, type Value } from '../template/values.ts';
import type { Chart, ChartFile } from '../chart/chart.ts';
import { textOfFile } from '../chart/chart.ts';
import { globTest } from '../chart/glob.ts';
import { toYaml } from '../functions/yaml.ts';

/** What the cluster can do, as templates ask for it. */
export interface Capabilities {
  /** Such as v1.34.0. */
  readonly kubeVersion: string;
  /** Besides those that every cluster has: `group/version` or `group/version/Kind`. */
  readonly apiVersions: readonly string[];
}

const HELM_VERSION = { Version: 'v4.0.0', GitCommit: '', GitTreeState: 'clean', GoVersion: 'go1.25.0' };
/** API versions that a cluster is taken to have when none is asked. */
const BUILT_IN =
  'v1 admissionregistration.k8s.io/v1 apiextensions.k8s.io/v1 apiregistration.k8s.io/v1 apps/v1 authentication.k8s.io/v1 authorization.k8s.io/v1 autoscaling/v1 autoscaling/v2 batch/v1 certificates.k8s.io/v1 coordination.k8s.io/v1 discovery.k8s.io/v1 events.k8s.io/v1 flowcontrol.apiserver.k8s.io/v1 networking.k8s.io/v1 node.k8s.io/v1 policy/v1 rbac.authorization.k8s.io/v1 resource.k8s.io/v1 scheduling.k8s.io/v1 storage.k8s.io/v1'.split(
    ' ',
  );

function object(
  goType: string,
  members: Readonly<Record<string, Value | GoFunction>>,
  text: () => string,
  json?: unknown,
): GoObject {
  return {
    goType,
    member: (name) => (Object.hasOwn(members, name) ? members[name] : undefined),
    toText: text,
    toJson: () => json ?? Object.fromEntries(Object.entries(members).filter(([, value]) => typeof value === 'string')),
  };
}

/** The object `.Capabilities`. */
export function capabilitiesObject({ kubeVersion, apiVersions }: Capabilities): GoObject {
  const version = kubeVersion.startsWith('v') ? kubeVersion : `v${kubeVersion}`;
  const [, major = '1', minor = '0'] = /^v(\d+)\.(\d+)/.exec(version) ?? [];
  const known = new Set([...BUILT_IN, ...apiVersions]);
  const has = define('string', (name: string) => known.has(name));
  return object(
    '*chartutil.Capabilities',
    {
      KubeVersion: object(
        'chartutil.KubeVersion',
        { Version: version, Major: major, Minor: minor, GitVersion: version },
        () => version,
      ),
      APIVersions: {
        ...object('chartutil.VersionSet', { Has: has }, () => `[${[...known].join(' ')}]`),
        toJson: () => [...known],
      },
      HelmVersion: object('helmversion.BuildInfo', HELM_VERSION, () => `{${Object.values(HELM_VERSION).join(' ')}}`),
    },
    () => '&{}',
  );
}

/** Names of fields in Go that are not the key with a capital. */
const GO_NAMES: Readonly<Record<string, string>> = { apiVersion: 'APIVersion' };

/** The object `.Chart`: keys of Chart.yaml as fields; what is absent is empty. */
export function chartObject(chart: Chart, isRoot: boolean): GoObject {
  const { fields } = chart.metadata;
  const texts = [
    'name',
    'home',
    'version',
    'description',
    'icon',
    'apiVersion',
    'condition',
    'tags',
    'appVersion',
    'kubeVersion',
    'type',
  ];
  const lists = ['sources', 'keywords', 'maintainers', 'dependencies'];
  const goName = (key: string): string => GO_NAMES[key] ?? key.charAt(0).toUpperCase() + key.slice(1);
  const members: Record<string, Value> = { IsRoot: isRoot, Deprecated: fields['deprecated'] === true };
  for (const key of texts)
    members[goName(key)] = fields[key] === undefined || fields[key] === null ? '' : String(fields[key] as string);
  members['Name'] = chart.metadata.name;
  for (const key of lists) members[goName(key)] = listMember(fields[key]);
  const annotations = fromData(fields['annotations'] ?? {});
  members['Annotations'] = annotations instanceof Map ? typed(annotations, 'map[string]string') : new Map();
  return object('chart.Metadata', members, () => chart.metadata.name, { ...fields, IsRoot: isRoot });
}

function listMember(list: unknown): Value {
  if (!Array.isArray(list)) return [];
  if (list.every((item) => typeof item === 'string')) return strings(list);
  return list.map((item: unknown) => {
    const data = fromData(item);
    if (!(data instanceof Map)) return data;
    const fields = new Map(
      [...data].map(([key, value]) => [key === 'url' ? 'URL' : key.charAt(0).toUpperCase() + key.slice(1), value]),
    );
    // Go sees a struct: the names of its fields have capitals
    return new Map([...data, ...fields]);
  });
}

/** The object `.Files`: a map from path to content with helpers. */
export function filesObject(files: readonly ChartFile[], budget: Budget): GoObject {
  const entries: GoMap = new Map(files.map((file): [string, Value] => [file.path, file.data]));
  const textAt = (path: string): string => {
    const file = files.find((one) => one.path === path);
    return file ? textOfFile(file) : '';
  };
  const charge = (text: string): string => {
    budget.grow(text.length);
    return text;
  };
  const methods: Readonly<Record<string, GoFunction>> = {
    Get: define('string', (path: string) => charge(textAt(path))),
    GetBytes: define('string', (path: string) => files.find((one) => one.path === path)?.data ?? new Uint8Array()),
    Lines: define('string', (path: string) => {
      const text = charge(textAt(path));
      if (!files.some((one) => one.path === path)) return strings([]);
      return strings(text.replace(/\n$/, '').split('\n'));
    }),
    Glob: define('string', (pattern: string) => {
      const test = globTest(pattern) ?? (() => true);
      return filesObject(
        files.filter(({ path }) => test(path)),
        budget,
      );
    }),
    AsConfig: define('', () => asMap(files, budget, textOfFile)),
    AsSecrets: define('', () => asMap(files, budget, ({ data }) => Buffer.from(data).toString('base64'))),
  };
  return {
    goType: 'engine.files',
    member: (name) => (Object.hasOwn(methods, name) ? methods[name] : undefined),
    toText: () => `map[${files.map(({ path }) => path).join(' ')}]`,
    toJson: () => Object.fromEntries(files.map(({ path, data }) => [path, Buffer.from(data).toString('base64')])),
    entries,
  };
}

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

function asMap(files: readonly ChartFile[], budget: Budget, content: (file: ChartFile) => string): string {
  if (files.length === 0) return '';
  return toYaml(new Map(files.map((file): [string, Value] => [baseName(file.path), content(file)])), budget);
}
