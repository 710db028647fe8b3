import type { MessageStream } from '@slipway/client';
import type { StreamAcceptor } from '@slipway/runtime';

const HIGH_WATER = 64;

/** One direction of a stream in memory, with back-pressure after a number of messages. */
class Pipe {
  private readonly queue: Uint8Array[] = [];
  private closed = false;
  private wakeReader: () => void = () => undefined;
  private readonly waitingWriters: (() => void)[] = [];

  async send(data: Uint8Array): Promise<void> {
    if (this.closed) throw new Error('Stream is closed');
    this.queue.push(data);
    this.wakeReader();
    if (this.queue.length >= HIGH_WATER) await new Promise<void>((resolve) => this.waitingWriters.push(resolve));
  }

  close(): void {
    this.closed = true;
    this.wakeReader();
    for (const resume of this.waitingWriters.splice(0)) resume();
  }

  async *messages(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const data = this.queue.shift();
      if (data !== undefined) {
        if (this.queue.length < HIGH_WATER) this.waitingWriters.shift()?.();
        yield data;
      } else if (this.closed) return;
      else await new Promise<void>((resolve) => (this.wakeReader = resolve));
    }
  }
}

/** Runs the acceptor against one end of a pair and gives the other to the caller. */
export function connectInProcess(
  acceptor: StreamAcceptor,
  offered: readonly string[],
  signal: AbortSignal | undefined,
): MessageStream {
  const protocol = offered.find((name) => acceptor.protocols.includes(name)) ?? '';
  const up = new Pipe();
  const down = new Pipe();
  const close = (): void => {
    up.close();
    down.close();
  };
  signal?.addEventListener('abort', close, { once: true });
  const end = (out: Pipe, input: Pipe): MessageStream => ({
    protocol,
    send: (data) => out.send(data),
    messages: input.messages(),
    close,
  });
  acceptor.run(end(down, up)).then(close, close);
  return end(up, down);
}
