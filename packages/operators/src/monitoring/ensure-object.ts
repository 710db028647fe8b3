import { deepEqual, isAlreadyExists, isConflict, type KubeObject, type ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';

/** What an object has beside its metadata. */
const content = ({ metadata: _metadata, ...rest }: KubeObject): object => rest;

/** Creates an object, or gives it the wanted content and labels again. Says which; undefined when nothing was to do. */
export async function ensureObject<T extends KubeObject>(
  client: Client,
  kind: ResourceKind<T>,
  wanted: T,
  current: T | undefined,
  signal: AbortSignal,
): Promise<'created' | 'restored' | undefined> {
  try {
    if (current === undefined) {
      await client.create(kind, wanted, { signal });
      return 'created';
    }
    if (isAs(wanted, current)) return undefined;
    const metadata = {
      ...current.metadata,
      labels: { ...current.metadata.labels, ...wanted.metadata.labels },
      annotations: { ...current.metadata.annotations, ...wanted.metadata.annotations },
    };
    await client.update(kind, { ...current, ...content(wanted), metadata }, { signal });
    return 'restored';
  } catch (error) {
    // the cache is behind: its next event comes here again
    if (isAlreadyExists(error) || isConflict(error)) return undefined;
    throw error;
  }
}

function isAs(wanted: KubeObject, current: KubeObject): boolean {
  const has = (now: Readonly<Record<string, string>> | undefined, then: Readonly<Record<string, string>> = {}): boolean =>
    Object.entries(then).every(([name, value]) => now?.[name] === value);
  const now = content(current) as Readonly<Record<string, unknown>>; // fields of an object
  return (
    Object.entries(content(wanted)).every(([field, value]) => deepEqual(now[field], value)) &&
    has(current.metadata.labels, wanted.metadata.labels) &&
    has(current.metadata.annotations, wanted.metadata.annotations)
  );
}
