import { stat } from 'node:fs/promises';
import type { ImageTools, ToolLimits } from './image-tools.ts';
import { noSpace } from './import-error.ts';
import type { Destination } from './ingest.ts';

const LIMITS: ToolLimits = { deadlineMs: 10 * 60_000, cpuSeconds: 600, addressSpaceBytes: 1024 ** 3 };

/**
 * Reserves the space of the whole disk, where that was asked for: also behind the end of the image, and of a blank disk.
 * What the disk holds stays. Throws ImportError when there is not as much.
 */
export async function preallocate(
  { path, maxBytes, isClaim, preallocates, filesPath }: Destination,
  tools: ImageTools,
  signal: AbortSignal,
): Promise<void> {
  if (!preallocates || !isClaim || filesPath !== undefined || !(await stat(path)).isFile()) return;
  try {
    await tools.run(['fallocate', '--length', String(maxBytes), path], LIMITS, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw /No space left|quota/i.test(String(error)) ? noSpace(error) : error;
  }
}
