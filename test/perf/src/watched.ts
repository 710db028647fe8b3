import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { NAMESPACE } from './bench-world.ts';

const WAIT_MS = 120_000;

/** Seconds from the start of `act` until a watch shows the object as wanted; undefined in `isThere`: it is deleted. */
export async function measureUntil<T extends KubeObject>(
  client: Client,
  kind: ResourceKind<T>,
  name: string,
  isThere: (object: T | undefined) => boolean,
  act: () => Promise<unknown>,
): Promise<number> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(new Error(`${kind.plural} ${name} was not as wanted in ${WAIT_MS} ms`)), WAIT_MS);
  const { metadata } = await client.list(kind, { namespace: NAMESPACE });
  const events = client.watch(kind, {
    namespace: NAMESPACE,
    fieldSelector: `metadata.name=${name}`,
    ...(metadata.resourceVersion !== undefined && { resourceVersion: metadata.resourceVersion }),
    signal: stop.signal,
  });
  const startedAt = performance.now();
  const acting = act();
  acting.catch((error: unknown) => stop.abort(error));
  try {
    for await (const event of events) {
      if (event.type !== 'ADDED' && event.type !== 'MODIFIED' && event.type !== 'DELETED') continue;
      if (!isThere(event.type === 'DELETED' ? undefined : event.object)) continue;
      const seconds = (performance.now() - startedAt) / 1000;
      await acting;
      return seconds;
    }
    throw new Error(`The watch of ${kind.plural} ended before ${name} was as wanted`);
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
}

/** Seconds that something takes. */
export async function measure(act: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await act();
  return (performance.now() - startedAt) / 1000;
}
