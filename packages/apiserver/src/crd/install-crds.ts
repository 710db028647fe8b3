import { createHash } from 'node:crypto';
import { cloneJson, deepEqual, formatTime } from '@slipway/apimachinery';
import type { Operation, Store } from '@slipway/store';
import { storeKey } from '../watch-cache/stored-object.ts';
import { putValue } from '../bootstrap/bootstrap.ts';
import { storedObjectOf } from '../watch-cache/collection.ts';
import { acceptNames } from './crd-controller.ts';
import { defaultCrd } from './crd-resource.ts';
import { CRD_GROUP, CRD_PLURAL, type Crd, asCrd } from './crd-types.ts';

const HASH_ANNOTATION = 'slipway.dev/bundle-hash';

/** Installs or updates the platform's own CRDs in one transaction. They are trusted, so they are not validated again. */
export async function installCrds(
  store: Store,
  bundled: readonly object[],
  deps: { readonly nowMs: () => number; readonly uid: () => string },
): Promise<void> {
  const now = formatTime(deps.nowMs());
  const operations = bundled.flatMap((object) => operationFor(store, object as Crd, now, deps.uid)); // the bundle's own type is the same shape
  if (operations.length > 0) await store.transact([], operations);
}

function operationFor(store: Store, bundled: Crd, now: string, uid: () => string): Operation[] {
  const hash = createHash('sha256').update(JSON.stringify(bundled)).digest('base64url').slice(0, 16);
  const key = storeKey({ group: CRD_GROUP, plural: CRD_PLURAL }, '', bundled.metadata.name ?? '');
  const entry = store.get(key);
  const before = entry && asCrd(storedObjectOf(entry).object);
  if (before?.metadata.annotations?.[HASH_ANNOTATION] === hash) return [];
  const crd = before === undefined ? firstVersion(bundled, now, uid) : nextVersion(bundled, before);
  crd.metadata.annotations = { ...crd.metadata.annotations, [HASH_ANNOTATION]: hash };
  defaultCrd(crd);
  const stored = storedVersions(crd, before);
  crd.status = { ...before?.status, storedVersions: stored };
  const next = acceptNames(crd, [], now);
  if (before !== undefined && deepEqual(next, before)) return [];
  return [{ type: 'put', key, value: (revision) => putValue(key, next, revision) }];
}

function firstVersion(bundled: Crd, now: string, uid: () => string): Crd {
  const crd = copyOf(bundled);
  crd.metadata = { ...crd.metadata, uid: uid(), creationTimestamp: now, generation: 1 };
  return crd;
}

/** Copies what is changed here; schemas are shared, because copying them is most of the work. */
function copyOf(bundled: Crd): Crd {
  const { metadata, spec } = bundled;
  const versions = spec.versions.map((version) => ({
    ...version,
    ...(version.additionalPrinterColumns && {
      additionalPrinterColumns: version.additionalPrinterColumns.map((column) => ({ ...column })),
    }),
  }));
  return { ...bundled, metadata: { ...metadata }, spec: { ...spec, names: { ...spec.names }, versions } };
}

function nextVersion(bundled: Crd, before: Crd): Crd {
  const crd = copyOf(bundled);
  const isSame = deepEqual(crd.spec, before.spec);
  crd.metadata = {
    ...cloneJson(before.metadata),
    labels: { ...before.metadata.labels, ...crd.metadata.labels },
    generation: (before.metadata.generation ?? 1) + (isSame ? 0 : 1),
  };
  return crd;
}

function storedVersions(crd: Crd, before: Crd | undefined): string[] {
  const storage = crd.spec.versions.find((version) => version.storage)?.name;
  return [...new Set([...(before?.status?.storedVersions ?? []), ...(storage === undefined ? [] : [storage])])];
}
