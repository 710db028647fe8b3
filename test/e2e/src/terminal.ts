import { spawn } from 'node:child_process';

export interface Terminal {
  /** Resolves with everything printed so far once it matches; throws with it at the deadline. */
  expect(pattern: RegExp, timeoutMs?: number): Promise<string>;
  /** Types a line and resolves with what was printed since then, once that matches. */
  answer(line: string, pattern: RegExp, timeoutMs?: number): Promise<string>;
  type(text: string): void;
  close(): void;
}

/** Runs a command on a pseudo terminal, as a person at a keyboard would. */
export function openTerminal(argv: readonly string[], env: NodeJS.ProcessEnv): Terminal {
  const command = argv.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  const child = spawn('script', ['-qfc', command, '/dev/null'], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  let output = '';
  let ended = false;
  const waiters = new Set<() => void>();
  const wake = () => {
    for (const waiter of waiters) waiter();
  };
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString('utf8');
    wake();
  });
  child.on('close', () => {
    ended = true;
    wake();
  });
  child.stdin.on('error', () => {});
  const type = (text: string): void => void child.stdin.write(text);
  const expectFrom = (start: number, pattern: RegExp, timeoutMs: number): Promise<string> =>
    new Promise((resolve, reject) => {
      const finish = (act: () => void) => {
        clearTimeout(timer);
        waiters.delete(check);
        act();
      };
      const check = () => {
        const printed = output.slice(start);
        if (pattern.test(printed)) finish(() => resolve(printed));
        else if (ended) finish(() => reject(new Error(`The command ended without printing ${pattern}:\n${output.slice(-4000)}`)));
      };
      const timer = setTimeout(
        () => finish(() => reject(new Error(`No ${pattern} in ${timeoutMs} ms:\n${output.slice(-4000)}`))),
        timeoutMs,
      );
      waiters.add(check);
      check();
    });
  return {
    expect: (pattern, timeoutMs = 60_000) => expectFrom(0, pattern, timeoutMs),
    answer(line, pattern, timeoutMs = 60_000) {
      const start = output.length;
      type(`${line}\n`);
      return expectFrom(start, pattern, timeoutMs);
    },
    type,
    close: () => {
      child.stdin.end();
      child.kill('SIGTERM');
    },
  };
}
