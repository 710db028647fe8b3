import { once } from 'node:events';
import { streamProcess } from './stream-process.ts';

/**
 * Runs the action while no other process of any machine that sees the file has its lock. A program holds the lock: it
 * ends with its input, so that a process that is killed leaves none behind. The file is made when it is not there.
 */
export async function withFileLock<T>(path: string, action: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const holder = streamProcess(['flock', '--exclusive', '--no-fork', path, 'sh', '-c', 'echo; read -r _'], signal);
  await Promise.race([once(holder.stdout, 'data', { signal }), holder.done.then(endedEarly)]);
  try {
    return await action();
  } finally {
    holder.stdin.end();
    await holder.done.catch(() => {}); // whatever became of it, it holds nothing any more
  }
}

function endedEarly(): never {
  throw new Error('The program that holds the lock ended before it had it');
}
