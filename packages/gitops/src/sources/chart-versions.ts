import { compareVersions, parseConstraint, parseVersion, readYamlDocuments, YamlError } from '@slipway/helm';
import { isObject } from '@slipway/apimachinery';
import { SourceError } from './source-error.ts';

/** One version of a chart in the index of a repository. */
export interface IndexEntry {
  readonly version: string;
  /** Of the packaged chart, absolute or relative to the repository. */
  readonly url: string;
  /** SHA-256 of the packaged chart, where the repository says it. */
  readonly digest?: string;
}

/** Versions by chart. */
export type ChartIndex = ReadonlyMap<string, readonly IndexEntry[]>;

/** Reads `index.yaml`; entries that are incomplete are left out. Throws SourceError. */
export function readChartIndex(text: string): ChartIndex {
  const document = parse(text);
  const entries = isObject(document) ? document['entries'] : undefined;
  if (!isObject(entries)) throw new SourceError('index.yaml is not the index of a Helm repository: it has no entries');
  return new Map(
    Object.entries(entries).map(([name, list]) => [name, Array.isArray(list) ? list.filter(isObject).flatMap(entryOf) : []]),
  );
}

function parse(text: string): unknown {
  try {
    // large repositories publish JSON, which is read much faster
    return text.trimStart().startsWith('{') ? JSON.parse(text) : readYamlDocuments(text)[0];
  } catch (error) {
    if (!(error instanceof YamlError || error instanceof SyntaxError)) throw error;
    throw new SourceError(`index.yaml is not the index of a Helm repository: ${error.message}`);
  }
}

function entryOf({ version, urls, digest, removed }: Readonly<Record<string, unknown>>): IndexEntry[] {
  const url: unknown = Array.isArray(urls) ? urls[0] : undefined;
  if (typeof version !== 'string' || typeof url !== 'string' || removed === true) return [];
  const hash = typeof digest === 'string' ? digest.replace(/^sha256:/, '').toLowerCase() : '';
  return [{ version, url, ...(/^[0-9a-f]{64}$/.test(hash) && { digest: hash }) }];
}

/** A version, as it is written, rather than a range. */
export const isExactVersion = (text: string): boolean =>
  /^v?\d+\.\d+\.\d+(?:[-+]|$)/.test(text) && parseVersion(text) !== undefined;

/**
 * The version that a `targetRevision` means: the one that is named, else the newest in the range. Nothing, `*` and `HEAD`
 * mean the newest; pre-releases count in ranges that name one only.
 */
export function chooseVersion(versions: readonly string[], wanted: string): string | undefined {
  if (wanted !== '' && versions.includes(wanted)) return wanted;
  const check = parseConstraint(wanted === '' || wanted === 'HEAD' ? '*' : wanted);
  if (check === undefined) return undefined;
  return versions
    .flatMap((text) => {
      const version = parseVersion(text);
      return version && check(version) ? [{ text, version }] : [];
    })
    .sort((a, b) => compareVersions(b.version, a.version))[0]?.text;
}

/** The error of a version that is not there; it names some that are. */
export function noSuchVersion(chart: string, wanted: string, versions: readonly string[], where: string): SourceError {
  const newest = versions
    .flatMap((text) => parseVersion(text) ?? [])
    .sort((a, b) => compareVersions(b, a))
    .slice(0, 5)
    .map(({ original }) => original);
  const shown = newest.length === 0 ? 'there is no version of it' : `the newest are ${newest.join(', ')}`;
  return new SourceError(`chart "${chart}" version "${wanted}" not found in ${where}: ${shown}. Correct targetRevision`);
}
