export { readArchive } from './chart/archive.ts';
export {
  type Chart,
  ChartError,
  type ChartFile,
  type ChartMetadata,
  type Dependency,
  MissingDependencies,
} from './chart/chart.ts';
export { mergeTables } from './chart/coalesce.ts';
export { globTest } from './chart/glob.ts';
export { loadChart, parseValues } from './chart/load.ts';
export { setJson, setLiteral, setValues, textValue, typedValue } from './chart/set-values.ts';
export { readJson } from './functions/json.ts';
export { compareVersions, parseConstraint, parseVersion, type Version } from './functions/semver.ts';
export { readYamlDocuments, YamlError } from './functions/yaml.ts';
export { annotationsOf, byKind, type Hook, type Manifest, splitDocuments } from './render/manifests.ts';
export type { Lookup } from './render/helm-functions.ts';
export type { Capabilities } from './render/objects.ts';
export { type RenderedChart, templateChart, type TemplateOptions } from './render/template-chart.ts';
export { DEFAULT_LIMITS, type Limits } from './template/budget.ts';
export { fromData, type GoMap, type Value } from './template/values.ts';
