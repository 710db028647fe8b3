import type { Duplex } from 'node:stream';

/** Opens the stream again where the guest is now; undefined: there is no guest any more. */
export type Reopen = () => Promise<Duplex | undefined>;

/**
 * The byte stream of a guest that may move to another node while somebody is connected: when its node ends the stream, the
 * next node's goes on in its place. What is written meanwhile waits.
 */
export class GuestStream {
  /** Undefined: there will be none any more. */
  private current: Promise<Duplex | undefined>;
  private latest: Duplex;
  private readonly reopen: Reopen;
  private isClosed = false;

  constructor(first: Duplex, reopen: Reopen) {
    this.latest = first;
    this.current = Promise.resolve(first);
    this.reopen = reopen;
  }

  /** Everything that the guest sends, from all its nodes. */
  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const failure = yield* untilEnd(this.latest);
      if (this.isClosed) return;
      const next = this.next();
      this.current = next.catch(() => undefined);
      this.latest.destroy();
      if ((await next) !== undefined) continue;
      if (failure !== undefined) throw failure;
      return;
    }
  }

  private async next(): Promise<Duplex | undefined> {
    const found = await this.reopen();
    if (found === undefined) return undefined;
    this.latest = found;
    if (!this.isClosed) return found;
    found.destroy();
    return undefined;
  }

  /**
   * What a node did not take because it has lost the guest goes to the next one; false: there is none. The data may depend on
   * which of them it is.
   */
  async write(data: Uint8Array | (() => Uint8Array)): Promise<boolean> {
    for (;;) {
      const target = await this.current;
      if (target === undefined || this.isClosed) return false;
      if (await isWritten(target, typeof data === 'function' ? data() : data)) return true;
      // ends it for the reader too, who then looks for the next node
      target.destroy();
      await hasClosed(target);
      while (!this.isClosed && (await this.current) === target) await turn();
    }
  }

  close(): void {
    this.isClosed = true;
    this.latest.end();
    this.latest.destroy();
  }
}

async function* untilEnd(stream: Duplex): AsyncGenerator<Uint8Array, Error | undefined, undefined> {
  try {
    for await (const chunk of stream) yield chunk as Uint8Array; // a byte stream
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

const isWritten = (stream: Duplex, data: Uint8Array): Promise<boolean> =>
  new Promise((resolve) => {
    stream.write(data, (error) => resolve(!error));
  });

const hasClosed = (stream: Duplex): Promise<void> =>
  new Promise((resolve) => {
    if (stream.closed) resolve();
    else stream.once('close', () => resolve());
  });

/** Lets whoever reads see the end of its stream; it does so within a few turns, unless its client does not take what came before. */
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, 5);
  });
