/** What keeping one message costs beside its bytes: many tiny ones must not take more memory than few large ones. */
const COST_PER_MESSAGE = 128;

const costOf = (message: Uint8Array): number => message.byteLength + COST_PER_MESSAGE;

/** An async iterable that is filled by callbacks and tells its source when to pause. */
export class MessageQueue implements AsyncIterable<Uint8Array> {
  private readonly waiting: Uint8Array[] = [];
  private bytes = 0;
  private ended: { error?: Error } | undefined;
  private wake: (() => void) | undefined;
  private readonly options: { maxBytes: number; pause(): void; resume(): void };
  private isPaused = false;

  constructor(options: { maxBytes: number; pause(): void; resume(): void }) {
    this.options = options;
  }

  push(message: Uint8Array): void {
    if (this.ended) return;
    this.waiting.push(message);
    this.bytes += costOf(message);
    if (!this.isPaused && this.bytes > this.options.maxBytes) {
      this.isPaused = true;
      this.options.pause();
    }
    this.wake?.();
  }

  end(error?: Error): void {
    this.ended ??= error ? { error } : {};
    this.wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const message = this.waiting.shift();
      if (message !== undefined) {
        this.bytes -= costOf(message);
        this.resumeWhenLow();
        yield message;
      } else if (this.ended) {
        if (this.ended.error) throw this.ended.error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
        this.wake = undefined;
      }
    }
  }

  private resumeWhenLow(): void {
    if (!this.isPaused || this.bytes > this.options.maxBytes / 2) return;
    this.isPaused = false;
    this.options.resume();
  }
}
