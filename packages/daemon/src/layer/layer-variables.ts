import { isObject } from '@slipway/apimachinery';
import type { Values } from './read-var-files.ts';

export interface Taint {
  readonly key: string;
  readonly value: string;
  readonly effect: string;
}

/** Nodes of one kind: on a cloud, machines that are made; here, nodes that get labels and taints. */
export interface MachinePool {
  readonly name: string;
  readonly instanceType: string;
  readonly replicas: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly Taint[];
}

export interface Toleration {
  readonly key?: string;
  readonly operator?: string;
  readonly value?: string;
  readonly effect?: string;
  readonly tolerationSeconds?: number;
}

export interface LayerVariables {
  readonly pools: readonly MachinePool[];
  /** `enable_layer_virtualization`. */
  readonly isEnabled: boolean;
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly tolerations: readonly Toleration[];
  /** What is accepted and may still be a mistake, for people. */
  readonly warnings: readonly string[];
}

/** Either the variables, or one line for each fault: its variable, what is wrong, what to write instead. */
export type ReadVariables = { readonly variables: LayerVariables } | { readonly faults: readonly string[] };

const KNOWN = ['machine_pools', 'enable_layer_virtualization', 'virt_node_selector', 'virt_tolerations'];
const POOL_FIELDS = ['name', 'instance_type', 'replicas', 'labels', 'taints'];
const EFFECTS = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];
const OPERATORS = ['Equal', 'Exists'];
const DNS_LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
const LABEL_NAME = /^(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const LABEL_VALUE = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

/** Reads values and collects faults, so that one run shows all of them. */
function faultCollector() {
  const faults: string[] = [];
  const fault = (variable: string, text: string): void => void faults.push(`${variable}: ${text}`);
  /** Undefined for what is missing or of the wrong kind; the latter is a fault. */
  const read = <T>(variable: string, value: unknown, is: (value: unknown) => value is T, wanted: string): T | undefined => {
    if (value === undefined || value === null) return undefined;
    if (isExpression(value)) fault(variable, `${value} is an expression; write the value itself, these files hold values only`);
    else if (is(value)) return value;
    else fault(variable, `${JSON.stringify(value)} is not ${wanted}`);
    return undefined;
  };
  const text = (variable: string, value: unknown): string | undefined => read(variable, value, isText, 'text; put it in quotes');
  const required = (variable: string, value: unknown, example: string): string => {
    if (value === undefined || value === null || value === '') fault(variable, `is missing; for example ${example}`);
    return text(variable, value) ?? '';
  };
  const oneOf = (variable: string, value: string | undefined, choices: readonly string[]): void => {
    if (value !== undefined && value !== '' && !choices.includes(value))
      fault(variable, `${JSON.stringify(value)} is none of ${choices.join(', ')}`);
  };
  const labels = (variable: string, value: unknown): Readonly<Record<string, string>> => {
    const map = read(variable, value, isObject, 'a map; write { "key" = "value" }') ?? {};
    return Object.fromEntries(Object.entries(map).map(([name, entry]) => [name, label(`${variable}["${name}"]`, name, entry)]));
  };
  const label = (at: string, name: string, entry: unknown): string => {
    const value = text(at, entry) ?? '';
    if (!LABEL_NAME.test(name)) fault(at, 'is no name of a label; write name or domain/name of letters, digits, - _ and .');
    if (!LABEL_VALUE.test(value))
      fault(at, `${JSON.stringify(value)} is no value of a label; at most 63 letters, digits, - _ and .`);
    return value;
  };
  const list = (variable: string, value: unknown): readonly Values[] => {
    const entries = read(variable, value, isList, 'a list; write [{ … }]') ?? [];
    return entries.flatMap((entry, index): readonly Values[] => {
      const object = read(`${variable}[${index}]`, entry, isObject, 'an object; write { … }');
      return object === undefined ? [] : [object];
    });
  };
  return { faults, fault, read, text, required, oneOf, labels, list };
}
type Reader = ReturnType<typeof faultCollector>;

const isText = (value: unknown): value is string => typeof value === 'string';
const isFlag = (value: unknown): value is boolean => typeof value === 'boolean';
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;
const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value);
const isExpression = (value: unknown): value is string => typeof value === 'string' && /(?<!\$)\$\{/.test(value);

/** Checks the values of a variables file. Variables of other parts of a configuration are left alone. Pure. */
export function readLayerVariables(values: Values): ReadVariables {
  const reader = faultCollector();
  const pools = reader.list('machine_pools', values['machine_pools']).map((pool, index) => poolOf(reader, pool, index));
  const names = pools.map(({ name }) => name);
  const twice = names.findIndex((name, index) => name !== '' && names.indexOf(name) !== index);
  if (twice >= 0)
    reader.fault(`machine_pools[${twice}].name`, `"${names[twice]}" is the name of another pool; give each its own`);
  const flag = 'enable_layer_virtualization';
  const isEnabled = reader.read(flag, values[flag], isFlag, 'true or false; write it without quotes') ?? false;
  const nodeSelector = reader.labels('virt_node_selector', values['virt_node_selector']);
  const tolerations = reader
    .list('virt_tolerations', values['virt_tolerations'])
    .map((toleration, index) => tolerationOf(reader, toleration, `virt_tolerations[${index}]`));
  if (reader.faults.length > 0) return { faults: reader.faults };
  const read = { pools, isEnabled, nodeSelector, tolerations };
  return { variables: { ...read, warnings: [...unusedOf(values), ...doubtsAbout(read)] } };
}

function poolOf(reader: Reader, pool: Values, index: number): MachinePool {
  const at = `machine_pools[${index}]`;
  const name = reader.required(`${at}.name`, pool['name'], '"virt"');
  if (name !== '' && !DNS_LABEL.test(name))
    reader.fault(`${at}.name`, `${JSON.stringify(name)} is no name of a pool; use lower-case letters, digits and -`);
  const count = pool['replicas'];
  if (count === undefined || count === null) reader.fault(`${at}.replicas`, 'is missing; say how many nodes the pool has');
  const replicas = reader.read(`${at}.replicas`, count, isCount, 'a number of nodes; write a whole number') ?? 0;
  const labels = reader.labels(`${at}.labels`, pool['labels']);
  const taints = reader
    .list(`${at}.taints`, pool['taints'])
    .map((taint, position) => taintOf(reader, taint, `${at}.taints[${position}]`));
  return { name, instanceType: reader.text(`${at}.instance_type`, pool['instance_type']) ?? '', replicas, labels, taints };
}

function taintOf(reader: Reader, taint: Values, at: string): Taint {
  const key = reader.required(`${at}.key`, taint['key'], '"virtualization"');
  if (key !== '' && !LABEL_NAME.test(key)) reader.fault(`${at}.key`, `${JSON.stringify(key)} is no key of a taint`);
  const value = reader.text(`${at}.value`, taint['value']) ?? '';
  if (!LABEL_VALUE.test(value)) reader.fault(`${at}.value`, `${JSON.stringify(value)} is no value of a taint`);
  const effect = reader.required(`${at}.schedule_type`, taint['schedule_type'], '"PreferNoSchedule"');
  reader.oneOf(`${at}.schedule_type`, effect, EFFECTS);
  return { key, value, effect };
}

function tolerationOf(reader: Reader, toleration: Values, at: string): Toleration {
  const key = reader.text(`${at}.key`, toleration['key']);
  const operator = reader.text(`${at}.operator`, toleration['operator']);
  const value = reader.text(`${at}.value`, toleration['value']);
  const effect = reader.text(`${at}.effect`, toleration['effect']);
  const seconds = reader.read(`${at}.toleration_seconds`, toleration['toleration_seconds'], isCount, 'a number of seconds');
  reader.oneOf(`${at}.operator`, operator, OPERATORS);
  reader.oneOf(`${at}.effect`, effect, EFFECTS);
  if (!key && operator !== 'Exists')
    reader.fault(`${at}.key`, 'is missing; name the taint, or write operator = "Exists" for all');
  if (operator === 'Exists' && value) reader.fault(`${at}.value`, 'must not be there with operator = "Exists"');
  return {
    ...(key && { key }),
    ...(operator && { operator }),
    ...(value !== undefined && operator !== 'Exists' && { value }),
    ...(effect && { effect }),
    ...(seconds !== undefined && { tolerationSeconds: seconds }),
  };
}

/** A name that nobody reads is a variable of another part, or one of ours with a slip. */
function unusedOf(values: Values): readonly string[] {
  const others = Object.keys(values).filter((name) => !KNOWN.includes(name));
  const fields = (Array.isArray(values['machine_pools']) ? values['machine_pools'] : []).flatMap((pool: unknown, index) =>
    isObject(pool)
      ? Object.keys(pool).flatMap((name) => (POOL_FIELDS.includes(name) ? [] : `machine_pools[${index}].${name}`))
      : [],
  );
  return [...others, ...fields].map((name) => `${name} is not used here`);
}

function doubtsAbout({ pools, isEnabled, nodeSelector, tolerations }: Omit<LayerVariables, 'warnings'>): readonly string[] {
  if (!isEnabled) return ['enable_layer_virtualization is not true: only the machine pools are looked after'];
  const wanted = Object.entries(nodeSelector);
  const chosen = pools.filter(({ labels }) => wanted.every(([name, value]) => labels[name] === value));
  const doubts = chosen.length === 0 && pools.length > 0 ? ['virt_node_selector: no pool in machine_pools has these labels'] : [];
  if (wanted.length === 0) doubts.push('virt_node_selector is empty: virtualization may use every node');
  for (const { name, taints } of wanted.length === 0 ? [] : chosen)
    for (const taint of taints)
      if (!tolerations.some((toleration) => tolerates(toleration, taint)))
        doubts.push(`virt_tolerations: nothing tolerates ${taintText(taint)} of machine pool ${name}`);
  return doubts;
}

export const tolerates = (toleration: Toleration, taint: Taint): boolean =>
  (toleration.effect === undefined || toleration.effect === taint.effect) &&
  (toleration.key === undefined || toleration.key === taint.key) &&
  (toleration.operator === 'Exists' || (toleration.value ?? '') === taint.value);

/** As `kubectl taint` writes it. */
export const taintText = ({ key, value, effect }: { key: string; value?: string; effect: string }): string =>
  `${key}${value ? `=${value}` : ''}:${effect}`;
