import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { sleep, type TimerClock } from '@slipway/runtime';
import { FrameReader } from '../../upload/frames.ts';

/** A question of the proxy that waits for its answer. */
export interface Lane {
  readonly question: Record<string, unknown>;
  readonly body: AsyncIterable<Buffer>;
  readonly socket: Socket;
  /** Reads what still comes, so that the answer is not lost with the connection; ends when the other side ends. */
  drain(): Promise<void>;
}

const RETRY_MS = 200;
const MAX_OPEN = 16;

/**
 * Keeps one idle connection to the node agent's socket, over which the next question comes. Serves until aborted, also when
 * the agent is restarted. `serve` may not reject.
 */
export async function serveLanes(
  path: string,
  clock: TimerClock,
  serve: (lane: Lane) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const open = new Set<Promise<void>>();
  while (!signal.aborted) {
    if (open.size >= MAX_OPEN) await Promise.race(open);
    const lane = await nextLane(path, signal);
    if (lane === undefined) {
      await sleep(clock, RETRY_MS, signal).catch(() => {});
      continue;
    }
    const served = serve(lane).finally(() => open.delete(served));
    open.add(served);
  }
}

/** Undefined when the agent is not there, or goes away before it has a question. */
async function nextLane(path: string, signal: AbortSignal): Promise<Lane | undefined> {
  const socket = connect({ path, allowHalfOpen: true });
  // its end shows in what is read from it
  socket.on('error', () => {});
  const stop = (): void => void socket.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    await once(socket, 'connect', { signal });
    const source = socket.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
    const reader = new FrameReader(source);
    const question = await reader.message();
    const drain = async (): Promise<void> => {
      while (!(await source.next().catch(() => ({ done: true }))).done);
    };
    return { question, body: reader.body(), socket, drain };
  } catch {
    socket.destroy();
    return undefined; // no agent, or nonsense from it: asked again after a pause
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
