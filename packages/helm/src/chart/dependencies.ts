import { parseConstraint, parseVersion } from '../functions/semver.ts';
import { type GoMap, isMap, type Value } from '../template/values.ts';
import { type Chart, type Dependency, MissingDependencies } from './chart.ts';
import { copyMap, mergeTables, mergeValues, tableAt, underlayTable, type Warn } from './coalesce.ts';

/** The chart with the subcharts that are switched on, under their aliases, and with what it imports from them. */
export function processDependencies(chart: Chart, values: GoMap, warn: Warn): Chart {
  return importValues(enable(chart, values, '', warn), values, warn);
}

function enable(chart: Chart, values: GoMap, path: string, warn: Warn): Chart {
  const { dependencies } = chart.metadata;
  if (dependencies.length === 0)
    return { ...chart, dependencies: chart.dependencies.map((child) => enable(child, values, `${path}${child.name}.`, warn)) };
  const listed = new Set(dependencies.map(({ name }) => name));
  const missing = dependencies.filter((dependency) => find(chart, dependency) === undefined);
  const children = chart.dependencies.filter(({ metadata }) => !listed.has(metadata.name));
  for (const dependency of dependencies) {
    const child = find(chart, dependency);
    if (child) children.push({ ...child, name: dependency.alias ?? child.name });
  }
  const named = { ...chart, dependencies: children };
  const effective = path === '' ? mergeValues(named, values, warn) : values;
  const off = new Set(dependencies.filter((dependency) => !isEnabled(dependency, effective, path)).map(nameOf));
  const absent = missing.filter((dependency) => !off.has(nameOf(dependency)));
  if (absent.length > 0) throw new MissingDependencies(absent);
  const on = children.filter(({ name }) => !off.has(name));
  return { ...chart, dependencies: on.map((child) => enable(child, effective, `${path}${child.name}.`, warn)) };
}

const nameOf = ({ name, alias }: Dependency): string => alias ?? name;

function find(chart: Chart, { name, version }: Dependency): Chart | undefined {
  return chart.dependencies.find(({ metadata }) => metadata.name === name && fits(metadata.version, version));
}

function fits(version: string, wanted: string | undefined): boolean {
  if (wanted === undefined || wanted === '') return true;
  const check = parseConstraint(wanted);
  const parsed = parseVersion(version);
  return check === undefined || parsed === undefined ? version === wanted : check(parsed);
}

function valueAt(values: GoMap, path: string): Value {
  let value: Value = values;
  for (const part of path.split('.')) value = isMap(value) ? value.get(part) : undefined;
  return value;
}

/** The first path of a condition that is a boolean decides; else the tags do. */
function isEnabled({ condition, tags }: Dependency, values: GoMap, path: string): boolean {
  for (const part of (condition ?? '').split(',').map((text) => text.trim())) {
    const value = part === '' ? undefined : valueAt(values, path + part);
    if (typeof value === 'boolean') return value;
  }
  const states = (tags ?? []).map((tag) => valueAt(values, `tags.${tag}`)).filter((state) => typeof state === 'boolean');
  return states.length === 0 || states.includes(true);
}

/** Imported values go under those of the chart; the deepest charts first. */
function importValues(chart: Chart, values: GoMap, warn: Warn): Chart {
  const children = chart.dependencies.map((child) => {
    const own = values.get(child.name);
    return importValues(child, isMap(own) ? own : new Map(), warn);
  });
  const whole = { ...chart, dependencies: children };
  const importing = chart.metadata.dependencies.filter(({ importValues: list }) => list !== undefined);
  if (importing.length === 0) return whole;
  const effective = mergeValues(whole, values, warn);
  const imported: GoMap = new Map();
  for (const dependency of importing)
    for (const item of dependency.importValues ?? []) {
      const child = typeof item === 'string' ? `exports.${item}` : item.child;
      const table = tableAt(effective, `${nameOf(dependency)}.${child}`);
      if (table === undefined) warn(`ImportValues missing table from chart ${chart.name}: ${child}`);
      else mergeTables(imported, nested(typeof item === 'string' ? '' : item.parent, copyMap(table)));
    }
  return { ...whole, values: underlayTable(copyMap(chart.values), imported, chart.name, true, warn) };
}

function nested(path: string, table: GoMap): GoMap {
  if (path === '' || path === '.') return table;
  return path.split('.').reduceRight<GoMap>((inner, part) => new Map([[part, inner]]), table);
}
