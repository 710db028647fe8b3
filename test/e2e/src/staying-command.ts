import { spawn } from 'node:child_process';
import { ROOT } from './platform.ts';

/** A virtctl command that stays until `stop` is called: resolves when it has printed the pattern, and rejects when it ends before. */
export function stayingCommand(
  pattern: RegExp,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): { readonly printed: Promise<void>; readonly stop: () => void } {
  const child = spawn(`${ROOT}/slipway`, ['virt', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const printed = new Promise<void>((resolve, reject) => {
    const see = (chunk: Buffer): void => {
      output += chunk.toString();
      if (pattern.test(output)) resolve();
    };
    child.stdout.on('data', see);
    child.stderr.on('data', see);
    child.on('close', () => reject(new Error(`virtctl ${args.join(' ')} ended: ${output}`)));
  });
  return { printed, stop: () => child.kill('SIGTERM') };
}
