import type { Duplex } from 'node:stream';
import { type Status, StatusError } from '@slipway/apimachinery';
import { Channel, type ChannelFrame, readFrames, writeFrame } from '@slipway/runtime';

/** A client's side of exec or attach, whatever protocol carries it. */
export interface ClientChannels {
  /** Standard input (an empty frame closes it) and sizes of the terminal, until the client goes away. */
  readonly input: AsyncIterable<ChannelFrame>;
  /** Resolves when more may be sent. */
  send(channel: number, data: Uint8Array): Promise<void>;
  /** How the command ended; nothing follows. */
  finish(status: Status): Promise<void>;
}

const lost = (): Status =>
  new StatusError({ code: 500, reason: 'InternalError', message: 'Internal error occurred: the connection to the node was lost' })
    .status;

/** Connects a client with the stream of its node until one of them ends. Never rejects. */
export async function relay(client: ClientChannels, node: Duplex): Promise<void> {
  node.on('error', () => node.destroy());
  const up = async (): Promise<void> => {
    for await (const { channel, data } of client.input) {
      if (channel === Channel.stdin || channel === Channel.resize) await writeFrame(node, channel, data);
    }
  };
  const goingUp = up().then(
    () => node.destroy(),
    () => node.destroy(),
  );
  await down(client, node).catch(() => undefined);
  node.destroy();
  void goingUp;
}

async function down(client: ClientChannels, node: Duplex): Promise<void> {
  try {
    for await (const { channel, data } of readFrames(node)) {
      if (channel === Channel.status) {
        await client.finish(statusOf(data));
        return;
      }
      if (channel === Channel.stdout || channel === Channel.stderr) await client.send(channel, data);
    }
  } catch {
    // broken off in the middle of something: said below
  }
  await client.finish(lost());
}

function statusOf(data: Uint8Array): Status {
  try {
    const status: unknown = JSON.parse(Buffer.from(data).toString('utf8'));
    if (typeof status === 'object' && status !== null && 'status' in status) return status as Status; // written by the agent
  } catch {
    // not an answer
  }
  return lost();
}
