import { define, FunctionError, type FunctionTable } from '../template/functions.ts';
import { fromData, isList, isMap, isNil, type GoMap, type Value } from '../template/values.ts';
import type { Budget } from '../template/budget.ts';
import { readJson } from '../functions/json.ts';
import { toToml } from '../functions/toml.ts';
import { readYaml, toYaml, toYamlPretty } from '../functions/yaml.ts';

/** Answers `lookup`: the object as JSON, or undefined when it is not there. */
export type Lookup = (apiVersion: string, kind: string, namespace: string, name: string) => unknown;

/** Marks a message of `fail` or `required`, which is shown without the chain of templates. */
const START = 'HELM_ERR_START';
const END = 'HELM_ERR_END';
const MARKED = new RegExp(`${START}([^]*)${END}`);

export interface HelmFunctionDeps {
  readonly budget: Budget;
  readonly lookup: Lookup;
  readonly include: (name: string, data: Value) => string;
  readonly tpl: (text: string, data: Value) => string;
  /** Problems of required values are warnings. */
  readonly isLint: boolean;
}

/** The message inside a marked error, if it is one. */
export const markedMessage = (text: string): string | undefined => MARKED.exec(text)?.[1];
const marked = (message: string): FunctionError => new FunctionError(START + message + END);

/** What Helm adds to Go's and Sprig's functions. */
export function helmFunctions(deps: HelmFunctionDeps): FunctionTable {
  const { budget } = deps;
  return {
    include: define('string any', deps.include),
    tpl: define('string any', deps.tpl),
    required: define('string any', (message: string, value: Value) => {
      if (isNil(value) || value === '') {
        if (deps.isLint) return '';
        throw marked(message);
      }
      return value;
    }),
    fail: define('string', (message: string) => {
      throw marked(message);
    }),
    lookup: define('string string string string', (apiVersion: string, kind: string, namespace: string, name: string) => {
      const found = deps.lookup(apiVersion, kind, namespace, name);
      return found === undefined ? new Map() : fromData(found);
    }),
    // names are not resolved unless the user allows it, which nobody can here
    getHostByName: define('string', () => ''),
    ...dataFunctions(budget),
  };
}

const IN_YAML = 'error unmarshaling JSON: ';

function dataFunctions(budget: Budget): FunctionTable {
  const orEmpty = (write: (value: Value, budget: Budget) => string) =>
    define('any', (value: Value) => {
      try {
        return write(value, budget);
      } catch (error) {
        if (error instanceof FunctionError) return '';
        throw error;
      }
    });
  const failure = (message: string): GoMap => new Map<string, Value>([['Error', message]]);
  const asMap = (read: typeof readYaml, prefix: string) =>
    define('string', (text: string) => {
      const result = read(text);
      if ('complaint' in result) return failure(result.complaint);
      if (isNil(result.value)) return new Map();
      return isMap(result.value) ? result.value : failure(prefix + unmarshalComplaint(result.value, 'map[string]interface {}'));
    });
  const asList = (read: typeof readYaml, prefix: string) =>
    define('string', (text: string) => {
      const result = read(text);
      if ('complaint' in result) return [result.complaint];
      if (isNil(result.value)) return [];
      return isList(result.value) ? result.value : [prefix + unmarshalComplaint(result.value, '[]interface {}')];
    });
  return {
    toYaml: orEmpty(toYaml),
    mustToYaml: define('any', (value: Value) => toYaml(value, budget)),
    toYamlPretty: orEmpty(toYamlPretty),
    fromYaml: asMap(readYaml, IN_YAML),
    fromYamlArray: asList(readYaml, IN_YAML),
    fromJson: asMap(readJson, ''),
    fromJsonArray: asList(readJson, ''),
    toToml: define('any', (value: Value) => {
      try {
        return toToml(value, budget);
      } catch (error) {
        if (error instanceof FunctionError) return error.message;
        throw error;
      }
    }),
    mustToToml: define('any', (value: Value) => toToml(value, budget)),
  };
}

function unmarshalComplaint(value: Value, type: string): string {
  const kind = isList(value) ? 'array' : isMap(value) ? 'object' : typeof value === 'boolean' ? 'bool' : typeof value;
  return `json: cannot unmarshal ${kind} into Go value of type ${type}`;
}
