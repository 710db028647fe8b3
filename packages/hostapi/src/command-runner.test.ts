import { expect, it } from 'vitest';
import { hostRunner } from './command-runner.ts';
import { HostError } from './host-error.ts';

const { signal } = new AbortController();

it('passes input, returns output and uses a fixed environment', async () => {
  const cat = await hostRunner.run(['cat'], { stdin: 'hello' }, signal);
  expect(cat).toEqual({ exitCode: 0, stdout: 'hello', stderr: '' });
  const env = await hostRunner.run(['env'], { env: { EXTRA: '1' } }, signal);
  expect(env.stdout.trim().split('\n').sort()).toEqual(['EXTRA=1', 'HOME=/', 'LC_ALL=C', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin']);
});

it.each([
  ['a failing program', ['sh', '-c', 'echo why >&2; exit 3'], {}, /status 3: why/],
  ['a line of a batch', ['sh', '-c', 'echo why >&2; echo "Command failed -:2" >&2; exit 1'], {}, /status 1: why$/],
  ['a missing program', ['no-such-program'], {}, /"no-such-program" is not installed/],
  ['a program that takes too long', ['sleep', '60'], { timeoutMs: 50 }, /did not end within 50 ms/],
  ['a program that says too much', ['head', '-c', '5000', '/dev/zero'], { maxOutputBytes: 100 }, /printed too much/],
] as const)('rejects %s', async (_what, argv, options, message) => {
  const failure = await hostRunner.run(argv, options, signal).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(HostError);
  expect(String(failure)).toMatch(message);
});

it('takes a listed exit status as an answer', async () => {
  await expect(hostRunner.run(['false'], { okExitCodes: [1] }, signal)).resolves.toMatchObject({ exitCode: 1 });
});

it('rejects with the reason of an abort', async () => {
  const controller = new AbortController();
  const run = hostRunner.run(['sleep', '60'], {}, controller.signal);
  controller.abort(new Error('no longer wanted'));
  await expect(run).rejects.toThrow('no longer wanted');
});
