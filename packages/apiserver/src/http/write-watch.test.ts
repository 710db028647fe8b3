import { EventEmitter } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { WatchFrame, WatchSession } from '../pipeline/request.ts';
import type { ResponseWriter } from './write-response.ts';
import { WatchQueue, writeWatch } from './write-watch.ts';

/** An answer whose reader takes bytes only when told to. */
class SlowWriter implements ResponseWriter {
  private readonly events = new EventEmitter();
  readonly headersSent = true;
  writableLength = 0;
  text = '';
  largest = 0;
  hasEnded = false;
  isDestroyed = false;

  writeHead(): void {}

  once(event: 'drain' | 'close', listener: () => void): void {
    this.events.once(event, listener);
  }

  on(event: string, listener: (...args: never[]) => void): void {
    this.events.on(event, listener as () => void);
  }

  removeListener(event: string, listener: (...args: never[]) => void): void {
    this.events.removeListener(event, listener as () => void);
  }

  write(data: string | Uint8Array): boolean {
    this.text += Buffer.from(data).toString();
    this.writableLength += data.length;
    this.largest = Math.max(this.largest, this.writableLength);
    return this.writableLength < 16_384;
  }

  end(): void {
    this.hasEnded = true;
  }

  destroy(): void {
    this.isDestroyed = true;
    this.events.emit('close');
  }

  /** The reader has caught up. */
  take(): void {
    if (this.writableLength === 0) return;
    this.writableLength = 0;
    this.events.emit('drain');
  }
}

const frame = (n: number, size: number): WatchFrame => {
  const line = Buffer.from(`${n} ${'x'.repeat(size)}\n`);
  return { type: 'ADDED', object: {}, line, chunk: line };
};

/** A watch whose frames the test gives by hand. */
function manualWatch(): WatchSession & { send: (frame: WatchFrame) => void; end: () => void; isStopped: boolean } {
  const watch = {
    send: (_frame: WatchFrame): void => undefined,
    end: (): void => undefined,
    isStopped: false,
    start(onFrame: (frame: WatchFrame) => void, onEnd: () => void) {
      watch.send = onFrame;
      watch.end = onEnd;
      return () => void (watch.isStopped = true);
    },
  };
  return watch;
}

const numbers = (text: string): number[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Number(line.split(' ')[0]));

describe('writeWatch', () => {
  it('sends any number of frames in order, piece by piece as they are read, and ends after the last', async () => {
    const [watch, writer] = [manualWatch(), new SlowWriter()];
    void writeWatch(watch, {}, writer, new WatchQueue());
    const count = 8000;
    for (let n = 0; n < count; n++) watch.send(frame(n, 4000)); // 32 MB
    watch.end();
    expect(writer.text).toBe('');
    while (!writer.hasEnded) {
      await turn();
      writer.take();
    }
    expect(numbers(writer.text)).toEqual(Array.from({ length: count }, (_, n) => n));
    expect(writer.largest).toBeLessThan(1024 * 1024);
    expect(writer.isDestroyed).toBe(false);
  });

  it('does not let a watcher that reads nothing hold up another', async () => {
    const queue = new WatchQueue();
    const [deaf, deafWriter, watch, writer] = [manualWatch(), new SlowWriter(), manualWatch(), new SlowWriter()];
    void writeWatch(deaf, {}, deafWriter, queue);
    void writeWatch(watch, {}, writer, queue);
    for (let n = 0; n < 1000; n++) deaf.send(frame(n, 4000));
    watch.send(frame(7, 10));
    watch.end();
    while (!writer.hasEnded) await turn();
    expect(numbers(writer.text)).toEqual([7]);
    deafWriter.destroy();
    expect(deaf.isStopped).toBe(true);
  });

  it('sends frames of one turn in one write', async () => {
    const [watch, writer] = [manualWatch(), new SlowWriter()];
    const writes: number[] = [];
    writer.write = (data) => writes.push(data.length) > 0;
    void writeWatch(watch, {}, writer, new WatchQueue());
    writes.length = 0; // the empty one that opens the answer
    watch.send(frame(1, 10));
    watch.send(frame(2, 10));
    await turn();
    expect(writes).toEqual([26]);
  });
});
