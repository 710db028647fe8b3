import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { PROGRAM_ENV } from './command-runner.ts';

/** Each line it reads names a file, whose lock it has until the next line. It ends with its input. */
const HOLD = `exec 2>&1
while IFS= read -r path; do
  { flock --exclusive 9 && echo locked && read -r _; } 9>>"$path"
  echo free
done`;
const MAX_IDLE = 4;

/**
 * Locks of files among all processes of any machines that see them. Shells hold them: a process that is killed leaves no
 * lock behind. They stay for the next lock, because to start one this process stands still until its memory is marked for
 * the fork, and a guest may be standing still meanwhile.
 */
export class FileLocks {
  private readonly idle: LockHolder[] = [];

  /** Runs the action while nobody else has the lock. The file is made when it is not there. */
  async exclusively<T>(path: string, action: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const holder = this.idle.pop() ?? new LockHolder();
    try {
      await holder.take(path, signal);
    } catch (error) {
      holder.end();
      throw error;
    }
    try {
      return await action();
    } finally {
      await holder.give();
      if (this.idle.length < MAX_IDLE && !holder.hasEnded) this.idle.push(holder);
      else holder.end();
    }
  }
}

/** One shell, and at most one lock. Keeps this process alive only while it has or waits for one. */
class LockHolder {
  hasEnded = false;
  private readonly child: ChildProcessByStdio<Socket, Socket, null>;
  private onLine: (line: string | undefined) => void = () => {};

  constructor() {
    // pipes of a child are sockets
    this.child = spawn('sh', ['-c', HOLD], { stdio: ['pipe', 'pipe', 'ignore'], env: { ...PROGRAM_ENV } }) as typeof this.child;
    this.child.stdin.on('error', () => {}); // its end tells
    this.child.once('error', () => this.ended());
    this.child.once('close', () => this.ended());
    createInterface({ input: this.child.stdout }).on('line', (line) => this.onLine(line));
  }

  async take(path: string, signal: AbortSignal): Promise<void> {
    if (path.includes('\n')) throw new Error(`No lock can have this name: ${JSON.stringify(path)}`);
    this.keepAlive(true);
    const said: string[] = [];
    const isAnswer = (one: string): boolean => one === 'locked' || one === 'free' || said.push(one) === 0;
    const line = await this.say(path, isAnswer, signal);
    if (line !== 'locked') throw new Error(`Cannot lock ${path}: ${said.join(' ') || 'the program that holds the lock ended'}`);
  }

  /** Whatever becomes of the shell, it has nothing afterwards. */
  async give(): Promise<void> {
    await this.say('', (line) => line === 'free');
    this.keepAlive(false);
  }

  end(): void {
    this.hasEnded = true;
    this.child.kill('SIGKILL');
  }

  private say(text: string, isAnswer: (line: string) => boolean, signal?: AbortSignal): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      const giveUp = (): void => reject(signal?.reason);
      const answer = (line: string | undefined): void => {
        if (line !== undefined && !isAnswer(line)) return;
        signal?.removeEventListener('abort', giveUp);
        resolve(line);
      };
      this.onLine = answer;
      if (this.hasEnded) answer(undefined);
      signal?.addEventListener('abort', giveUp, { once: true });
      this.child.stdin.write(`${text}\n`);
    });
  }

  private ended(): void {
    this.hasEnded = true;
    this.onLine(undefined);
  }

  private keepAlive(isNeeded: boolean): void {
    for (const handle of [this.child, this.child.stdin, this.child.stdout]) {
      if (isNeeded) handle.ref();
      else handle.unref();
    }
  }
}
