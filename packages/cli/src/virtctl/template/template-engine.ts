import { isObject } from '@slipway/apimachinery';
import { CommandFailure } from '../io.ts';

/** One parameter of a template. */
export interface TemplateParameter {
  readonly name: string;
  readonly displayName?: string;
  readonly description?: string;
  readonly value?: string;
  /** `expression`: a value is made up that `from` matches. */
  readonly generate?: string;
  readonly from?: string;
  readonly required?: boolean;
}

/** A VirtualMachineTemplate as far as it is processed here. */
export interface Template {
  readonly metadata?: { readonly name?: string };
  readonly spec: {
    readonly parameters?: readonly TemplateParameter[];
    readonly virtualMachine: unknown;
    readonly message?: string;
  };
}

/** A random whole number below `limit`. */
export type Random = (limit: number) => number;

export interface Processed {
  readonly virtualMachine: unknown;
  readonly message: string;
}

/**
 * Fills the parameters into the VM of a template (pure but for `random`). Throws CommandFailure for parameters that the
 * template does not have, and for required ones without a value.
 */
export function processTemplate({ spec }: Template, given: Readonly<Record<string, string>>, random: Random): Processed {
  const parameters = spec.parameters ?? [];
  const unknown = Object.keys(given).filter((name) => !parameters.some((parameter) => parameter.name === name));
  if (unknown.length > 0)
    throw new CommandFailure(`error merging template parameters: unknown parameter(s): ${unknown.toSorted().join(', ')}`);
  const values = new Map(parameters.map((parameter) => [parameter.name, valueOf(parameter, given[parameter.name], random)]));
  const missing = parameters.filter(({ name, required }) => required === true && (values.get(name) ?? '') === '');
  if (missing.length > 0)
    throw new CommandFailure(
      `error processing VirtualMachineTemplate locally: required parameter(s) without a value: ${missing.map(({ name }) => name).join(', ')}`,
    );
  return { virtualMachine: fill(spec.virtualMachine, values), message: fillText(spec.message ?? '', values) };
}

/** Names that a template refers to without declaring them. */
export function undeclaredParameters({ spec }: Template): string[] {
  const declared = new Set((spec.parameters ?? []).map(({ name }) => name));
  const text = JSON.stringify(spec.virtualMachine ?? {});
  const names = [...text.matchAll(REFERENCE)].map(([, whole, part]) => whole ?? part ?? '');
  return [...new Set(names)].filter((name) => !declared.has(name));
}

/** `${{NAME}}`: replaced by a JSON value; `${NAME}`: by text. */
const REFERENCE = /\$\{\{([A-Za-z0-9_]+)\}\}|\$\{([A-Za-z0-9_]+)\}/g;
const WHOLE = /^\$\{\{([A-Za-z0-9_]+)\}\}$/;

function valueOf({ name, value, generate, from }: TemplateParameter, given: string | undefined, random: Random): string {
  if (given !== undefined) return given;
  if (value !== undefined && value !== '') return value;
  if (generate === undefined || generate === '') return '';
  if (generate !== 'expression')
    throw new CommandFailure(
      `error processing VirtualMachineTemplate locally: parameter ${name}: unknown generator "${generate}"`,
    );
  return makeUp(from ?? '', random);
}

const CLASSES: Readonly<Record<string, string>> = {
  '\\w': 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_',
  '\\d': '0123456789',
  '\\a': 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ',
  '\\A': '~!@#$%^&*()-_+={}[]\\|<,>.?/"\';:`',
};
const GENERATED = /\[([^\]]+)\]\{(\d{1,3})\}/g;

/** Text with every `[a-z0-9]{8}` replaced by that many random letters of the range. */
function makeUp(from: string, random: Random): string {
  return from.replace(GENERATED, (_, ranges: string, count: string) => {
    const letters = lettersOf(ranges);
    return Array.from({ length: Number(count) }, () => letters.charAt(random(letters.length))).join('');
  });
}

function lettersOf(ranges: string): string {
  return ranges.replace(/(\\[wdaA])|(.)-(.)/g, (range, named?: string, first?: string, last?: string) => {
    if (named !== undefined) return CLASSES[named] ?? '';
    const [low, high] = [first?.charCodeAt(0) ?? 0, last?.charCodeAt(0) ?? 0];
    if (high < low) throw new CommandFailure(`error processing VirtualMachineTemplate locally: bad range "${range}"`);
    return Array.from({ length: high - low + 1 }, (_, index) => String.fromCharCode(low + index)).join('');
  });
}

function fillText(text: string, values: ReadonlyMap<string, string>): string {
  return text.replace(REFERENCE, (reference, whole?: string, part?: string) => values.get(whole ?? part ?? '') ?? reference);
}

/** Every text of a value filled in; one that is a single `${{NAME}}` becomes what the value is as JSON. */
function fill(value: unknown, values: ReadonlyMap<string, string>): unknown {
  if (typeof value === 'string') {
    const name = WHOLE.exec(value)?.[1];
    const raw = name === undefined ? undefined : values.get(name);
    return raw === undefined ? fillText(value, values) : asJson(raw);
  }
  if (Array.isArray(value)) return value.map((item: unknown) => fill(item, values));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, values)]));
}

function asJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // a plain word
  }
}
