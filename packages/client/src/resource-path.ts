import type { ResourceKind } from '@slipway/apimachinery';
import type { DeleteOptions, ListOptions, PatchOptions, WatchOptions, WriteOptions } from './client.ts';

/** Query parameters of one request; undefined values are left out. */
export type Query = Readonly<Record<string, string | undefined>>;

/** `/api/v1` or `/apis/<group>/<version>`. */
export function groupVersionPath(kind: Pick<ResourceKind, 'group' | 'version'>): string {
  return kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
}

/** Path of the collection, of all namespaces when `namespace` is absent or empty. */
export function collectionPath(
  kind: Pick<ResourceKind, 'group' | 'version' | 'plural' | 'namespaced'>,
  namespace?: string,
): string {
  const scope = kind.namespaced && namespace ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${groupVersionPath(kind)}${scope}/${kind.plural}`;
}

/** Path of one object, with its subresource when given. Throws when a namespaced kind comes without a namespace. */
export function resourcePath(
  kind: Pick<ResourceKind, 'group' | 'version' | 'plural' | 'namespaced'>,
  key: { readonly namespace: string; readonly name: string },
  subresource?: string,
): string {
  if (kind.namespaced && key.namespace === '') throw new Error(`${kind.plural} "${key.name}" needs a namespace`);
  // an empty name would turn a request for one object into one for the collection
  if (key.name === '') throw new Error(`Request for one of ${kind.plural} needs a name`);
  const object = `${collectionPath(kind, key.namespace)}/${encodeURIComponent(key.name)}`;
  return subresource ? `${object}/${subresource}` : object;
}

export function listQuery(options: ListOptions = {}): Query {
  return {
    labelSelector: options.labelSelector,
    fieldSelector: options.fieldSelector,
    limit: options.limit?.toString(),
    continue: options.continue,
    resourceVersion: options.resourceVersion,
    resourceVersionMatch: options.resourceVersionMatch,
  };
}

export function watchQuery(options: WatchOptions): Query {
  return {
    ...listQuery(options),
    watch: 'true',
    allowWatchBookmarks: options.allowWatchBookmarks ? 'true' : undefined,
    timeoutSeconds: options.timeoutSeconds?.toString(),
  };
}

export function writeQuery(options: WriteOptions = {}): Query {
  return {
    dryRun: options.dryRun ? 'All' : undefined,
    fieldManager: options.fieldManager,
    fieldValidation: options.fieldValidation,
  };
}

export function patchQuery(options: PatchOptions): Query {
  return { ...writeQuery(options), force: options.force === undefined ? undefined : String(options.force) };
}

const PATCH_CONTENT_TYPES: Record<PatchOptions['type'], string> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
};

export const patchContentType = (type: PatchOptions['type']): string => PATCH_CONTENT_TYPES[type];

/** `metav1.DeleteOptions` of a delete request; undefined when nothing is asked for. */
export function deleteBody(options: DeleteOptions = {}): Record<string, unknown> | undefined {
  const body = {
    ...(options.propagationPolicy && { propagationPolicy: options.propagationPolicy }),
    ...(options.gracePeriodSeconds !== undefined && { gracePeriodSeconds: options.gracePeriodSeconds }),
    ...(options.preconditions && { preconditions: options.preconditions }),
    ...(options.dryRun && { dryRun: ['All'] }),
  };
  return Object.keys(body).length === 0 ? undefined : { kind: 'DeleteOptions', apiVersion: 'v1', ...body };
}
