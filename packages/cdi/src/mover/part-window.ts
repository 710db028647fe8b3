/** Fetches the bytes from `start` to before `end`. */
export type FetchPart = (start: number, end: number, signal: AbortSignal) => Promise<Buffer>;

/** What one request asks for, when there are several at a time. */
export const PART_BYTES = 4 * 1024 * 1024;

/**
 * The bytes from `position` to before `total`, in order, over as many requests at a time as `connections` says. Memory is
 * bounded by as many parts and one more.
 */
export async function* partWindow(
  position: number,
  total: number,
  { connections, fetch }: { readonly connections: number; readonly fetch: FetchPart },
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const running: Promise<Buffer>[] = [];
  let next = position;
  const fill = (): void => {
    while (running.length < connections && next < total) {
      const start = next;
      next = Math.min(total, start + PART_BYTES);
      const part = fetch(start, next, either);
      part.catch(() => {}); // told when its turn has come
      running.push(part);
    }
  };
  try {
    for (fill(); ; fill()) {
      const part = running.shift();
      if (part === undefined) return;
      yield await part;
    }
  } finally {
    stop.abort();
  }
}
