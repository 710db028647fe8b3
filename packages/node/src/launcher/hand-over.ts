import { VmiPhase } from '@slipway/api';
import { sleep } from '@slipway/runtime';
import { aborted } from './launch-parts.ts';
import type { LaunchView } from './launch-view.ts';

/** A wait that takes longer than this looks for itself whether the VMI was handed over. */
const REREAD_MS = 3_000;

/**
 * Resolves when the controller has handed the VMI over to this node, or when there is nothing to wait for any more.
 * Rejects when the launch is over.
 */
export async function untilHandedOver({ deps, writer, signal, ended, hasEnded, changed }: LaunchView): Promise<void> {
  for (;;) {
    const change = changed();
    const { status } = writer.current;
    if (status?.phase === VmiPhase.scheduled && status.nodeName === deps.config.nodeName) return;
    if (status?.phase === VmiPhase.running || hasEnded()) return;
    const isDue = sleep(deps.clock, REREAD_MS, signal).then(() => true);
    const isLate = await Promise.race([change, ended, isDue, aborted(signal)]);
    signal.throwIfAborted();
    // a hand-over that happened between two reads of the cache is no event of ours
    if (isLate === true) await writer.refresh(signal).catch(() => {});
  }
}
