import type { Status } from '@slipway/apimachinery';
import type { MessageStream } from '@slipway/client';
import { Channel, type ChannelFrame } from '@slipway/runtime';
import type { ClientChannels } from './relay.ts';

/** Sub-protocols of exec and attach: the first byte of a message says its channel. Newest first. */
export const EXEC_PROTOCOLS = [
  'v5.channel.k8s.io',
  'v4.channel.k8s.io',
  'v4.base64.channel.k8s.io',
  'v3.channel.k8s.io',
  'v2.channel.k8s.io',
  'channel.k8s.io',
  'base64.channel.k8s.io',
];

/** For browsers: text, with a digit for the channel and the data in base64. */
export const isBase64Channel = (protocol: string): boolean => protocol.includes('base64.');
const DIGIT_ZERO = 0x30;

/** Version 5: the second byte is the channel whose sender writes no more. */
const CLOSE = 255;

/** exec and attach over WebSocket. */
export function webSocketChannels(stream: MessageStream): ClientChannels {
  const isBase64 = isBase64Channel(stream.protocol);
  const send = (channel: number, data: Uint8Array): Promise<void> => {
    if (isBase64) return stream.send(Buffer.from(`${channel}${Buffer.from(data).toString('base64')}`));
    const message = Buffer.allocUnsafe(data.length + 1);
    message.writeUInt8(channel, 0);
    message.set(data, 1);
    return stream.send(message);
  };
  return {
    input: isBase64 ? base64InputOf(stream) : inputOf(stream),
    send,
    async finish(status) {
      const text = statusText(stream.protocol, status);
      if (text !== undefined) await send(Channel.status, Buffer.from(text));
      stream.close(1000);
    },
  };
}

/** Before version 4 the channel carried the text of the failure alone. */
function statusText(protocol: string, status: Status): string | undefined {
  if (/^v[45]\./.test(protocol)) return JSON.stringify(status);
  return status.status === 'Success' ? undefined : (status.message ?? 'the command failed');
}

async function* base64InputOf(stream: MessageStream): AsyncGenerator<ChannelFrame> {
  for await (const message of stream.messages) {
    const [digit] = message;
    const data = Buffer.from(Buffer.from(message.subarray(1)).toString('latin1'), 'base64');
    if (digit !== undefined && data.length > 0) yield { channel: digit - DIGIT_ZERO, data };
  }
}

async function* inputOf(stream: MessageStream): AsyncGenerator<ChannelFrame> {
  for await (const message of stream.messages) {
    const [channel, second] = message;
    if (channel === undefined) continue;
    if (channel === CLOSE) {
      if (second === Channel.stdin) yield { channel: Channel.stdin, data: new Uint8Array(0) };
      continue;
    }
    // an empty message on stdin is how some clients test the connection; only CLOSE ends it
    if (message.length > 1) yield { channel, data: message.subarray(1) };
  }
}
