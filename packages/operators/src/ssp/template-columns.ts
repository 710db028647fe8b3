import { isObject, type UnstructuredObject } from '@slipway/apimachinery';
import type { PrintedColumn } from '@slipway/runtime';

const DESCRIPTION_LENGTH = 80;
const MORE = '...';

/** What OpenShift prints of Templates: more than JSONPath can say, so that no CustomResourceDefinition can declare it. */
export const templateColumns: readonly PrintedColumn[] = [
  { name: 'Description', cell: descriptionOf },
  { name: 'Parameters', cell: parametersOf },
  { name: 'Objects', cell: ({ objects }) => (Array.isArray(objects) ? objects.length : 0) },
];

function descriptionOf({ metadata }: UnstructuredObject): string {
  const [first = '', ...rest] = (metadata.annotations?.['description'] ?? '').split('\n');
  const line = rest.length > 0 ? `${first}${MORE}` : first;
  if (line.length <= DESCRIPTION_LENGTH) return line;
  return `${line.slice(0, DESCRIPTION_LENGTH - MORE.length).trim()}${MORE}`;
}

function parametersOf({ parameters }: UnstructuredObject): string {
  const all = Array.isArray(parameters) ? parameters.filter(isObject) : [];
  const unset = all.filter(({ value }) => !value);
  const generated = unset.filter(({ generate }) => generate).length;
  const blank = unset.length - generated;
  if (blank > 0) return `${all.length} (${blank} blank)`;
  return generated > 0 ? `${all.length} (${generated} generated)` : `${all.length} (all set)`;
}
