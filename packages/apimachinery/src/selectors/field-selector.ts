import { badRequest } from '../errors.ts';

export interface FieldRequirement {
  readonly field: string;
  readonly equal: boolean;
  readonly value: string;
}

/** All requirements must hold; an empty list selects everything. */
export type FieldSelector = readonly FieldRequirement[];

/** Parses a `fieldSelector` query parameter. Throws a 400 StatusError with the API server's wording. */
export function parseFieldSelector(text: string): FieldSelector {
  return splitTerms(text)
    .filter((term) => term !== '')
    .map((term) => parseTerm(term, text));
}

/** Splits at commas; a backslash escapes the next character. */
function splitTerms(text: string): string[] {
  const terms: string[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === ',') {
      terms.push(text.slice(start, i));
      start = i + 1;
    }
  }
  terms.push(text.slice(start));
  return terms;
}

function parseTerm(term: string, whole: string): FieldRequirement {
  for (let i = 0; i < term.length; i++) {
    if (term[i] === '\\') {
      i++;
      continue;
    }
    const operator = ['!=', '==', '='].find((candidate) => term.startsWith(candidate, i));
    if (operator === undefined) continue;
    return { field: term.slice(0, i), equal: operator !== '!=', value: unescapeValue(term.slice(i + operator.length)) };
  }
  throw badRequest(`invalid selector: '${whole}'; can't understand '${term}'`);
}

function unescapeValue(text: string): string {
  if (!text.includes('\\')) {
    if (text.includes('=')) throw badRequest(`invalid field selector: unescaped character in value: '='`);
    return text;
  }
  return text.replace(/\\(.)/g, '$1');
}

/** The text form for a query parameter. */
export function formatFieldSelector(selector: FieldSelector): string {
  return selector.map(({ field, equal, value }) => `${field}${equal ? '=' : '!='}${value.replace(/[\\,=]/g, '\\$&')}`).join(',');
}

/** `valueOf` gives the text of a field; an absent field is the empty string. */
export function matchesFields(selector: FieldSelector, valueOf: (field: string) => string): boolean {
  return selector.every(({ field, equal, value }) => (valueOf(field) === value) === equal);
}

/** The value that a selector pins `field` to, or undefined: lets a list of one name become a get. */
export function requiredFieldValue(selector: FieldSelector, field: string): string | undefined {
  return selector.find((requirement) => requirement.field === field && requirement.equal)?.value;
}
