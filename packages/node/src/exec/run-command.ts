import type { Duplex, Readable } from 'node:stream';
import { once } from 'node:events';
import type { Status } from '@slipway/apimachinery';
import { type CommandRunner, startCommand } from '@slipway/hostapi';
import { Channel, readFrames, writeFrame } from '@slipway/runtime';
import type { RunningSandbox } from '../sandbox/index.ts';
import { enterSandbox, parseSize, parseTerminal, planCommand } from './plan-command.ts';

export interface CommandOptions {
  readonly command: readonly string[];
  readonly stdin: boolean;
  readonly tty: boolean;
}

export interface CommandDeps {
  readonly sandbox: RunningSandbox;
  readonly membershipFiles: readonly string[];
  readonly runner: CommandRunner;
}

/** How a command ended, in the words of the Kubernetes API. */
export function exitStatus(code: number): Status {
  const base = { kind: 'Status', apiVersion: 'v1', metadata: {} };
  if (code === 0) return { ...base, status: 'Success' } as Status;
  return {
    ...base,
    status: 'Failure',
    reason: 'NonZeroExitCode',
    message: `command terminated with non-zero exit code: exit status ${code}`,
    details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  } as Status;
}

/** Runs a command in a sandbox as its user, with `peer` as its channels; it dies with them. Rejects when it cannot start. */
export async function runCommand(
  { sandbox, membershipFiles, runner }: CommandDeps,
  { command, tty, stdin }: CommandOptions,
  peer: Duplex,
): Promise<void> {
  const running = await startCommand(planCommand(sandbox, { command, tty, membershipFiles }));
  peer.once('close', () => running.kill());
  if (peer.destroyed) running.kill();
  if (!stdin && !tty) running.stdin.end();
  const terminal = tty ? terminalOf(running.notes) : Promise.resolve(undefined);
  const resize = async (data: Uint8Array): Promise<void> => {
    const [size, name] = [parseSize(data), await terminal];
    if (size === undefined || name === undefined) return;
    const argv = ['stty', '-F', name, 'rows', String(size.rows), 'cols', String(size.columns)];
    // a terminal that is just going away refuses
    await runner.run(enterSandbox(sandbox, argv), {}, new AbortController().signal).catch(() => undefined);
  };
  const input = async (): Promise<void> => {
    for await (const { channel, data } of readFrames(peer)) {
      if (channel === Channel.resize) await resize(data);
      else if (channel === Channel.stdin && stdin && data.length === 0) running.stdin.end();
      else if (channel === Channel.stdin && stdin && running.stdin.writable && !running.stdin.write(data))
        await Promise.race([once(running.stdin, 'drain'), running.ended]);
    }
  };
  input().catch(() => peer.destroy());
  await Promise.all([copy(running.stdout, Channel.stdout, peer), copy(running.stderr, Channel.stderr, peer)]);
  const status = exitStatus(await running.ended);
  await writeFrame(peer, Channel.status, Buffer.from(JSON.stringify(status))).catch(() => undefined);
  peer.end();
}

async function copy(source: Readable, channel: number, peer: Duplex): Promise<void> {
  try {
    for await (const chunk of source) await writeFrame(peer, channel, chunk as Buffer);
  } catch {
    source.destroy(); // nobody reads any more
  }
}

async function terminalOf(notes: Readable): Promise<string | undefined> {
  let text = '';
  for await (const chunk of notes) {
    text += String(chunk);
    if (text.length > 256) break;
    if (text.includes('\n')) break;
  }
  return parseTerminal(text);
}
