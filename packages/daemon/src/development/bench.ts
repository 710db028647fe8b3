import { runAttached } from '@slipway/hostapi';
import { checkoutRoot } from '../checkout.ts';
import { BENCH_PACKAGES, ensureHostPackages } from '../host-packages.ts';
import { createProgress } from '../progress.ts';
import { UserError } from '../report-failure.ts';

/** `slipway bench`: the measuring code is a bundle of its own, because it is no part of the platform. */
export async function bench(names: readonly string[], options: { json?: string }): Promise<void> {
  if (process.getuid?.() !== 0) throw new UserError('Measuring starts guests; run it with sudo');
  const root = checkoutRoot();
  await ensureHostPackages(BENCH_PACKAGES, { yes: true, progress: createProgress(process.stderr, Date.now) });
  const argv: [string, ...string[]] = [
    process.execPath,
    `${root}/dist/bench.mjs`,
    ...names,
    ...(options.json === undefined ? [] : ['--json', options.json]),
  ];
  process.exitCode = await runAttached(argv, { cwd: root, env: { ...process.env, SLIPWAY_ROOT: root } });
}
