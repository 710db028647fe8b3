import { type Duplex, PassThrough, Readable } from 'node:stream';
import { badRequest, notFound } from '@slipway/apimachinery';
import { type Pod, PodVerb } from '@slipway/api';
import { type NodeHandlers, sleep, type TimerClock } from '@slipway/runtime';
import { imageName } from './pod-dispatcher.ts';

export interface PodLogSources {
  /** What the guest of a launcher pod printed on its serial console. */
  readonly consoleLog: (podUid: string) => Buffer;
  readonly moverLog: (podUid: string) => Promise<string>;
  /** Follows the console of a running guest from now on; undefined when there is none. */
  readonly followConsole: (podUid: string) => Duplex | undefined;
  /** Output of a data mover from its start, until it ends. */
  readonly followMover: (podUid: string, signal: AbortSignal) => Readable;
  readonly podOf: (uid: string) => Pod | undefined;
}

const MAX_BYTES = 4 * 1024 * 1024;

/** The end of a log as `tailLines` and `limitBytes` ask for it. */
export function cutLog(text: Buffer, { tailLines, limitBytes }: { tailLines?: number; limitBytes?: number }): Buffer {
  let start = 0;
  if (tailLines !== undefined) {
    start = text.length;
    // a last line without its end counts as one
    let position = text.length - 1;
    for (let lines = 0; lines < tailLines && start > 0; lines++) {
      position = position <= 0 ? -1 : text.lastIndexOf(0x0a, position - 1);
      start = position + 1;
    }
  }
  const end = limitBytes === undefined ? text.length : Math.min(text.length, start + limitBytes);
  return text.subarray(start, end);
}

const numberOf = (value: unknown): number | undefined => (typeof value === 'number' && value >= 0 ? value : undefined);

/** Adds `kubectl logs` of the platform's pods to the calls that a node answers. */
export function withPodLogs(handlers: NodeHandlers, sources: PodLogSources): NodeHandlers {
  return {
    call: (call, signal) => handlers.call(call, signal),
    async open(call, signal) {
      if (call.verb !== PodVerb.log) return handlers.open(call, signal);
      const podUid = String(call.params['podUid']);
      const pod = sources.podOf(podUid);
      if (pod === undefined) throw notFound({ group: '', resource: 'pods' }, String(call.params['pod']));
      if (call.params['previous'] === true)
        throw badRequest(
          `previous terminated container ${JSON.stringify(call.params['container'])} in pod ${JSON.stringify(pod.metadata.name)} not found`,
        );
      const isLauncher = imageName(pod.spec?.containers[0]?.image ?? '') === 'slipway/virt-launcher';
      const text = isLauncher ? sources.consoleLog(podUid) : Buffer.from(await sources.moverLog(podUid));
      const [tailLines, limitBytes] = [numberOf(call.params['tailLines']), numberOf(call.params['limitBytes']) ?? MAX_BYTES];
      if (!isLauncher && call.params['follow'] === true) {
        const stop = new AbortController();
        const followed = sources.followMover(podUid, stop.signal).pipe(new PassThrough());
        followed.once('close', () => stop.abort());
        return followed;
      }
      const stream = new PassThrough();
      stream.write(cutLog(text, { ...(tailLines !== undefined && { tailLines }), limitBytes }));
      const live = call.params['follow'] === true && isLauncher ? sources.followConsole(podUid) : undefined;
      if (live === undefined) stream.end();
      else {
        live.pipe(stream);
        stream.once('close', () => live.destroy());
      }
      return stream;
    },
  };
}

const FOLLOW_POLL_MS = 500;

/** A text that grows until its writer is done; what was read before is not shown again. */
export function followText(
  deps: { readonly read: () => Promise<string>; readonly isDone: () => boolean; readonly clock: TimerClock },
  signal: AbortSignal,
): Readable {
  async function* pieces(): AsyncGenerator<string> {
    let shown = '';
    while (!signal.aborted) {
      const isLast = deps.isDone();
      const text = await deps.read();
      // the start is cut off when the text grows beyond what is kept: go on after the last line that was shown
      const tail = shown.slice(-1024);
      const kept = text.lastIndexOf(tail);
      const from = text.startsWith(shown) ? shown.length : kept < 0 ? 0 : kept + tail.length;
      if (text.length > from) yield text.slice(from);
      shown = text;
      if (isLast) return;
      await sleep(deps.clock, FOLLOW_POLL_MS, signal).catch(() => undefined);
    }
  }
  return Readable.from(pieces(), { objectMode: false });
}
