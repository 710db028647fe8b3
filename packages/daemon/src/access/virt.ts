import { runVirtctl } from '@slipway/cli';

/** `slipway virt …` and the `virtctl` link: everything after the word is virtctl's. */
export async function virt(args: readonly string[]): Promise<void> {
  process.exitCode = await runVirtctl(args);
}
