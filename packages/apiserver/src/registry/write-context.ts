import {
  type ResourceRef,
  StatusError,
  type UnstructuredObject,
  apiVersionOf,
  conflict,
  formatTime,
} from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import { type PutValue, StoreWriteError } from '@slipway/store';
import type { AdmissionChain } from '../admission/admission-chain.ts';
import { storedObjectOf } from '../watch-cache/collection.ts';
import { StoredObject, deepFreeze, serializeObject } from '../watch-cache/stored-object.ts';
import { type Registry, storageForm } from './registry.ts';
import type { ResourceDefinition, StrategyContext } from './resource-definition.ts';

export type FieldValidation = 'Ignore' | 'Warn' | 'Strict';

/** What one write needs to know; made per request. */
export interface WriteContext {
  readonly registry: Registry;
  readonly admission: AdmissionChain;
  readonly definition: ResourceDefinition;
  /** Empty for cluster-scoped resources. */
  readonly namespace: string;
  readonly user: UserInfo;
  readonly dryRun: boolean;
  /** Name for managedFields. */
  readonly fieldManager: string;
  readonly fieldValidation: FieldValidation;
  /** Complaints about the text of the body, from before it was decoded. */
  readonly textFindings?: readonly string[];
  /** How a body that does not decode is refused; absent: 400 that names the kind. */
  readonly decodingError?: (why: string) => StatusError;
  /** The options of the request as an object, for webhooks. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** `''`, `status`, `scale` … */
  readonly subresource: string;
  readonly nowMs: () => number;
  readonly uid: () => string;
  /** A random index below `limit`. */
  readonly random: (limit: number) => number;
  readonly warn: (text: string) => void;
  /** Adds an annotation to the record of this request in the audit log. */
  readonly annotate?: (key: string, value: string) => void;
  readonly signal: AbortSignal;
}

export function strategyContext(context: WriteContext): StrategyContext {
  const { registry } = context;
  return {
    user: context.user,
    now: formatTime(context.nowMs()),
    namespace: context.namespace,
    dryRun: context.dryRun,
    subresource: context.subresource,
    lookup: (group, plural, namespace, name) => registry.lookup(group, plural, namespace, name),
    lookupAll: (group, plural, namespace) => registry.lookupAll(group, plural, namespace),
    warn: context.warn,
  };
}

export const refOf = (definition: ResourceDefinition): ResourceRef => ({ resource: definition.plural, group: definition.group });

export const OPTIMISTIC_LOCK_MESSAGE =
  'the object has been modified; please apply your changes to the latest version and try again';

/** A stale resourceVersion. */
export function modifiedConflict(definition: ResourceDefinition, name: string): StatusError {
  return conflict(refOf(definition), name, OPTIMISTIC_LOCK_MESSAGE);
}

/** Stores `object` (which is frozen by it) if the key's revision is still `expected` (0: absent), else undefined. */
export async function putObject(
  context: WriteContext,
  key: string,
  object: UnstructuredObject,
  expected: number,
): Promise<StoredObject | undefined> {
  const { definition, registry } = context;
  const stored = await storedForm(definition, object);
  const value = (revision: number): PutValue => {
    stored.metadata.resourceVersion = String(revision);
    const json = serializeObject(stored);
    return { value: json, attachment: new StoredObject(key, revision, json, deepFreeze(stored)) };
  };
  const result = await guardStore(() =>
    context.registry.store.transact([{ key, modRevision: expected }], [{ type: 'put', key, value }]),
  );
  const entry = result.ok ? result.entries[0] : undefined;
  if (entry === undefined) return undefined;
  await registry.prepare(definition, [storedObjectOf(entry)]);
  return registry.view(definition, storedObjectOf(entry));
}

async function storedForm(definition: ResourceDefinition, object: UnstructuredObject): Promise<UnstructuredObject> {
  const { convert, group, storageVersion } = definition;
  if (convert === undefined || storageVersion === undefined) return storageForm(definition, object);
  const [converted] = await convert([object], apiVersionOf({ group, version: storageVersion }));
  return converted ?? object;
}

/** Deletes the key if its revision is still `expected`. Resolves with the revision of the deletion. */
export async function removeObject(context: WriteContext, key: string, expected: number): Promise<number | undefined> {
  const result = await guardStore(() =>
    context.registry.store.transact([{ key, modRevision: expected }], [{ type: 'delete', key }]),
  );
  return result.ok ? result.revision : undefined;
}

/** A full disk is not the client's fault, but it must be told apart from other failures. */
async function guardStore<T>(write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (!(error instanceof StoreWriteError)) throw error;
    const code = error.code === 'ENOSPC' ? 507 : 500;
    throw new StatusError(
      { code, reason: code === 507 ? 'InsufficientStorage' : 'InternalError', message: error.message },
      error,
    );
  }
}
