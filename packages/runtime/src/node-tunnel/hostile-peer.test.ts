import { fuzz, mutateBytes, mutateJson } from '@slipway/testkit';
import { expect, it } from 'vitest';
import { encodeFrame, frameDecoder } from './channel-frames.ts';
import { decodeMessage, encodeMessage } from './protocol.ts';

const MESSAGES = [
  { type: 'call', id: 'a', verb: 'pause', params: { name: 'web' } },
  { type: 'cancel', id: 'a' },
  { type: 'result', id: 'a', result: { ok: true } },
  { type: 'error', id: 'a', status: { code: 404, reason: 'NotFound', message: 'gone' } },
  { type: 'pong' },
] as const;

it('tells messages of the tunnel from anything else', async () => {
  const samples = MESSAGES.map((message) => Buffer.from(JSON.stringify(message)));
  await fuzz({
    name: 'tunnel messages',
    inputs: 3000,
    make: (random) =>
      random.chance(0.5)
        ? mutateBytes(random, random.pick(samples), samples)
        : Buffer.from(JSON.stringify(mutateJson(random, random.pick(MESSAGES)))),
    run(bytes) {
      const message: unknown = decodeMessage(bytes);
      expect(message === undefined || typeof message === 'object').toBe(true);
    },
  });
  for (const message of MESSAGES)
    expect(decodeMessage(encodeMessage(message as Parameters<typeof encodeMessage>[0]))).toEqual(message);
});

it('gives the same frames however the bytes are cut', async () => {
  await fuzz({
    name: 'channel frames',
    inputs: 2000,
    make(random) {
      const frames = Array.from({ length: random.below(6) }, () => ({ channel: random.below(6), data: random.bytes(60) }));
      return { frames, cuts: Array.from({ length: random.below(8) }, () => random.below(300)) };
    },
    run({ frames, cuts }) {
      const bytes = Buffer.concat(frames.map(({ channel, data }) => encodeFrame(channel, data)));
      const decode = frameDecoder();
      const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
      const seen = places.flatMap((place, index) => (index === 0 ? [] : decode(bytes.subarray(places[index - 1], place))));
      expect(seen.map(({ channel, data }) => `${channel} ${Buffer.from(data).toString('hex')}`)).toEqual(
        frames.map(({ channel, data }) => `${channel} ${data.toString('hex')}`),
      );
    },
  });
});

it('refuses a frame that is too long before it has come', async () => {
  const huge = Buffer.from([1, 0xff, 0xff, 0xff, 0xff]);
  expect(() => frameDecoder()(huge)).toThrow('too long');
  await fuzz({
    name: 'broken channel frames',
    inputs: 2000,
    make: (random) => mutateBytes(random, Buffer.concat([encodeFrame(1, random.bytes(50)), encodeFrame(2, random.bytes(50))])),
    run(bytes) {
      try {
        frameDecoder()(bytes);
      } catch (error) {
        expect(String(error)).toContain('too long');
      }
    },
  });
});
