import { type UnstructuredObject, matchesLabels, selectorOf } from '@slipway/apimachinery';
import type { Registry } from '../../registry/registry.ts';
import type { ResourceDefinition } from '../../registry/resource-definition.ts';
import type { ParamKind, ParamRef } from './policy-types.ts';

/** The objects to evaluate a policy with, each in turn; `null` for one evaluation without any. */
export type Params = readonly (UnstructuredObject | null)[];

/** Finds the parameters of a binding. Throws Error when there is something wrong with how it is set up. */
export function findParams(
  registry: Registry,
  kind: ParamKind | undefined,
  ref: ParamRef | undefined,
  namespace: string,
): Params {
  if (kind === undefined || ref === undefined) return [null];
  const [version = '', group = ''] = (kind.apiVersion ?? '').split('/').reverse();
  const definition = registry.findByKind(group, version, kind.kind ?? '');
  if (definition === undefined) {
    throw new Error(`failed to find resource referenced by paramKind: '${kind.apiVersion}, Kind=${kind.kind}'`);
  }
  const place = placeOf(definition, ref, namespace);
  const found =
    ref.name === undefined ? selected(registry, definition, place, ref) : named(registry, definition, place, ref.name);
  if (found.length === 0 && ref.parameterNotFoundAction !== 'Allow') {
    throw new Error('no params found for policy binding with `Deny` parameterNotFoundAction');
  }
  return found;
}

function placeOf({ namespaced }: ResourceDefinition, ref: ParamRef, namespace: string): string {
  if (!namespaced) {
    if (ref.namespace) throw new Error('paramRef.namespace must not be provided for a cluster-scoped `paramKind`');
    return '';
  }
  const place = ref.namespace || namespace;
  if (place === '') throw new Error('cannot use namespaced paramRef in policy binding that matches cluster-scoped resources');
  return place;
}

function named(registry: Registry, definition: ResourceDefinition, namespace: string, name: string): UnstructuredObject[] {
  const stored = registry.get(definition, namespace, name);
  return stored === undefined ? [] : [stored.object];
}

function selected(registry: Registry, definition: ResourceDefinition, namespace: string, ref: ParamRef): UnstructuredObject[] {
  const selector = selectorOf(ref.selector ?? {}) ?? [];
  return registry
    .collectionOf(definition)
    .list(namespace)
    .filter(({ object }) => matchesLabels(selector, object.metadata.labels))
    .map((stored) => registry.view(definition, stored).object);
}
