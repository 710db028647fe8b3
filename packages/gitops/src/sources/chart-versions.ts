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

/** YAML beyond this takes so long that everything else would wait for it. */
const MAX_YAML_LENGTH = 4 * 1024 * 1024;

/** The versions of a chart in an `index.yaml`, undefined when it names none; what is incomplete is left out. Throws SourceError. */
export function readChartIndex(text: string, chart: string): readonly IndexEntry[] | undefined {
  const document = parseIndex(text, chart);
  const entries = isObject(document) ? document['entries'] : undefined;
  if (!isObject(entries)) throw new SourceError('index.yaml is not the index of a Helm repository: it has no entries');
  if (!Object.hasOwn(entries, chart)) return undefined;
  const list = entries[chart];
  return Array.isArray(list) ? list.filter(isObject).flatMap(entryOf) : [];
}

function parseIndex(text: string, chart: string): unknown {
  try {
    // some large repositories publish JSON, which is read much faster
    if (text.trimStart().startsWith('{')) return JSON.parse(text);
    return readPart(text, chart) ?? readYaml(text);
  } catch (error) {
    if (!(error instanceof YamlError || error instanceof SyntaxError)) throw error;
    throw new SourceError(`index.yaml is not the index of a Helm repository: ${error.message}`);
  }
}

/** The part of one chart alone; undefined when the text is laid out in another way than Helm does it. */
function readPart(text: string, chart: string): unknown {
  const part = partOf(text, chart);
  if (part === undefined) return undefined;
  try {
    return readYaml(part);
  } catch (error) {
    // it refers to something outside, perhaps
    if (error instanceof YamlError) return undefined;
    throw error;
  }
}

/** The lines of `entries` that are about the chart. */
function partOf(text: string, chart: string): string | undefined {
  const [start] = [...text.matchAll(/^entries:[ \t\r]*\n/gm)];
  if (start === undefined) return undefined;
  const from = start.index + start[0].length;
  const end = /^[^\s#-]/m.exec(text.slice(from));
  const body = end === null ? text.slice(from) : text.slice(from, from + end.index);
  const indent = /^( *)[^\s#]/m.exec(body)?.[1];
  if (indent === undefined || indent === '') return undefined;
  // a key of the same depth begins the next chart; the items of a list may be as deep as their key
  const keys = [
    ...body.matchAll(new RegExp(`^${indent}(?:"([^"\\\\]+)"|'([^']+)'|([^\\s#'"&*!|>-][^\\s:]*)):[ \\t\\r]*$`, 'gm')),
  ];
  const at = keys.findIndex(([, double, single, plain]) => (double ?? single ?? plain) === chart);
  // of a text that is too long for a second look, the names are all there is to know
  if (at === -1 && keys.length > 0 && text.length > MAX_YAML_LENGTH) return 'entries: {}';
  const key = keys[at];
  return key && `entries:\n${body.slice(key.index, keys[at + 1]?.index)}`;
}

function readYaml(text: string): unknown {
  if (text.length > MAX_YAML_LENGTH)
    throw new SourceError(
      'index.yaml is larger than 4 MiB for one chart, or not laid out as `helm repo index` does it: publish it with --json',
    );
  return readYamlDocuments(text)[0];
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
