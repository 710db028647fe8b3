import { isObject } from '@slipway/apimachinery';
import { type ChartFile, type Dependency, parseConstraint, parseVersion, readYamlDocuments, YamlError } from '@slipway/helm';
import { isExactVersion } from './chart-versions.ts';
import { SourceError } from './source-error.ts';

/** A dependency that has to be fetched. */
export interface RemoteDependency {
  readonly name: string;
  /** A URL, or `@name` of a repository that has one. */
  readonly repository: string;
  /** A version or a range. */
  readonly version: string;
}

const LOCKS = ['Chart.lock', 'requirements.lock'];
const MAX_DEPENDENCIES = 50;

/**
 * What to fetch for a chart that misses these dependencies: the versions of its lock file, where there is one. Undefined when
 * one of them comes from nowhere.
 */
export function remoteDependencies(
  files: readonly ChartFile[],
  missing: readonly Dependency[],
): readonly RemoteDependency[] | undefined {
  if (missing.some(({ repository = '' }) => repository === '' || repository.startsWith('file:'))) return undefined;
  if (missing.length > MAX_DEPENDENCIES) throw new SourceError(`the chart misses more than ${MAX_DEPENDENCIES} dependencies`);
  const locked = lockedVersions(files);
  return missing.map(({ name, repository = '', version = '*' }) => {
    const repositoryOrName = repository.replace(/^alias:/, '@');
    return { name, repository: repositoryOrName, version: locked ? lockedVersion(name, version, locked) : version };
  });
}

function lockedVersion(name: string, wanted: string, locked: ReadonlyMap<string, readonly string[]>): string {
  const found = locked.get(name)?.find((version) => fits(version, wanted));
  if (found === undefined)
    throw new SourceError(
      `the lock file (Chart.lock) is out of sync with the dependencies file (Chart.yaml): it names no version ${wanted} of ${name}. Run \`helm dependency update\` and commit Chart.lock`,
    );
  return found;
}

function fits(version: string, wanted: string): boolean {
  if (isExactVersion(wanted) && version === wanted) return true;
  const check = parseConstraint(wanted);
  const parsed = parseVersion(version);
  return check === undefined || parsed === undefined ? version === wanted : check(parsed);
}

/** Versions by name, or undefined when the chart has no lock file. */
function lockedVersions(files: readonly ChartFile[]): Map<string, string[]> | undefined {
  const lock = files.find(({ path }) => LOCKS.includes(path));
  if (lock === undefined) return undefined;
  const versions = new Map<string, string[]>();
  for (const entry of lockEntries(lock)) {
    const { name, version } = entry;
    if (typeof name === 'string' && typeof version === 'string') versions.set(name, [...(versions.get(name) ?? []), version]);
  }
  return versions;
}

function lockEntries({ path, data }: ChartFile): Record<string, unknown>[] {
  try {
    const document = readYamlDocuments(new TextDecoder().decode(data))[0];
    const list = isObject(document) ? document['dependencies'] : undefined;
    return Array.isArray(list) ? list.filter(isObject) : [];
  } catch (error) {
    if (error instanceof YamlError) throw new SourceError(`cannot read ${path}: ${error.message}`);
    throw error;
  }
}
