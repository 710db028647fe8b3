import { isObject } from '@slipway/apimachinery';
import type { MessageStream } from '@slipway/client';
import { CommandFailure, type VirtctlIo } from './io.ts';
import { pump, writeTo } from './pump.ts';

/** Sub-protocols of exec and attach, most preferred first. */
export const REMOTE_COMMAND_PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];

const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4 } as const;

/**
 * Puts a command that runs in a pod on the caller's terminal until it ends. Throws CommandFailure when it has failed, or
 * when the connection ends before it has.
 */
export async function onTerminal(stream: MessageStream, io: VirtctlIo): Promise<void> {
  const { stdin, stdout, stderr } = io;
  const isTerminal = stdin.isTTY === true;
  let status = '';
  const framed: MessageStream = {
    protocol: stream.protocol,
    messages: stream.messages,
    send: (data) => stream.send(Buffer.concat([Buffer.of(CHANNEL.stdin), data])),
    close: (code, reason) => stream.close(code, reason),
  };
  if (isTerminal) stdin.setRawMode?.(true);
  const stopResizing = io.onResize((columns, rows) => {
    const size = Buffer.from(JSON.stringify({ Width: columns, Height: rows }));
    stream.send(Buffer.concat([Buffer.of(CHANNEL.resize), size])).catch(() => {}); // the end of the stream is noticed below
  });
  try {
    await pump(framed, {
      input: stdin,
      write: async (message) => {
        const data = message.subarray(1);
        if (message[0] === CHANNEL.stdout) await writeTo(stdout, data);
        else if (message[0] === CHANNEL.stderr) await writeTo(stderr, data);
        else if (message[0] === CHANNEL.status) status += Buffer.from(data).toString();
      },
    });
  } finally {
    stopResizing();
    if (isTerminal) stdin.setRawMode?.(false);
    stdin.pause();
  }
  checkStatus(status);
}

function checkStatus(text: string): void {
  if (text === '') throw new CommandFailure('the connection to the pod has ended before its command');
  const status: unknown = JSON.parse(text);
  if (isObject(status) && status['status'] === 'Success') return;
  throw new CommandFailure(isObject(status) && typeof status['message'] === 'string' ? status['message'] : text);
}
