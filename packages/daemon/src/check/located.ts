import { isNode, LineCounter, parseAllDocuments, type YamlDocument } from '@slipway/cli';
import { isObject, type KubeObject } from '@slipway/apimachinery';
import { readYamlDocuments, YamlError } from '@slipway/helm';

/** An object of a file, which knows where its fields are. */
export interface LocatedObject {
  readonly file: string;
  /** Of the file, from 1. */
  readonly document: number;
  readonly object: KubeObject;
  /** Where a field is, or the innermost field around it that is there; lines count from 1. */
  readonly lineOf: (field: string) => number;
}

export interface Finding {
  readonly severity: 'error' | 'warning';
  readonly file: string;
  readonly line: number;
  readonly document: number;
  /** `Kind namespace/name`; absent where no object could be read. */
  readonly object?: string;
  readonly field?: string;
  readonly message: string;
}

export const describeObject = ({ kind, metadata }: KubeObject): string =>
  `${kind ?? ''} ${metadata.namespace ? `${metadata.namespace}/` : ''}${metadata.name ?? metadata.generateName ?? ''}`.trim();

/** Objects of a text, those of Lists one by one, and what is no object. Pure. */
export function locateObjects(file: string, text: string): { readonly objects: LocatedObject[]; readonly findings: Finding[] } {
  const lines = new LineCounter();
  const objects: LocatedObject[] = [];
  const findings: Finding[] = [];
  const documents = parseAllDocuments(text, { lineCounter: lines, version: '1.1', uniqueKeys: true, logLevel: 'silent' });
  if (!Array.isArray(documents)) return { objects, findings };
  for (const [index, parsed] of documents.entries()) {
    const at = { file, document: index + 1 };
    const [fault] = parsed.errors;
    if (fault !== undefined) {
      const line = lines.linePos(fault.pos[0]).line;
      findings.push({ severity: 'error', ...at, line, message: fault.message.split('\n')[0] ?? '' });
      continue;
    }
    const [from = 0, to = text.length] = parsed.contents?.range ?? [];
    if (parsed.contents === null) continue;
    const line = lines.linePos(from).line;
    // the same reader as everywhere says what the scalars are
    const column = ' '.repeat(lines.linePos(from).col - 1);
    const read = plainOf(`${column}${text.slice(from, to)}`);
    if ('complaint' in read) findings.push({ severity: 'error', ...at, line, message: read.complaint });
    else if (read.value !== null && read.value !== undefined)
      collect(read.value, [], { ...at, line, document: parsed, lines, number: index + 1 }, objects, findings);
  }
  return { objects, findings };
}

function plainOf(text: string): { value: unknown } | { complaint: string } {
  try {
    return { value: readYamlDocuments(text)[0] };
  } catch (error) {
    if (error instanceof YamlError) return { complaint: error.message };
    throw error;
  }
}

interface Place {
  readonly file: string;
  readonly line: number;
  readonly number: number;
  readonly document: YamlDocument;
  readonly lines: LineCounter;
}

function collect(
  value: unknown,
  path: readonly (string | number)[],
  place: Place,
  objects: LocatedObject[],
  findings: Finding[],
): void {
  const { file, document, lines, number } = place;
  const lineAt = (inner: readonly (string | number)[]): number => lineOfPath(document, lines, [...path, ...inner]) ?? place.line;
  if (!isObject(value) || typeof value['kind'] !== 'string' || typeof value['apiVersion'] !== 'string') {
    const message = 'no object: apiVersion and kind are missing';
    findings.push({ severity: 'error', file, line: lineAt([]), document: number, message });
    return;
  }
  if (value['kind'].endsWith('List') && Array.isArray(value['items'])) {
    for (const [index, item] of value['items'].entries()) collect(item, [...path, 'items', index], place, objects, findings);
    return;
  }
  const metadata = isObject(value['metadata']) ? value['metadata'] : {};
  const object = { ...value, metadata } as unknown as KubeObject; // the server says what else is wrong
  objects.push({ file, document: number, object, lineOf: (field) => lineAt(pathOf(field)) });
}

/** `spec.disks[0].labels["a.b"]` as the steps of it. Pure. */
export function pathOf(field: string): (string | number)[] {
  const steps = field.matchAll(/\[(\d+)\]|\["?([^\]"]*)"?\]|([^.[\]]+)/g);
  return [...steps].map(([, index, key, name]) => (index === undefined ? (key ?? name ?? '') : Number(index)));
}

function lineOfPath(document: YamlDocument, lines: LineCounter, path: readonly (string | number)[]): number | undefined {
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return lines.linePos(keyOffset(document, path.slice(0, length)) ?? node.range[0]).line;
  }
  return undefined;
}

/** A field begins where its name stands, not its value. */
function keyOffset(document: YamlDocument, path: readonly (string | number)[]): number | undefined {
  const parent = path.length > 1 ? document.getIn(path.slice(0, -1), true) : document.contents;
  const pairs =
    typeof parent === 'object' && parent !== null && 'items' in parent && Array.isArray(parent.items) ? parent.items : [];
  for (const pair of pairs as { key?: unknown }[])
    if (isNode(pair.key) && 'value' in pair.key && pair.key.value === path.at(-1)) return pair.key.range?.[0];
  return undefined;
}
