import { constants, createDeflate, createInflate } from 'node:zlib';
import { MessageQueue } from '@slipway/client';
import { fuzz, mutateBytes } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { headerDictionary } from './dictionary.ts';
import { ControlType, FLAG_FIN, type SpdyFrame, controlFrame, dataFrame, spdyDecoder, words } from './frames.ts';
import { headerPacker, headerUnpacker, readHeaders } from './header-block.ts';
import { SpdySession, type SpdyStream } from './session.ts';

/** Compresses header blocks of one connection as clients do. */
function clientPacker(): (headers: Record<string, string>) => Promise<Buffer> {
  const deflate = createDeflate({ dictionary: headerDictionary() });
  return (headers) =>
    new Promise((resolve) => {
      const text = (value: string): Buffer => Buffer.concat([words(value.length), Buffer.from(value)]);
      const block = Buffer.concat([
        words(Object.keys(headers).length),
        ...Object.entries(headers).flatMap(([name, value]) => [text(name), text(value)]),
      ]);
      const parts: Buffer[] = [];
      const onData = (part: Buffer): void => void parts.push(part);
      deflate.on('data', onData);
      deflate.write(block);
      deflate.flush(constants.Z_SYNC_FLUSH, () => {
        deflate.off('data', onData);
        resolve(Buffer.concat(parts));
      });
    });
}

const synStream = (id: number, block: Buffer, flags = 0): Buffer =>
  controlFrame(ControlType.synStream, Buffer.concat([words(id, 0), Buffer.alloc(2), block]), flags);

describe('SPDY headers', () => {
  it('are read across frames of one compressed stream', async () => {
    const [pack, unpacker] = [clientPacker(), headerUnpacker()];
    expect(await unpacker.unpack(await pack({ streamtype: 'data', port: '80' }))).toEqual({ streamtype: 'data', port: '80' });
    expect(await unpacker.unpack(await pack({ StreamType: 'error', long: 'x'.repeat(40_000) }))).toMatchObject({
      streamtype: 'error',
    });
    await expect(unpacker.unpack(await pack({ bomb: 'x'.repeat(1 << 20) }))).rejects.toThrow('too long');
    await expect(unpacker.unpack(await pack({}))).rejects.toThrow('too long');
  });

  it('are written so that zlib reads them', async () => {
    const pack = headerPacker();
    const inflate = createInflate({ dictionary: headerDictionary(), finishFlush: constants.Z_SYNC_FLUSH });
    const blocks = [{ a: 'b' }, {}, { c: 'd'.repeat(70_000) }];
    let read = Buffer.alloc(0);
    inflate.on('data', (part: Buffer) => (read = Buffer.concat([read, part])));
    for (const block of blocks) {
      read = Buffer.alloc(0);
      await new Promise<void>((resolve) => inflate.write(pack(block), () => resolve()));
      expect(readHeaders(read)).toEqual(block);
    }
  });
});

/** A session over a connection that the test feeds. */
function session(onStream: (stream: SpdyStream) => void = () => undefined) {
  const input = new MessageQueue({ maxBytes: 1 << 30, pause: () => undefined, resume: () => undefined });
  const decode = spdyDecoder();
  const sent: SpdyFrame[] = [];
  const send = async (bytes: Uint8Array): Promise<void> => void sent.push(...decode(bytes));
  const running = new SpdySession({ messages: input, send, close: () => input.end() }, onStream);
  return { input, sent, ended: running.run(), session: running };
}

describe('SPDY session', () => {
  it('echoes a stream, answers pings and closes half by half', async () => {
    const { input, sent, ended } = session((stream) => {
      void (async () => {
        for await (const bytes of stream.data) await stream.write(bytes);
        await stream.end();
        input.end();
      })();
    });
    input.push(synStream(1, await clientPacker()({ streamtype: 'data' })));
    input.push(controlFrame(ControlType.ping, words(7)));
    input.push(dataFrame(1, Buffer.from('hello')));
    input.push(dataFrame(1, Buffer.alloc(0), true));
    await ended;
    const kinds = sent.map((frame) => (frame.type === 'control' ? frame.kind : `${frame.bytes.toString()} ${frame.isFin}`));
    expect(kinds).toEqual([ControlType.synReply, ControlType.ping, 'hello false', ' true']);
  });

  it('refuses streams of numbers that clients may not use', async () => {
    const { input, sent, ended } = session();
    const pack = clientPacker();
    input.push(synStream(2, await pack({}), FLAG_FIN));
    input.end();
    await ended;
    expect(sent).toMatchObject([{ type: 'control', kind: ControlType.rstStream }]);
  });

  it('lives on whatever a client sends', async () => {
    const pack = clientPacker();
    const samples = [
      synStream(1, await pack({ streamtype: 'data', port: '80' })),
      dataFrame(1, Buffer.from('some data')),
      controlFrame(ControlType.ping, words(1)),
      controlFrame(ControlType.rstStream, words(1, 5)),
      controlFrame(ControlType.settings, words(1, 4, 100)),
      controlFrame(ControlType.headers, words(1)),
    ];
    await fuzz({
      name: 'SPDY',
      inputs: 1500,
      make: (random) => mutateBytes(random, Buffer.concat([...samples.slice(0, 2), random.pick(samples)]), samples),
      async run(bytes) {
        const { input, ended } = session((stream) => void stream.reset());
        input.push(bytes);
        input.end();
        await ended;
      },
    });
  });
});
