import { isObject } from '@slipway/apimachinery';
import { generateExpression, type RandomBelow } from './generate-expression.ts';
import type { Parameter, Template } from './template-kind.ts';

export interface ParameterFault {
  readonly field: string;
  readonly message: string;
}

/** Thrown with all faults of a template's parameters. */
export class TemplateFaultsError extends Error {
  readonly faults: readonly ParameterFault[];

  constructor(faults: readonly ParameterFault[]) {
    super(faults.map(({ field, message }) => `${field}: ${message}`).join(', '));
    this.faults = faults;
  }
}

/** A template with values in all its parameters and its objects filled in; nothing is stored or created. */
export function processTemplate(template: Template, random: RandomBelow): Template {
  const faults: ParameterFault[] = [];
  const parameters = (template.parameters ?? []).map((parameter, index) => {
    try {
      return withValue(parameter, random);
    } catch (error) {
      faults.push({ field: `template.parameters[${index}]`, message: error instanceof Error ? error.message : String(error) });
      return parameter;
    }
  });
  if (faults.length > 0) throw new TemplateFaultsError(faults);
  const values = new Map(parameters.map(({ name, value = '' }) => [name, value]));
  const labels = template.labels === undefined ? undefined : filledLabels(template.labels, values);
  return {
    ...template,
    parameters,
    ...(template.message !== undefined && { message: fillText(template.message, values) }),
    ...(labels && { labels }),
    objects: (template.objects ?? []).map((object) => filledObject(object, values, labels)),
  };
}

function withValue(parameter: Parameter, random: RandomBelow): Parameter {
  const { name, value = '', generate = '', from = '', required } = parameter;
  if (value !== '') return parameter;
  if (generate !== '' && generate !== 'expression') throw new Error(`Unknown generator name '${generate}' for parameter ${name}`);
  const made = generate === '' ? '' : generateExpression(from, random);
  if (made === '' && required === true) throw new Error(`parameter ${name} is required and must be specified`);
  return made === '' ? parameter : { ...parameter, value: made };
}

type Values = ReadonlyMap<string, string>;
const REFERENCE = /\$\{([a-zA-Z0-9_]+?)\}/g;
const WHOLE = /^\$\{\{([a-zA-Z0-9_]+)\}\}$/;

/** Values are not looked at again; names that nobody knows stay. */
const fillText = (text: string, values: Values): string =>
  text.replace(REFERENCE, (all, name: string) => values.get(name) ?? all);

function fill(value: unknown, values: Values): unknown {
  if (typeof value === 'string') return fillValue(value, values);
  if (Array.isArray(value)) return value.map((item: unknown) => fill(item, values));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [fillText(key, values), fill(item, values)]));
}

/** A text that is one `${{NAME}}` becomes what its value is as JSON. */
function fillValue(text: string, values: Values): unknown {
  const whole = values.get(WHOLE.exec(text)?.[1] ?? '');
  if (whole === undefined) return fillText(text, values);
  try {
    return JSON.parse(whole);
  } catch {
    return whole;
  }
}

const filledLabels = (labels: Readonly<Record<string, string>>, values: Values): Record<string, string> =>
  Object.fromEntries(Object.entries(labels).map(([name, value]) => [fillText(name, values), fillText(value, values)]));

function filledObject(object: unknown, values: Values, labels: Readonly<Record<string, string>> | undefined): unknown {
  const metadata = isObject(object) && isObject(object['metadata']) ? object['metadata'] : undefined;
  const { namespace, ...others } = metadata ?? {};
  // objects come into the namespace of whoever asks, unless a parameter says where
  const isFixed = typeof namespace === 'string' && !new RegExp(REFERENCE.source).test(namespace);
  const open = isFixed && isObject(object) ? { ...object, metadata: others } : object;
  const filled = fill(open, values);
  if (labels === undefined || !isObject(filled)) return filled;
  const own = isObject(filled['metadata']) ? filled['metadata'] : {};
  const before = isObject(own['labels']) ? own['labels'] : {};
  return { ...filled, metadata: { ...own, labels: { ...before, ...labels } } };
}
