import { StatusError, badRequest, type FieldError } from '../errors.ts';
import { invalidValue, requiredValue, unsupportedValue } from '../field-errors.ts';
import { checkLabelValue, checkQualifiedName } from '../names/names.ts';

export type LabelOperator = 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'Gt' | 'Lt' | '=' | '!=';

export interface LabelRequirement {
  readonly key: string;
  readonly operator: LabelOperator;
  readonly values: readonly string[];
}

/** All requirements must hold; an empty list selects everything. */
export type LabelSelector = readonly LabelRequirement[];

/** `metav1.LabelSelector`. */
export interface LabelSelectorObject {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

type Labels = Readonly<Record<string, string>> | undefined;

export function matchesLabels(selector: LabelSelector, labels: Labels): boolean {
  for (const requirement of selector) if (!meets(requirement, labels)) return false;
  return true;
}

function meets({ key, operator, values }: LabelRequirement, labels: Labels): boolean {
  const value = labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'In':
    case '=':
      return value !== undefined && values.includes(value);
    case 'NotIn':
    case '!=':
      return value === undefined || !values.includes(value);
    case 'Gt':
      return difference(value, values[0]) > 0n;
    case 'Lt':
      return difference(value, values[0]) < 0n;
  }
}

/** 0 when either is no integer. */
const difference = (a = '', b = ''): bigint => (isInteger(a) && isInteger(b) ? BigInt(a) - BigInt(b) : 0n);
const isInteger = (text: string): boolean => /^[-+]?[0-9]{1,19}$/.test(text);

/** The requirements of a `metav1.LabelSelector`; undefined (select nothing) when the object is absent. */
export function selectorOf(object: LabelSelectorObject | undefined | null): LabelSelector | undefined {
  if (object === undefined || object === null) return undefined;
  const equalities = Object.entries(object.matchLabels ?? {}).map(
    ([key, value]): LabelRequirement => ({ key, operator: 'In', values: [value] }),
  );
  const expressions = (object.matchExpressions ?? []).map(
    // validation admits these four operators only
    ({ key, operator, values = [] }): LabelRequirement => ({ key, operator: operator as LabelOperator, values }),
  );
  return [...equalities, ...expressions];
}

/** The text form for a query parameter; `parseLabelSelector` reads it back. */
export function formatLabelSelector(selector: LabelSelector): string {
  return selector.map(formatRequirement).join(',');
}

function formatRequirement({ key, operator, values }: LabelRequirement): string {
  switch (operator) {
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
    case 'In':
      return `${key} in (${values.join(',')})`;
    case 'NotIn':
      return `${key} notin (${values.join(',')})`;
    case 'Gt':
      return `${key}>${values[0]}`;
    case 'Lt':
      return `${key}<${values[0]}`;
    default:
      return `${key}${operator}${values[0]}`;
  }
}

/** Findings of a `metav1.LabelSelector` in an object at `path`. */
export function validateLabelSelector(object: LabelSelectorObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(object.matchLabels ?? {})) {
    for (const text of checkQualifiedName(key)) errors.push(invalidValue(`${path}.matchLabels`, key, text));
    for (const text of checkLabelValue(value ?? '')) errors.push(invalidValue(`${path}.matchLabels`, value, text));
  }
  (object.matchExpressions ?? []).forEach((expression, index) => {
    errors.push(...validateExpression(expression, `${path}.matchExpressions[${index}]`));
  });
  return errors;
}

function validateExpression({ key, operator, values = [] }: { key: string; operator: string; values?: string[] }, path: string) {
  const errors: FieldError[] = [];
  if (operator === 'In' || operator === 'NotIn') {
    if (values.length === 0) errors.push(requiredValue(`${path}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
  } else if (operator === 'Exists' || operator === 'DoesNotExist') {
    if (values.length > 0) {
      errors.push({
        type: 'Forbidden',
        path: `${path}.values`,
        detail: "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
      });
    }
  } else {
    errors.push(invalidValue(`${path}.operator`, operator, 'not a valid selector operator'));
  }
  for (const text of checkQualifiedName(key ?? '')) errors.push(invalidValue(`${path}.key`, key, text));
  values.forEach((value, index) => {
    for (const text of checkLabelValue(value)) errors.push(invalidValue(`${path}.values[${index}]`, value, text));
  });
  return errors;
}

interface Token {
  readonly kind: 'identifier' | 'symbol' | 'end';
  readonly text: string;
}

const TOKENS = /\s*(?:(==|!=|[=!<>(),])|([^\s=!<>(),]+))/gy;

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  TOKENS.lastIndex = 0;
  for (let match = TOKENS.exec(text); match !== null; match = TOKENS.exec(text)) {
    tokens.push(match[1] !== undefined ? { kind: 'symbol', text: match[1] } : { kind: 'identifier', text: match[2] ?? '' });
  }
  return tokens;
}

const END: Token = { kind: 'end', text: '' };

/** Parses a `labelSelector` query parameter. Throws a 400 StatusError with the API server's wording. */
export function parseLabelSelector(text: string): LabelSelector {
  const tokens = tokenize(text);
  const requirements: LabelRequirement[] = [];
  let position = 0;
  const peek = (): Token => tokens[position] ?? END;
  const next = (): Token => tokens[position++] ?? END;

  while (peek() !== END) {
    const first = peek();
    if (first.kind === 'symbol' && first.text !== '!') {
      throw badRequest(`found '${first.text}', expected: !, identifier, or 'end of string'`);
    }
    requirements.push(parseRequirement(peek, next));
    const separator = next();
    if (separator === END) break;
    if (separator.text !== ',') throw badRequest(`found '${separator.text}', expected: ',' or 'end of string'`);
    if (peek().kind !== 'identifier' && peek().text !== '!') {
      throw badRequest(`found '${peek().text}', expected: identifier after ','`);
    }
  }
  return requirements.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
}

const unparsable = (text: string): StatusError => badRequest(`unable to parse requirement: ${text}`);

function parseRequirement(peek: () => Token, next: () => Token): LabelRequirement {
  if (peek().text === '!') {
    next();
    return { key: parseKey(next()), operator: 'DoesNotExist', values: [] };
  }
  const key = parseKey(next());
  if (peek() === END || peek().text === ',') return { key, operator: 'Exists', values: [] };
  const operator = parseOperator(next());
  const values = operator === 'In' || operator === 'NotIn' ? parseValues(peek, next) : [parseExactValue(peek, next)];
  checkValues(key, operator, values);
  return { key, operator, values };
}

function parseKey(token: Token): string {
  if (token.kind !== 'identifier') throw unparsable(`found '${token.text}', expected: identifier`);
  const complaint = checkQualifiedName(token.text).join('; ');
  if (complaint !== '') throw unparsable(`<nil>: Invalid value: ${JSON.stringify(token.text)}: ${complaint}`);
  return token.text;
}

const OPERATORS: Readonly<Record<string, LabelOperator>> = {
  in: 'In',
  notin: 'NotIn',
  '=': '=',
  '==': '=',
  '!=': '!=',
  '>': 'Gt',
  '<': 'Lt',
};

function parseOperator(token: Token): LabelOperator {
  const operator = Object.hasOwn(OPERATORS, token.text) ? OPERATORS[token.text] : undefined;
  if (operator === undefined) throw unparsable(`found '${token.text}', expected: in, notin, =, ==, !=, gt, lt`);
  return operator;
}

function parseValues(peek: () => Token, next: () => Token): string[] {
  const open = next();
  if (open.text !== '(') throw unparsable(`found '${open.text}' expected: '('`);
  const values: string[] = [];
  if (peek().text === ')') {
    next();
    return [''];
  }
  for (;;) {
    const token = next();
    if (token.kind === 'identifier') values.push(token.text);
    else if (token.text === ',') values.push('');
    else throw unparsable(`found '${token.text}', expected: ',', ')' or identifier`);
    if (token.text === ',') continue;
    const after = next();
    if (after.text === ')') return [...new Set(values)].sort();
    if (after.text !== ',') throw unparsable(`found '${after.text}', expected: ',' or ')'`);
    if (peek().text === ')') {
      next();
      return [...new Set([...values, ''])].sort();
    }
  }
}

function parseExactValue(peek: () => Token, next: () => Token): string {
  if (peek() === END || peek().text === ',') return '';
  const token = next();
  if (token.kind !== 'identifier') throw unparsable(`found '${token.text}', expected: identifier`);
  return token.text;
}

function checkValues(key: string, operator: LabelOperator, values: readonly string[]): void {
  if ((operator === 'Gt' || operator === 'Lt') && !isInteger(values[0] ?? '')) {
    throw unparsable(
      `values[0]: Invalid value: ${JSON.stringify(values[0])}: for 'Gt', 'Lt' operators, the value must be an integer`,
    );
  }
  values.forEach((value, index) => {
    const complaint = checkLabelValue(value).join('; ');
    if (complaint !== '') throw unparsable(`values[${index}][${key}]: Invalid value: ${JSON.stringify(value)}: ${complaint}`);
  });
}

/** Finding of an operator outside the given ones, for selectors of other shapes (node affinity). */
export function validateOperator(operator: string, supported: readonly string[], path: string): FieldError[] {
  return supported.includes(operator) ? [] : [unsupportedValue(path, operator, supported)];
}
