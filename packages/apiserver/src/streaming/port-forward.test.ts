import { Duplex } from 'node:stream';
import { type MessageStream, MessageQueue } from '@slipway/client';
import { describe, expect, it } from 'vitest';
import { serveWebSocketPortForward } from './port-forward.ts';

/** A client that sends without end, as fast as it is read, until it is closed. */
function floodingClient(message: Uint8Array) {
  let taken = 0;
  let close = (): void => {};
  let isClosed = false;
  const closed = new Promise<void>((resolve) => {
    close = () => {
      isClosed = true;
      resolve();
    };
  });
  const stream: MessageStream = {
    ...{ protocol: 'v4.channel.k8s.io', closed, close, send: async () => undefined },
    messages: (async function* () {
      while (!isClosed) {
        taken += message.length;
        yield message;
      }
    })(),
  };
  return { stream, close: () => close(), taken: () => taken };
}

async function settled(progress: () => number): Promise<number> {
  for (let before = -1; before !== progress(); ) {
    before = progress();
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
  return progress();
}

describe('port-forward over WebSocket', () => {
  it('holds a client back whose port never reads, and lets go when the client is gone', async () => {
    const deaf = new Duplex({
      read: () => undefined,
      write: () => undefined, // never says that it is done
    });
    const client = floodingClient(Buffer.concat([Buffer.from([0]), Buffer.alloc(32 * 1024)]));
    const served = serveWebSocketPortForward(client.stream, [80], async () => deaf);
    expect(await settled(client.taken)).toBeLessThan(4 * 1024 * 1024);
    client.close();
    await served;
    expect(deaf.destroyed).toBe(true);
  });

  it('counts tiny messages by what they cost', async () => {
    const paused: number[] = [];
    let pushed = 0;
    const queue = new MessageQueue({ maxBytes: 256 * 1024, pause: () => paused.push(pushed), resume: () => undefined });
    for (; pushed < 10_000; pushed++) queue.push(new Uint8Array(1));
    expect(paused[0]).toBeLessThan(4096);
  });
});
