import {
  type FieldSelector,
  type LabelSelector,
  type UnstructuredObject,
  badRequest,
  matchesFields,
  matchesLabels,
  parseFieldSelector,
  parseLabelSelector,
} from '@slipway/apimachinery';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import type { StoredObject } from '../watch-cache/stored-object.ts';

/** The selectors of a list, watch or collection deletion. */
export interface Selection {
  readonly labels: LabelSelector;
  readonly fields: FieldSelector;
  /** True when everything is selected: objects need not even be parsed. */
  readonly isEverything: boolean;
}

/** Reads `labelSelector` and `fieldSelector`. Throws 400 for what does not parse or is not supported. */
export function selectionOf(definition: ResourceDefinition, query: URLSearchParams): Selection {
  const labels = parseLabelSelector(query.get('labelSelector') ?? '');
  const fields = parseFieldSelector(query.get('fieldSelector') ?? '');
  for (const { field } of fields) checkField(definition, field);
  return { labels, fields, isEverything: labels.length === 0 && fields.length === 0 };
}

function checkField(definition: ResourceDefinition, field: string): void {
  if (field === 'metadata.name' || field === 'metadata.namespace') return;
  const { selectableFieldNames } = definition;
  if (selectableFieldNames?.includes(field)) return;
  if (definition.custom || selectableFieldNames !== undefined) throw badRequest(`field label not supported: ${field}`);
  throw badRequest(`"${field}" is not a known field selector: only "metadata.name", "metadata.namespace"`);
}

export function isSelected(definition: ResourceDefinition, selection: Selection, stored: StoredObject): boolean {
  if (selection.isEverything) return true;
  if (selection.labels.length > 0 && !matchesLabels(selection.labels, stored.object.metadata.labels)) return false;
  if (selection.fields.length === 0) return true;
  return matchesFields(selection.fields, fieldReader(definition, stored));
}

function fieldReader(definition: ResourceDefinition, stored: StoredObject): (field: string) => string {
  let values: Readonly<Record<string, string>> | undefined;
  return (field) => {
    if (field === 'metadata.name') return stored.name;
    if (field === 'metadata.namespace') return stored.namespace;
    values ??= definition.selectableFields?.(stored.object as UnstructuredObject) ?? {};
    return values[field] ?? '';
  };
}
