import { toYaml as writeYaml, yaml11 } from '@slipway/apimachinery';
import { DEFAULT_SCHEMA, loadAll, Type, YAMLException } from 'js-yaml';
import type { Budget } from '../template/budget.ts';
import { isObject, fromData, type Value } from '../template/values.ts';
import { toData, type Read } from './json.ts';

/** In the place of the type that would make a date of the text. */
const timestamp = new Type('tag:yaml.org,2002:timestamp', { kind: 'scalar', resolve: () => false });

/** YAML as Helm's parser reads it: 1.1 booleans and octal numbers, merge keys; times stay text. */
const SCHEMA = DEFAULT_SCHEMA.extend({
  implicit: [timestamp, new Type('tag:yaml.org,2002:bool', yaml11.bool), new Type('tag:yaml.org,2002:int', yaml11.int)],
});

/** Aliases may make a document larger than its text; larger than this it is refused. */
const MAX_NODES = 1_000_000;

/** A YAML document is none. */
export class YamlError extends Error {}

/** All documents of a text as plain data. */
export function readYamlDocuments(text: string): unknown[] {
  try {
    const documents: unknown[] = loadAll(text, undefined, { schema: SCHEMA });
    let nodes = 0;
    const count = (data: unknown): void => {
      if (++nodes > MAX_NODES) throw new YamlError('yaml: document contains excessive aliasing');
      if (typeof data === 'object' && data !== null) for (const item of Object.values(data)) count(item);
    };
    count(documents);
    return documents;
  } catch (error) {
    if (error instanceof YAMLException) throw new YamlError(yamlComplaint(error));
    if (error instanceof RangeError) throw new YamlError('yaml: exceeded max depth of 10000');
    throw error;
  }
}

/** One document as plain data; null for an empty text. */
export function readYamlData(text: string): unknown {
  return readYamlDocuments(text)[0] ?? null;
}

function yamlComplaint(error: YAMLException): string {
  // the type says that the mark is there; it is not for every error
  const mark = error.mark as { line: number } | undefined;
  return mark ? `yaml: line ${mark.line + 1}: ${error.reason}` : `yaml: ${error.reason}`;
}

export function readYaml(text: string): Read {
  try {
    return { value: fromData(readYamlData(text)) };
  } catch (error) {
    if (error instanceof YamlError) return { complaint: `error converting YAML to JSON: ${error.message}` };
    throw error;
  }
}

/** As Helm's `toYaml`: sorted keys, no line break at the end. */
export function toYaml(value: Value, budget: Budget): string {
  const data = isObject(value) && value.toJson ? value.toJson() : toData(value, budget);
  const text = writeYaml(data).replace(/\n$/, '');
  budget.grow(text.length);
  return text;
}

/** `toYamlPretty`: items of lists two spaces further right than their key. */
export function toYamlPretty(value: Value, budget: Budget): string {
  return indentLists(toData(value, budget), 0, budget).replace(/\n$/, '');
}

function indentLists(data: unknown, indent: number, budget: Budget): string {
  const pad = ' '.repeat(indent);
  budget.grow(indent);
  const isFilled = (item: unknown): boolean => typeof item === 'object' && item !== null && Object.keys(item).length > 0;
  if (!isFilled(data)) return pad + shifted(writeYaml(data), pad);
  if (Array.isArray(data))
    return data
      .map((item) =>
        isFilled(item)
          ? `${pad}- ${indentLists(item, indent + 2, budget).slice(indent + 2)}`
          : `${pad}- ${shifted(writeYaml(item), `${pad}  `)}`,
      )
      .join('');
  // neither a list nor a scalar
  return Object.entries(data as Record<string, unknown>)
    .map(([key, item]) =>
      isFilled(item)
        ? `${pad}${writeYaml(key).trimEnd()}:\n${indentLists(item, indent + 2, budget)}`
        : pad + shifted(writeYaml({ [key]: item }), pad),
    )
    .join('');
}

const shifted = (text: string, pad: string): string => text.replace(/\n(?=[^\n])/g, `\n${pad}`);
